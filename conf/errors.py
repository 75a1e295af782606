"""The errors of the configuration: each names the place, the key, what was expected and what was found."""

from __future__ import annotations


class ConfError(Exception):
    """A configuration that cannot be used; a command prints it and exits with status 2.

    Args:
        file: where the value was written: a path as it was given, `command line`, `update request`.
        line: the line in that file, counted from 1, or None where there are no lines.
        key: the key as it was written, or None where the file itself is at fault.
        expected: what would have been right, in a few words.
        got: what was there, as it was written.
    """

    def __init__(self, file: str, line: int | None, key: str | None, expected: str, got: str) -> None:
        super().__init__(file, line, key, expected, got)
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = "" if self.key is None else f" {self.key}:"
        return f"{place}:{subject} expected {self.expected}, got {self.got}"


class BlackListedKey(ConfError):
    """An update of a key that `configBlackList` forbids; the official servers answer NO_PERMISSION."""
