"""The Go and Java loads, built once for their sources and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.servers import OFFICIAL_VERSION
from interop.jars import classpath
from interop.toolchain import CHECKOUT, ToolFailed, shortened, tool

HERE = CHECKOUT / "bench"
CACHE = CHECKOUT / ".cache" / "bench"
BUILD_TIMEOUT_S = 300


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _run(argv: list[str], cwd: Path, what: str) -> None:
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false"}
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False, env=environment
    )
    if done.returncode != 0:
        raise ToolFailed(f"{what} does not build:\n{shortened(done.stdout + done.stderr)}")


def raw_load() -> str:
    """Return the path of the raw load.

    Raises:
        ToolMissing: no Go.
        ToolFailed: it does not compile.
    """
    sources = HERE / "raw"
    target = CACHE / f"raw-{_digest(sources.iterdir())}"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _run([tool("go"), "build", "-o", str(target.with_suffix(".part")), "."], sources, "the raw load")
        target.with_suffix(".part").rename(target)
    return str(target)


def java_load() -> Path:
    """Return the folder of the Java load's classes.

    Raises:
        ToolMissing: no javac.
        ToolFailed: it does not compile.
    """
    sources = sorted((HERE / "java").rglob("*.java"))
    target = CACHE / f"classes-{OFFICIAL_VERSION}-{_digest(sources)}"
    if not target.is_dir():
        work = target.with_suffix(".part")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        jars = os.pathsep.join(str(jar) for jar in classpath(OFFICIAL_VERSION))
        argv = [
            tool("javac"),
            "-nowarn",
            "-proc:none",
            "-Xlint:none",
            "-encoding",
            "UTF-8",
            "-cp",
            jars,
            "-d",
            str(work),
        ]
        _run([*argv, *map(str, sources)], HERE, "the Java load")
        work.rename(target)
    return target
