"""The Go driver, built once for its sources."""

from __future__ import annotations

import hashlib
import os
import subprocess

from interop.toolchain import CACHE, HERE, ToolFailed, locked, shortened, tool

SOURCES = HERE / "go"
BUILD_TIMEOUT_S = 540


def binary() -> str:
    """Return the driver's path, building it the first time.

    Raises:
        ToolMissing: no Go.
        ToolFailed: a module could not be had, or the driver does not compile.
    """
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    target = CACHE / "go" / f"driver-{digest.hexdigest()[:12]}"
    if not target.exists():
        with locked("go"):
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                work = target.with_suffix(".part")
                done = subprocess.run(
                    [tool("go"), "build", "-mod=readonly", "-o", str(work), "."],
                    cwd=SOURCES, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False,
                    env={**os.environ, "GOFLAGS": "-buildvcs=false"},
                )  # fmt: skip
                if done.returncode != 0:
                    raise ToolFailed(f"the Go driver does not build:\n{shortened(done.stderr)}")
                os.rename(work, target)
    return str(target)
