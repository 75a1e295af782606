"""Where the interop suite finds its tools and keeps what it made. It installs nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
CACHE = CHECKOUT / ".cache" / "interop"
"""Git-ignored; holds resolved jars, compiled drivers and the Go binary. Safe to delete."""


class ToolMissing(Exception):
    """A program that the suite cannot do without is not on this machine."""


class ToolFailed(Exception):
    """A program ran and failed; the message holds what it said, shortened."""


def tool(name: str) -> str:
    """Return the path of a program.

    Raises:
        ToolMissing: it is not on PATH; the message says what to install.
    """
    found = shutil.which(name)
    if found is None:
        needs = {
            "java": "a JDK (11 or later)",
            "javac": "a JDK (11 or later)",
            "mvn": "Maven 3",
            "go": "Go 1.20 or later",
        }
        raise ToolMissing(f"{name} is not on PATH: interop cases need {needs.get(name, name)}")
    return found


def missing(*names: str) -> str | None:
    """Return one line about the first program of `names` that is missing, or None."""
    for name in names:
        try:
            tool(name)
        except ToolMissing as error:
            return str(error)
    return None


def os_classifier() -> str:
    """Return netty's `os.detected.classifier` of this machine (its Maven extension is not loaded for our poms)."""
    machine = {"aarch64": "aarch_64", "arm64": "aarch_64"}.get(platform.machine(), "x86_64")
    return f"{'osx' if platform.system() == 'Darwin' else 'linux'}-{machine}"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock file of the cache, so that two runs do not make the same thing at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(CACHE / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def shortened(text: str, lines: int = 15) -> str:
    """Return the lines of a tool's output that tell an error, at most `lines` of them."""
    kept = [line for line in text.splitlines() if line.strip()]
    told = [line for line in kept if "ERROR" in line or "error" in line] or kept
    return "\n".join(told[:lines])
