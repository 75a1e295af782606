"""Freed memory that the process keeps for what comes next."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from rmqwire import speed

PROGRAM = """
import sys
from resource import RUSAGE_SELF, getrusage

from rmqwire import speed

if sys.argv[1] == "keep":
    print(speed.keep_freed(16 << 20))

def faults():
    return getrusage(RUSAGE_SELF).ru_minflt

def turn():
    blocks = [bytes([7]) * 65536 for _ in range(40)]

turn()
before = faults()
for _ in range(20):
    turn()
print(faults() - before)
"""

pytestmark = pytest.mark.skipif(speed.keep_freed is None, reason="the compiled part is not built")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_large_blocks_come_from_what_was_freed() -> None:
    kept, faults = _run("keep").split()
    assert kept == "True"
    assert int(faults) < 640, "40 blocks of 16 pages, 20 times"
    assert int(_run("leave")) > 6400, "without it every turn gets its memory from the system"


def _run(word: str) -> str:
    argv = [sys.executable, "-c", PROGRAM, word]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("size", [0, -1, 4095, (64 << 20) + 1, 1 << 80])
def test_sizes_that_are_refused(size: int) -> None:
    assert speed.keep_freed is not None
    with pytest.raises((ValueError, OverflowError)):
        speed.keep_freed(size)


def test_no_number() -> None:
    assert speed.keep_freed is not None
    with pytest.raises(TypeError):
        speed.keep_freed("16")  # type: ignore[arg-type]
