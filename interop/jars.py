"""Class paths of the official releases, resolved by Maven once and kept in the cache.

Use `classpath(version)`. The registry is whatever the machine's Maven is set up with; no host is named here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from interop.toolchain import CACHE, ToolFailed, locked, os_classifier, shortened, tool

APACHE = "org.apache.rocketmq"
ALIBABA = "com.alibaba.rocketmq"

Artifact = tuple[str, str, bool]
"""(group, artifact, with its dependencies). Without: what it needs comes by the other artifacts."""

_ALL: list[Artifact] = [
    (APACHE, f"rocketmq-{name}", True) for name in ("client", "example", "tools", "broker", "namesrv")
]
ARTIFACTS: dict[str, list[Artifact]] = {
    # rocketmq-tools 3.2.6 drags in artifacts whose parents name repositories that are gone (github-api and its
    # annotation-indexer); the classes of it that a client driver needs want none of them.
    "3.2.6": [(ALIBABA, "rocketmq-client", True), (ALIBABA, "rocketmq-tools", False)],
    "4.2.0": _ALL,
    "4.7.0": _ALL,
    "5.5.0": _ALL,
}
VERSIONS = tuple(ARTIFACTS)
MAVEN_TIMEOUT_S = 540
WITHOUT = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


def pom(version: str) -> str:
    """Return a pom whose dependencies are the artifacts of one release."""
    rows = "\n".join(
        f"    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        f"{'' if whole else WITHOUT}</dependency>"
        for group, artifact, whole in ARTIFACTS[version]
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0">\n'
        "  <modelVersion>4.0.0</modelVersion>\n"
        f"  <groupId>rmqd.interop</groupId><artifactId>official</artifactId><version>{version}</version>\n"
        f"  <dependencies>\n{rows}\n  </dependencies>\n</project>\n"
    )


def classpath(version: str) -> list[Path]:
    """Return the jars of one official release and of all that it needs, resolving them the first time.

    Args:
        version: one of `VERSIONS`.

    Raises:
        KeyError: a version that the suite does not know.
        ToolMissing: no Maven.
        ToolFailed: Maven could not resolve an artifact.
    """
    text = pom(version)
    folder = CACHE / "jars" / f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        with locked(f"jars-{version}"):
            if not folder.is_dir():
                _resolve(version, text, folder)
    return sorted(folder.glob("*.jar"))


def _resolve(version: str, text: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=folder.parent))
    try:
        (work / "pom.xml").write_text(text)
        done = subprocess.run(
            [tool("mvn"), "-q", "-B", f"-Dos.detected.classifier={os_classifier()}", "-f", str(work / "pom.xml"),
             "dependency:copy-dependencies", f"-DoutputDirectory={work / 'lib'}"],
            capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolFailed(
                f"Maven could not resolve the official {version} jars:\n{shortened(done.stdout + done.stderr)}"
            )
        os.rename(work / "lib", folder)
    finally:
        shutil.rmtree(work)
