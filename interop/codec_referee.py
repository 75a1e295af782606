"""One Java process that says how the official classes read and write headers and bodies.

`python -m interop.codec_referee FOLDER` writes what it says of whole releases for the tests that run without Java.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

from interop.jars import classpath
from interop.jvm import SOURCES, command
from interop.toolchain import ToolFailed, shortened

SOURCE = SOURCES / "codec" / "CodecReferee.java"
TIMEOUT_S = 300
MARK = "> "


def encoded(data: bytes) -> str:
    """Write bytes as a word of a question."""
    return b64encode(data).decode()


def decoded(word: str) -> bytes:
    """Read a word of an answer."""
    return b64decode(word)


def ask(version: str, questions: list[str]) -> list[list[str]]:
    """Ask one release, all questions in one process; `CodecReferee.java` says what they are.

    Returns:
        The words of each answer.

    Raises:
        ToolMissing: No Java or Maven.
        ToolFailed: The process did not answer everything.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command(classpath(version), str(SOURCE), options=["-Duser.timezone=UTC"], user_home=Path(folder)),
            input="\n".join(questions) + "\n", capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    answers = [line.removeprefix(MARK).split(" ") for line in done.stdout.splitlines() if line.startswith(MARK)]
    if len(answers) != len(questions) or done.returncode:
        raise ToolFailed(f"the referee answered {len(answers)} of {len(questions)}:\n{shortened(done.stderr)}")
    return answers


def golden(version: str) -> dict[str, str]:
    """Give the golden files of one release by name: header classes, fresh bodies, version names."""
    headers, fresh, versions = (decoded(words[0]).decode() for words in ask(version, ["T", "J", "V"]))
    made = f"# Made by: python -m interop.codec_referee FOLDER, from {version}."
    bodies = [
        re.sub(r'("(?:timestamp|subVersion)":)\d{13}', r"\g<1>0", line)
        for line in fresh.splitlines()
        if re.fullmatch(r"\w+\t\{.*\}", line)
    ]
    return {
        f"headers-{version}.tsv": f"{made}\n# class, field's type, field, whether it is marked CFNotNull\n{headers}\n",
        f"bodies-{version}.tsv": f"{made}\n# class, JSON of a fresh object; times are 0\n" + "\n".join(bodies) + "\n",
        f"versions-{version}.txt": f"{made}\n{versions}\n",
    }


GOLDEN = {"5.5.0": ("headers", "bodies", "versions"), "4.7.0": ("bodies",)}
"""The golden files kept, by release."""


def main(folder: str) -> None:
    """Write the golden files."""
    for version, kinds in GOLDEN.items():
        for name, text in golden(version).items():
            if name.split("-")[0] in kinds:
                (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
