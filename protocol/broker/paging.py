"""Pages of a table, as 5.3.4 and later ask for topics (21) and groups (201) in parts.

Source: `TopicConfigManager.subTopicConfigTable`, `SubscriptionGroupManager.subGroupTable` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from rmqwire.bodies import DataVersion
from rmqwire.errors import MalformedBody

T = TypeVar("T")


def page_of(
    table: Mapping[str, T],
    version: DataVersion,
    first: int | None,
    known_version: str | None,
    wanted: int | None,
    page_size: int,
) -> dict[str, T] | None:
    """Give a page of a table in the order of its names.

    Args:
        table: All of it.
        version: Its version.
        first: Number of the first entry.
        known_version: The version, as JSON, that the caller read the pages before from; another one begins anew.
        wanted: Most entries that the caller takes.
        page_size: Most entries that we give.

    Returns:
        None when the caller does not know of pages.
    """
    if first is None and known_version is None and wanted is None:
        return None
    begin = max(0, first or 0) if _same(known_version, version) else 0
    size = page_size if wanted is None else max(0, min(wanted, page_size))
    return {name: table[name] for name in sorted(table)[begin : begin + size]}


def _same(text: str | None, version: DataVersion) -> bool:
    if not text or not text.strip():
        return False
    try:
        return DataVersion.decode(text.encode()) == version
    except MalformedBody:
        return False
