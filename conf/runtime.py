"""Options of a running server: printed for getBrokerConfig (26) and getNamesrvConfig (319), updated (25, 318).

A change acts on the live options; whoever reads them at each use sees it at once. It is then written back to the file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import BlackListedKey, ConfError
from .properties import decode, natural_lines, read_entries, write_entry
from .reading import Given, Reading
from .surroundings import Surroundings

if TYPE_CHECKING:
    from .load import BrokerOptions, NamesrvOptions
    from .option import OptionGroup

UPDATE_REQUEST = "update request"


class Change(NamedTuple):
    """One option that has another value now."""

    group: OptionGroup
    name: str
    key: str
    old: Any
    new: Any


class Changed(NamedTuple):
    """What an update did.

    Attributes:
        keys: official names of all known keys in the update, also of those that had the value already.
        changes: the options that have another value now.
        written: text by official name, of `keys` and of unknown keys that were in the file; what is written back.
        notices: what there is to say about it, one line each; unknown keys are among them.
    """

    keys: frozenset[str]
    changes: tuple[Change, ...]
    written: dict[str, str]
    notices: list[str]


def to_properties(options: BrokerOptions | NamesrvOptions) -> str:
    """Every option as `key=value` under the name that the official servers print, sorted by it, null values left out.

    Where a key belongs to several objects (`listenPort`), the value is that of the last one, as in Java.

    Source: `org.apache.rocketmq.remoting.Configuration.getAllConfigsFormatString`, 5.5.0; older ones do not sort.
    """
    texts = dict(options.extra)
    for group in options.live_groups:
        for name, option in group.OPTIONS.items():
            value = getattr(group, name)
            if value is not None:
                texts[option.printed_key] = option.show(value)
    return "".join(f"{write_entry(key, texts[key])}\n" for key in sorted(texts))


def apply_properties(options: BrokerOptions | NamesrvOptions, text: str) -> Changed:
    """Change the live options as the properties text of an update says; all of it or nothing.

    Unknown keys change nothing, as in Java, unless they were in the file. A wrong value, which Java leaves out
    silently, refuses the update.

    Raises:
        BlackListedKey: for a key that may not be changed.
        ConfError: for a wrong value.
    """
    # an explicit value needs no look at the machine; only to tell whether a value is a default
    reading = Reading([type(group) for group in options.live_groups], Surroundings(os.environ))
    entries = [
        Given(entry.key, entry.value, UPDATE_REQUEST, entry.line) for entry in read_entries(text, UPDATE_REQUEST)
    ]
    for given in entries:
        owners = reading.index.get(given.key)
        if given.key in options.black_list or (owners and owners[0][1].key in options.black_list):
            raise BlackListedKey(UPDATE_REQUEST, given.line, given.key, "a key that may be changed", f"'{given.text}'")
    reading.read(entries)

    changes: list[Change] = []
    for group in options.live_groups:
        for name, new in reading.values.get(type(group), {}).items():
            old = getattr(group, name)
            if not group.OPTIONS[name].settable or old == new:
                continue
            setattr(group, name, new)
            changes.append(Change(group, name, group.OPTIONS[name].key, old, new))
    known_extra = {key: value for key, value in reading.extra.items() if key in options.extra}
    options.extra.update(known_extra)
    written = {key: given.text.strip() for key, given in reading.source.items()}
    return Changed(frozenset(reading.source), tuple(changes), {**written, **known_extra}, reading.notices)


def write_back(options: BrokerOptions | NamesrvOptions, changed: Changed) -> str:
    """Put an update into the file of the options, and keep the file as it was beside it as `.bak`.

    The official 5.x servers replace the file by a list of all their options. Here the person's comments, order and
    unchanged lines stay; the line of a changed key is replaced, and a key that was not there is appended. The new file
    is complete before it takes the old one's place.

    Returns:
        The path of the file.

    Raises:
        ConfError: if it cannot be read or written; the options themselves stay changed.
    """
    path = os.path.realpath(options.update_file)
    try:
        _replace(path, options, changed)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfError(path, None, None, "a file that can be rewritten", reason) from error
    return path


def _replace(path: str, options: BrokerOptions | NamesrvOptions, changed: Changed) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    mode = 0o644
    content = b""
    if os.path.exists(path):
        mode = os.stat(path).st_mode & 0o7777
        with open(path, "rb") as stream:
            content = stream.read()
        _write(f"{path}.bak", content, mode)
    _write(f"{path}.tmp", _edited(content, path, options, changed).encode(), mode)
    os.replace(f"{path}.tmp", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _edited(content: bytes, path: str, options: BrokerOptions | NamesrvOptions, changed: Changed) -> str:
    text = decode(content)
    index = Reading([type(group) for group in options.groups], Surroundings({})).index
    places: dict[str, tuple[int, int]] = {}
    for entry in read_entries(text, path):
        owners = index.get(entry.key)
        places[owners[0][1].key if owners else entry.key] = (entry.line, entry.last_line)
    lines: list[str | None] = list(natural_lines(text))
    if lines[-1] == "":
        lines.pop()
    for key, value in changed.written.items():
        written = write_entry(key, value)
        if key in places:
            first, last = places[key]
            lines[first - 1 : last] = [written, *[None] * (last - first)]
        else:
            lines.append(written)
    end = "\r\n" if "\r\n" in text else "\n"
    return "".join(f"{line}{end}" for line in lines if line is not None)
