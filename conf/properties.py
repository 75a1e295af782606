r"""Java's properties text: reading it with the place of every entry, and writing it.

What `java.util.Properties.load` reads is read alike: comments begin with `#` or `!`, a key ends at the first `=`, `:`
or blank, a line that ends in an odd number of backslashes goes on in the next one, `\t \r \n \f \uXXXX` are escapes and
a backslash before anything else is dropped. One difference is wanted: Java takes the bytes as ISO-8859-1; here they are
UTF-8 if they can be, and ISO-8859-1 else.

This module gives meaning to no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import ConfError

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLANKS = " \t\f"
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "f": "\f"}
_WRITTEN_ESCAPES = {"\t": "\\t", "\r": "\\r", "\n": "\\n", "\f": "\\f", "\\": "\\\\"}


class Entry(NamedTuple):
    """One entry and the lines it stands on, counted from 1."""

    key: str
    value: str
    line: int
    last_line: int


def decode(content: bytes) -> str:
    """The text of a properties file, without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def natural_lines(text: str) -> list[str]:
    """The lines without their ends; Java knows `\\n`, `\\r` and both together, and no other."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_entries(text: str, file: str) -> list[Entry]:
    """All entries in order; of entries with the same key the last one counts.

    Args:
        text: the text of the file.
        file: how to name it in an error.

    Raises:
        ConfError: for a malformed `\\u` escape; no other text is wrong.
    """
    entries: list[Entry] = []
    for logical, first, last in _logical_lines(natural_lines(text)):
        raw_key, raw_value = _split(logical)
        key = _unescape(raw_key, file, first, None)
        entries.append(Entry(key, _unescape(raw_value, file, first, key), first, last))
    return entries


def _logical_lines(lines: list[str]) -> Iterable[tuple[str, int, int]]:
    """Each logical line, joined, with the numbers of its first and last natural line."""
    joined = ""
    first = 0
    continued = False
    for number, line in enumerate(lines, 1):
        body = line.lstrip(_BLANKS)
        if not joined:
            if continued and not body:
                continued = False
            if not body or body[0] in "#!":
                continue
            first = first if continued else number
        backslashes = len(body) - len(body.rstrip("\\"))
        continued = backslashes % 2 == 1
        joined += body[:-1] if continued else body
        if not continued:
            yield joined, first, number
            joined = ""
    if joined or continued:
        yield joined, first, len(lines)


def _split(logical: str) -> tuple[str, str]:
    """Key and value of a logical line, still escaped."""
    position = 0
    while position < len(logical) and logical[position] not in "=: \t\f":
        position += 2 if logical[position] == "\\" else 1
    value = logical[position:].lstrip(_BLANKS)
    if value[:1] in ("=", ":"):
        value = value[1:].lstrip(_BLANKS)
    return logical[:position], value


def _unescape(raw: str, file: str, line: int, key: str | None) -> str:
    if "\\" not in raw:
        return raw
    parts: list[str] = []
    rest = raw
    while rest:
        plain, backslash, rest = rest.partition("\\")
        parts.append(plain)
        if not backslash:
            break
        mark, rest = rest[:1], rest[1:]
        if mark == "u":
            digits, rest = rest[:4], rest[4:]
            if len(digits) < 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise ConfError(file, line, key, "four hexadecimal digits after \\u", f"'\\u{digits}'")
            parts.append(chr(int(digits, 16)))
        else:
            parts.append(_ESCAPES.get(mark, mark))
    joined = "".join(parts)
    try:  # two escapes may be the halves of one character
        return joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ConfError(file, line, key, "\\u escapes that pair up to characters", f"'{raw}'") from None


def write_entry(key: str, value: str) -> str:
    """`key=value` on one line without its end, so that Java and we read it back; ASCII only.

    A value without backslashes, control or foreign characters is written as it is.
    """
    return f"{_escape(key, in_key=True)}={_escape(value, in_key=False)}"


def _escape(text: str, *, in_key: bool) -> str:
    written = "".join(_escape_character(character) for character in text)
    if in_key:
        for mark in "=: ":
            written = written.replace(mark, "\\" + mark)
        if written[:1] in ("#", "!"):
            written = "\\" + written
    elif written.startswith(" "):
        written = "\\" + written
    return written


def _escape_character(character: str) -> str:
    if character in _WRITTEN_ESCAPES:
        return _WRITTEN_ESCAPES[character]
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04X}" for at in range(0, len(units), 2))
