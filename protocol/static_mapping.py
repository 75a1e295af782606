"""Which physical queues a logical queue of a static topic consists of, and how its offsets are theirs.

A static topic has a fixed number of logical queues. Each is a list of stretches (`LogicQueueMappingItem`), the oldest
first: a physical queue of some broker whose messages from `start_offset` on have the logical offsets from
`logic_offset` on. The last one takes messages; its broker leads the queue. After a remapping the last one has logical
offset -1 until it is decided where it begins: its messages can be stored meanwhile, and not be read.

Arithmetic and checks alone, for brokers and for mqadmin; who asks whom is not decided here.
Source: `LogicQueueMappingItem`, `TopicQueueMappingUtils`, `TopicQueueMappingDetail` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmqwire.bodies import TopicQueueMappingInfo
from rmqwire.errors import RmqError

if TYPE_CHECKING:
    from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail

UNDECIDED = -1
"""Logical offset of a stretch that begins nobody knows where yet; end offset of one that goes on."""
GLOBAL_SCOPE = "__global__"
LOGICAL_BROKER_PREFIX = "__syslo__"


class MappingFault(RmqError):
    """A mapping that contradicts itself, or the one before it; the text is Java's."""


def logical_broker(scope: str) -> str:
    """Give the broker name that stands in the queues of a static topic."""
    return LOGICAL_BROKER_PREFIX + (scope[2:] if scope == GLOBAL_SCOPE else scope)


def is_decided(item: LogicQueueMappingItem) -> bool:
    """Whether it is known where a stretch begins."""
    return item.logic_offset >= 0


def has_end(item: LogicQueueMappingItem) -> bool:
    """Whether it is known where a stretch ends."""
    return item.end_offset > item.start_offset


def logical_offset(item: LogicQueueMappingItem, offset: int) -> int:
    """Give the logical offset of a physical one; that of the stretch's begin for what lies before it."""
    return item.logic_offset + max(0, offset - item.start_offset)


def logical_offset_within(item: LogicQueueMappingItem, offset: int) -> int:
    """Give it kept within the stretch, -1 while it is undecided: for new messages and for the oldest."""
    if not is_decided(item):
        return UNDECIDED
    if item.end_offset >= item.start_offset:
        offset = min(offset, item.end_offset)
    return logical_offset(item, offset)


def physical_offset(item: LogicQueueMappingItem, logical: int) -> int:
    """Give the physical offset of a logical one."""
    return logical - item.logic_offset + item.start_offset


def last_logical_offset(item: LogicQueueMappingItem) -> int:
    """Give the largest logical offset that a mapping alone vouches for."""
    return item.logic_offset + max(0, item.end_offset - item.start_offset)


def item_at(items: Sequence[LogicQueueMappingItem], logical: int) -> LogicQueueMappingItem | None:
    """Give the stretch that a logical offset is in, the first one for an offset before all; None when there is none."""
    decided = [item for item in items if is_decided(item)]
    for item in reversed(decided):
        if logical >= item.logic_offset:
            return item
    return decided[0] if decided else None


def last_item(items: Sequence[LogicQueueMappingItem]) -> LogicQueueMappingItem | None:
    """Give the newest stretch of which it is known where it begins."""
    return next((item for item in reversed(items) if is_decided(item)), None)


def item_after(items: Sequence[LogicQueueMappingItem], current: LogicQueueMappingItem) -> LogicQueueMappingItem | None:
    """Give the stretch that a consumer goes on with; None when there is none or it is undecided."""
    generations = [item.gen for item in items]
    if current.gen not in generations:
        return None
    place = generations.index(current.gen) + 1
    return items[place] if place < len(items) and is_decided(items[place]) else None


def leader(items: Sequence[LogicQueueMappingItem]) -> str | None:
    """Give the name of the broker that leads a queue."""
    return items[-1].bname if items else None


def current_ids(detail: TopicQueueMappingDetail) -> dict[int, int]:
    """Give the logical queues that a broker leads, and their physical ids."""
    return {
        logical_id: items[-1].queue_id
        for logical_id, items in sorted(detail.hosted_queues.items())
        if leader(items) == detail.bname
    }


def info_of(detail: TopicQueueMappingDetail) -> TopicQueueMappingInfo:
    """Give what a broker registers of a mapping."""
    return TopicQueueMappingInfo(
        topic=detail.topic,
        total_queues=detail.total_queues,
        bname=detail.bname,
        epoch=detail.epoch,
        curr_id_map=current_ids(detail),
    )


def check_items(items: Sequence[LogicQueueMappingItem]) -> None:
    """Check the stretches of one logical queue.

    Raises:
        MappingFault: They do not follow each other.
    """
    last_gen = last_offset = -1
    for place, item in reversed(list(enumerate(items))):
        if item.start_offset < 0 or item.gen < 0 or item.queue_id < 0:
            raise MappingFault("The field is illegal, should not be negative")
        if place < len(items) - 1 and not is_decided(item):
            raise MappingFault("The non-latest item has negative logic offset")
        if last_gen != -1 and item.gen >= last_gen:
            raise MappingFault("The gen does not increase monotonically")
        if item.end_offset != UNDECIDED and item.end_offset < item.start_offset:
            raise MappingFault("The endOffset is smaller than the start offset")
        if last_offset != -1 and item.logic_offset != UNDECIDED:
            if item.logic_offset >= last_offset:
                raise MappingFault("The base logic offset does not increase monotonically")
            if last_logical_offset(item) >= last_offset:
                raise MappingFault("The max logic offset does not increase monotonically")
        last_gen, last_offset = item.gen, item.logic_offset


def check_succession(
    old: Sequence[LogicQueueMappingItem], new: Sequence[LogicQueueMappingItem], *, same_epoch: bool
) -> None:
    """Check that stretches only come, go at the old end, or have their begin decided.

    Raises:
        MappingFault: One of them was changed, or the queue led by another without a new epoch.
    """
    if not old:
        return
    if not new:
        raise MappingFault("The new item list is null or empty")
    before = {item.gen: item for item in old}
    for item in new:
        known = before.get(item.gen)
        if known is not None and (
            (known.bname, known.queue_id, known.start_offset) != (item.bname, item.queue_id, item.start_offset)
            or (is_decided(known) and known.logic_offset != item.logic_offset)
        ):
            raise MappingFault(f"The item of gen {item.gen} is immutable")
    first, second = old[-1], new[-1]
    if same_epoch and (first.gen, first.bname, first.queue_id, first.start_offset) != (
        second.gen,
        second.bname,
        second.queue_id,
        second.start_offset,
    ):
        raise MappingFault("The new leader is different but epoch equal")
