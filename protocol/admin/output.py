"""What a command prints: the official lines, or the same facts as JSON.

A command states every fact once: `line` prints official text, `field` and `row` keep values for `--json`, and `table`
does both for a list. Lines leave at once, so that long scans show what they find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable


class Columns:
    """The columns of a table.

    Args:
        head: The format of the first line, `%-20s  %-4s`, as the official tool has it.
        row: The format of the others.
        titles: What the first line says.
        names: How `--json` calls the columns.
    """

    def __init__(self, head: str, row: str | None, titles: Sequence[str], names: Sequence[str]) -> None:
        self._head = head
        self._row = row or head
        self._titles = tuple(titles)
        self.names = tuple(names)

    def head(self) -> str:
        """The first line."""
        return self._head % self._titles

    def row(self, values: Sequence[object]) -> str:
        """A line of values."""
        return self._row % tuple(java(value) for value in values)


def java(value: object) -> object:
    """Give a value as Java prints it: null, true and false in its spelling."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    return value


class Output:
    """Where a command's lines and values go.

    Args:
        stream: Standard output.
        as_json: Keep the values and print them at the end, instead of the lines.
    """

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self.as_json = as_json
        self._fields: dict[str, Any] = {}
        self._rows: list[Any] | None = None

    def line(self, text: str = "") -> None:
        """Print a line of official text."""
        self.text(text + "\n")

    def text(self, text: str) -> None:
        """Print official text without ending the line."""
        if not self.as_json:
            self._stream.write(text)

    def field(self, name: str, value: object) -> None:
        """Keep a value for JSON."""
        self._fields[name] = value

    def fields(self, **values: object) -> None:
        """Keep several values for JSON."""
        self._fields.update(values)

    def row(self, value: object) -> None:
        """Keep an element of the JSON list."""
        if self._rows is None:
            self._rows = []
        self._rows.append(value)

    def rows(self) -> None:
        """Say that the JSON is a list, even of no elements."""
        if self._rows is None:
            self._rows = []

    def head(self, columns: Columns) -> None:
        """Print the first line of a table."""
        self.rows()
        self.line(columns.head())

    def put(self, columns: Columns, *values: object, **more: object) -> None:
        """Print a line of a table; `more` is for JSON only."""
        self.line(columns.row(values))
        self.row({**dict(zip(columns.names, values, strict=True)), **more})

    def table(self, columns: Columns, rows: Iterable[Sequence[object]]) -> None:
        """Print a whole table."""
        self.head(columns)
        for values in rows:
            self.put(columns, *values)

    def finish(self) -> None:
        """End one run of the command: print the JSON, and forget it."""
        if self.as_json:
            import json

            if self._rows is None:
                tree: Any = self._fields
            else:
                tree = {**self._fields, "rows": self._rows} if self._fields else self._rows
            self._stream.write(json.dumps(tree, ensure_ascii=False, default=_plain) + "\n")
        self._fields, self._rows = {}, None
        self._stream.flush()


def _plain(value: object) -> object:
    """Give a body as what `json` writes, with the member names of the wire."""
    import msgspec

    if isinstance(value, msgspec.Struct):
        return {
            name: getattr(value, attribute)
            for attribute, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        }
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
