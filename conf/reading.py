"""From entries to values: which object a key belongs to, what its value is, and what there is to say about it.

Later entries win. What the official servers ignore in silence is an error here (a wrong value) or a notice (an
unknown key, a key without effect, a value that is replaced by a nearer one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ConfError
from .keys.elsewhere import NOT_OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .option import Option, OptionGroup
    from .surroundings import Surroundings

    Index = Mapping[str, list[tuple[type[OptionGroup], Option]]]

COMMAND_LINE = "command line"


class Given(NamedTuple):
    """A key and its text, and where that was written: a file and a line, or a word such as `command line`."""

    key: str
    text: str
    file: str
    line: int | None

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def wrong(self, expected: str) -> ConfError:
        return ConfError(self.file, self.line, self.key, expected, f"'{self.text}'")


class Reading:
    """The values given for some option classes, by class and attribute name, and the notices about them.

    Attributes:
        values: what to construct each class with.
        source: where each value was written.
        extra: keys that are unknown, with their text; the official servers keep and print them.
        notices: one line each.
    """

    def __init__(self, groups: Iterable[type[OptionGroup]], surroundings: Surroundings) -> None:
        self.index: Index = index_of(tuple(groups))
        self.surroundings = surroundings
        self.values: dict[type[OptionGroup], dict[str, Any]] = {}
        self.source: dict[str, Given] = {}
        self.extra: dict[str, str] = {}
        self.notices: list[str] = []

    def read(self, entries: Iterable[Given]) -> None:
        """Take the last entry of each key.

        Raises:
            ConfError: if its value cannot be one.
        """
        last: dict[str, Given] = {}
        for given in entries:
            owners = self.index.get(given.key)
            # an alias and its key are one key; where it belongs to several classes they share the spelling
            key = owners[0][1].key if owners else given.key
            earlier = last.pop(key, None)
            if earlier is not None:
                self.notices.append(f"{earlier.place}: {earlier.key} is set again at {given.place}, which counts")
            last[key] = given
        for key, given in last.items():
            if key in self.index:
                self._take(key, given)
            else:
                self._take_unknown(given)

    def _take(self, key: str, given: Given) -> None:
        owners = self.index[key]
        for group, option in owners:
            value, replaced = parse(option, given)
            if replaced:
                self.notices.append(replaced)
            self.values.setdefault(group, {})[option.name] = value
        self.source[key] = given
        option = owners[0][1]
        if given.key in option.aliases:
            self.notices.append(f"{given.place}: {given.key} is an old spelling and read as {option.key}")
        if any(fact.acted for _, fact in owners) or value == option.compute_default(self.surroundings):
            pass
        elif not option.settable:
            self.notices.append(f"{given.place}: {given.key} has no effect; the official servers do not read it")
        else:
            self.notices.append(f"{given.place}: {given.key} is known but has no effect yet")
        if "${" in given.text or given.text.startswith("~"):
            self.notices.append(f"{given.place}: {given.key} is taken as it stands; neither ~ nor ${{}} is expanded")

    def _take_unknown(self, given: Given) -> None:
        self.extra[given.key] = given.text
        reason = NOT_OURS.get(given.key)
        if reason is not None:
            self.notices.append(f"{given.place}: {given.key} has no effect; {reason}")
            return
        near = nearest_key(given.key, self.index)
        hint = f"; the nearest known key is {near}" if near else ""
        self.notices.append(f"{given.place}: unknown key {given.key}{hint}")


def parse(option: Option, given: Given) -> tuple[Any, str]:
    """The value of a text and, where Java would use another one than the one written, a notice of that."""
    try:
        value = option.parse(given.text)
    except ValueError as error:
        raise given.wrong(str(error)) from None
    if option.adjust is None:
        return value, ""
    adjusted = option.adjust(value)
    if adjusted == value:
        return value, ""
    return adjusted, f"{given.place}: {given.key} {option.show(value)} is not allowed, {option.show(adjusted)} is used"


def index_of(groups: tuple[type[OptionGroup], ...]) -> Index:
    """All spellings of all keys of some classes; a key that is in several classes sets all of them, as in Java."""
    index = _INDEXES.get(groups)
    if index is None:
        index = {}
        for group in groups:
            for option in group.OPTIONS.values():
                # the printed key, too: it is what an official server writes when it rewrites the file
                for key in {option.key, option.printed_key, *option.aliases}:
                    index.setdefault(key, []).append((group, option))
        _INDEXES[groups] = index
    return index


_INDEXES: dict[tuple[type[OptionGroup], ...], dict[str, list[tuple[type[OptionGroup], Option]]]] = {}


def nearest_key(key: str, index: Index) -> str | None:
    """The known key that is spelled most alike, if any is."""
    import difflib

    lowered = {known.lower(): known for known in index}
    found = difflib.get_close_matches(key.lower(), lowered, n=1, cutoff=0.7)
    return lowered[found[0]] if found else None
