"""One Java process that says what the official filter classes make of expressions.

`python -m interop.filter_referee FILE` writes what it says of `filter_table` for the tests that run without Java.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from interop import filter_table
from interop.jars import classpath
from interop.jvm import SOURCES, command
from interop.toolchain import ToolFailed, shortened

VERSION = "5.5.0"
SOURCE = SOURCES / "filter" / "FilterReferee.java"
TIMEOUT_S = 300
GOLDEN_SEED, GOLDEN_COUNT = 1, 400

Bloom = tuple[int, int, str]
"""Error rate in percent, number of consumers, text."""

BLOOMS: list[Bloom] = [
    (20, 32, "group#topic"), (20, 32, ""), (20, 32, "please_rename_unique_group_name_4#TopicTest"),
    (20, 32, "g" * 15 + "#t"), (20, 32, "g" * 13 + "#t"), (20, 32, "g" * 14 + "#t"), (20, 32, "%RETRY%g#t-1"),
    (20, 32, "grün#世界🎉"), (10, 128, "group#topic"), (1, 1, "group#topic"), (99, 1000, "group#topic"),
    (20, 64, "g1#topicA"),
]  # fmt: skip


class Verdict(NamedTuple):
    """What is said of one expression.

    Attributes:
        compiles: Whether it does.
        text: The compiled expression as text, or why it does not compile.
        results: One letter for each set of properties: T, F, N (null), X (an exception).
    """

    compiles: bool
    text: str
    results: str


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def judge(
    expressions: list[str], properties: Iterable[dict[str, str]], blooms: Iterable[Bloom] = ()
) -> tuple[list[Verdict], list[list[int]]]:
    """Ask about expressions, and about bloom filter bits: number of bits, then positions.

    Raises:
        ToolMissing: No Java or Maven.
        ToolFailed: The process did not answer everything.
    """
    asked = [
        *("P" + "".join(f" {_encoded(name)} {_encoded(value)}" for name, value in one.items()) for one in properties),
        *(f"E {_encoded(expression)}" for expression in expressions),
        *(f"B {error_rate} {count} {_encoded(text)}" for error_rate, count, text in blooms),
    ]
    options = ["-XX:-OmitStackTraceInFastThrow"]  # else exceptions lose their messages when there are many
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command(classpath(VERSION), str(SOURCE), options=options, user_home=Path(folder)),
            input="\n".join(asked) + "\n", capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    verdicts: list[Verdict] = []
    bits: list[list[int]] = []
    for line in done.stdout.splitlines():
        what, *rest = line.split(" ")
        if what in ("ok", "error"):
            verdicts.append(Verdict(what == "ok", b64decode(rest[0]).decode(), rest[1] if rest[1:] else ""))
        elif what == "bits":
            bits.append([int(word) for word in rest])
    if len(verdicts) != len(expressions) or done.returncode:
        raise ToolFailed(f"the referee said {len(verdicts)} of {len(expressions)}:\n{shortened(done.stderr)}")
    return verdicts, bits


def main(path: str) -> None:
    """Write the golden file."""
    expressions = filter_table.WRITTEN + filter_table.generated(GOLDEN_SEED, GOLDEN_COUNT)
    verdicts, bits = judge(expressions, filter_table.PROPERTIES, BLOOMS)
    lines = [
        f"# What the official {VERSION} filter classes say. Made by: python -m interop.filter_referee {path}",
        "# P properties; E expression, ok or error, text or message, result by set of properties; B bloom bits.",
        *(f"P\t{json.dumps(one)}" for one in filter_table.PROPERTIES),
        *(
            f"E\t{json.dumps(expression)}\t{'ok' if one.compiles else 'error'}\t{json.dumps(one.text)}\t{one.results}"
            for expression, one in zip(expressions, verdicts, strict=True)
        ),
        *(f"B\t{json.dumps(asked)}\t{json.dumps(said)}" for asked, said in zip(BLOOMS, bits, strict=True)),
    ]
    Path(path).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
