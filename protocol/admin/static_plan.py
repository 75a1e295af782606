"""How the queues of a static topic are given to brokers: plans that are made of what all brokers know, and checked.

Pure: nothing is asked and nothing sent here. A plan is the table of settings and mappings by broker name, changed in
place. Where brokers are alike the choice goes by the topic's name (Java leaves it to chance).

Source: `TopicQueueMappingUtils` (5.3.4), whose words are those of the faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

from rmqd.protocol.static_mapping import UNDECIDED, MappingFault, check_items, leader
from rmqwire.bodies.topic import LogicQueueMappingItem, TopicConfigAndQueueMapping, TopicQueueMappingDetail
from rmqwire.dialect import dumps, loads
from rmqwire.errors import MalformedBody
from rmqwire.hashing import hash_order, unsigned_string_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATE, REMAP = "CREATE_OR_UPDATE", "REMAPPING"
_EPOCH_STEP_MS = 1000

Settings = dict[str, TopicConfigAndQueueMapping]
"""What each broker has of a topic, by its name."""


@dataclass
class Plan:
    """What to tell brokers."""

    topic: str
    kind: str
    epoch: int
    brokers: Settings
    taking: set[str] = field(default_factory=set)
    """Who leads queues from now on that others led."""
    leaving: set[str] = field(default_factory=set)
    """Who led them."""

    def text(self) -> bytes:
        """Write the plan as the official tool does."""
        return dumps(
            {
                "brokerConfigMap": {name: self.brokers[name] for name in hashed(self.brokers)},
                "brokerToMapIn": hashed(self.taking),
                "brokerToMapOut": hashed(self.leaving),
                "epoch": self.epoch,
                "topic": self.topic,
                "type": self.kind,
            }
        )

    @classmethod
    def read(cls, text: bytes) -> Plan:
        """Read a plan that was written.

        Raises:
            MalformedBody: It is none.
        """
        tree = loads(text)
        table = tree.get("brokerConfigMap") if isinstance(tree, dict) else None
        if not isinstance(table, dict) or not table:
            raise MalformedBody("it has no brokerConfigMap, or an empty one")
        topic, epoch = tree.get("topic"), tree.get("epoch", 0)
        if not isinstance(topic, str):
            raise MalformedBody("it names no topic")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            raise MalformedBody(f"its epoch is no number but {epoch!r}")
        brokers = {str(name): TopicConfigAndQueueMapping.of_tree(of) for name, of in table.items()}
        _check_leaders(brokers)
        names = [_names(tree, member, brokers) for member in ("brokerToMapIn", "brokerToMapOut")]
        return cls(topic, str(tree.get("type")), epoch, brokers, *names)


def _names(tree: Mapping[str, object], member: str, brokers: Settings) -> set[str]:
    names = tree.get(member)
    if names is None:
        return set()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedBody(f"{member} is no list of names")
    for name in names:
        if name not in brokers:
            raise MalformedBody(f"{member} names {name}, of which brokerConfigMap says nothing")
    return set(names)


def _check_leaders(brokers: Settings) -> None:
    for broker, settings in brokers.items():
        detail = settings.mapping_detail
        for logical_id, items in detail.hosted_queues.items() if detail else ():
            if items and items[-1].bname not in brokers:
                raise MalformedBody(
                    f"{broker} has {items[-1].bname} lead queue {logical_id}, of which brokerConfigMap says nothing"
                )


@dataclass(frozen=True)
class Led:
    """A logical queue and who leads it."""

    logical_id: int
    broker: str
    items: list[LogicQueueMappingItem]


def hashed(names: Iterable[str]) -> list[str]:
    """Give names in the order in which Java goes through them."""
    return hash_order(sorted(names), unsigned_string_hash)


def detail_of(broker: str, settings: TopicConfigAndQueueMapping) -> TopicQueueMappingDetail:
    """Give a broker's mapping.

    Raises:
        MappingFault: It has none: the topic is an ordinary one there.
    """
    if settings.mapping_detail is None:
        raise MappingFault("Mapping info should not be null in broker " + broker)
    return settings.mapping_detail


def check_names(topic: str, brokers: Settings) -> tuple[int, int]:
    """Give the epoch and the number of queues, on which all brokers have to agree.

    Raises:
        MappingFault: They do not.
    """
    epoch = total = -1
    scope: str | None = None
    for broker in hashed(brokers):
        settings = brokers[broker]
        detail = detail_of(broker, settings)
        if broker != detail.bname:
            raise MappingFault(f"The broker name is not equal {broker} != {detail.bname} ")
        if detail.dirty:
            raise MappingFault("The mapping info is dirty in broker  " + broker)
        if settings.topic_name != detail.topic:
            raise MappingFault("The topic name is inconsistent in broker  " + broker)
        if topic != detail.topic:
            raise MappingFault("The topic name is not match for broker  " + broker)
        if scope is not None and scope != detail.scope:
            raise MappingFault(f"scope does not match {detail.scope} != {scope} in {broker}")
        if epoch not in (-1, detail.epoch):
            raise MappingFault(f"epoch does not match {epoch} != {detail.epoch} in {broker}")
        if total not in (-1, detail.total_queues):
            raise MappingFault(f"total queue number does not match {total} != {detail.total_queues} in {broker}")
        scope, epoch, total = detail.scope, detail.epoch, detail.total_queues
    return epoch, total


def led_queues(brokers: Settings, *, strict: bool = True) -> dict[int, Led]:
    """Give all logical queues.

    Args:
        brokers: What each has.
        strict: Whether there has to be one leader of every queue; else the one with the latest epoch counts.

    Raises:
        MappingFault: Two brokers lead a queue, or none does, or two queues share a physical one.
    """
    details = [brokers[name].mapping_detail for name in hashed(brokers)]
    known = sorted((detail for detail in details if detail is not None), key=lambda each: -each.epoch)
    found: dict[int, Led] = {}
    for detail in known:
        for logical_id, items in detail.hosted_queues.items():
            check_items(items)
            if leader(items) != detail.bname:
                continue
            if logical_id not in found:
                found[logical_id] = Led(logical_id, detail.bname or "", items)
            elif strict:
                raise MappingFault(f"The queue id is duplicated in broker {leader(items)} {detail.bname}")
    if strict:
        total = max((detail.total_queues for detail in known), default=0)
        if total != len(found):
            raise MappingFault(
                f"The total queue number in config does not match the real hosted queues {total} != {len(found)}"
            )
        for logical_id in range(total):
            if logical_id not in found:
                raise MappingFault(f"The queue number {logical_id} is not in globalIdMap")
    _check_not_shared(found)
    return dict(sorted(found.items()))


def _check_not_shared(found: Mapping[int, Led]) -> None:
    owners: dict[tuple[str | None, int], int] = {}
    for queue in found.values():
        for item in queue.items:
            other = owners.setdefault((item.bname, item.queue_id), queue.logical_id)
            if other != queue.logical_id:
                raise MappingFault(
                    f"global queue id {queue.logical_id} and {other} shared the same physical queue"
                    f" {item.bname}-{item.queue_id}"
                )


def check_physical(brokers: Settings) -> None:
    """Check that the physical queues that mappings name are there.

    Raises:
        MappingFault: They are not.
    """
    for broker in hashed(brokers):
        settings = brokers[broker]
        if settings.read_queue_nums < settings.write_queue_nums:
            raise MappingFault("Read queues is smaller than write queues")
        for items in detail_of(broker, settings).hosted_queues.values():
            for item in items:
                if item.start_offset != 0:
                    raise MappingFault("The start offset does not begin from 0")
                owner = brokers.get(item.bname or "")
                if owner is None:
                    raise MappingFault("The broker of item does not exist")
                if item.queue_id >= owner.write_queue_nums:
                    raise MappingFault("The physical queue id is overflow the write queues")


def _checked(topic: str, brokers: Settings) -> dict[int, Led]:
    check_names(topic, brokers)
    found = led_queues(brokers)
    check_physical(brokers)
    return found


def _fill(counts: dict[str, int], more: int, order: list[str]) -> list[str]:
    """Name a broker for each of so many queues, always one that has the least; earlier in `order` goes first."""
    named = []
    for _ in range(more):
        name = min(order, key=lambda each: counts[each])
        counts[name] += 1
        named.append(name)
    return named


def grown(topic: str, queues: int, targets: set[str], brokers: Settings, now_ms: int) -> Plan:
    """Plan a new static topic, or more queues of one.

    Args:
        topic: Its name.
        queues: How many logical queues there shall be.
        targets: Brokers that get new ones, besides those that have the topic.
        brokers: What they have.
        now_ms: The next epoch, unless that of the brokers is later.

    Raises:
        MappingFault: The brokers do not agree, or there are as many queues or more.
    """
    epoch, found = now_ms, dict[int, Led]()
    if brokers:
        epoch, _ = check_names(topic, brokers)
        found = _checked(topic, brokers)
    if queues < len(found):
        raise MappingFault(f"Cannot decrease the queue num for static topic {queues} < {len(found)}")
    if queues == len(found):
        raise MappingFault("The topic queue num is equal the existed queue num, do nothing")
    order = sorted(targets | brokers.keys())
    turn = crc32(topic.encode()) % len(order)
    order = order[turn:] + order[:turn]
    counts = dict.fromkeys(order, 0) | Counter(queue.broker for queue in found.values())
    new_epoch = max(epoch + _EPOCH_STEP_MS, now_ms)
    wanted = [logical_id for logical_id in range(queues) if logical_id not in found]
    for logical_id, broker in zip(wanted, _fill(counts, len(wanted), order), strict=True):
        settings = brokers.setdefault(broker, empty(topic, broker, queues, new_epoch))
        settings.write_queue_nums += 1
        settings.read_queue_nums += 1
        item = LogicQueueMappingItem(queue_id=settings.write_queue_nums - 1, bname=broker)
        detail_of(broker, settings).hosted_queues[logical_id] = [item]
    _seal(brokers, queues, new_epoch)
    _checked(topic, brokers)
    return Plan(topic, CREATE, new_epoch, brokers)


def remapped(topic: str, targets: set[str], brokers: Settings, now_ms: int) -> Plan:
    """Plan that the queues of a topic are led by some brokers alone, as evenly as can be, and as few moved as can be.

    Raises:
        MappingFault: The brokers do not agree.
    """
    epoch, total = check_names(topic, brokers)
    found = _checked(topic, brokers)
    before = Counter(queue.broker for queue in found.values())
    share = dict.fromkeys(sorted(targets), 0)
    _fill(share, total, sorted(share, key=lambda each: (-before[each], each)))
    new_epoch = max(epoch + _EPOCH_STEP_MS, now_ms)
    plan = Plan(topic, REMAP, new_epoch, brokers)
    homeless = []
    for queue in found.values():
        if share.get(queue.broker, 0) > 0:
            share[queue.broker] -= 1
        else:
            homeless.append(queue)
    places = [broker for broker in share for _ in range(share[broker])]
    for queue, broker in zip(homeless, places, strict=True):
        plan.taking.add(broker)
        plan.leaving.add(queue.broker)
        settings = brokers.setdefault(broker, empty(topic, broker, total, new_epoch))
        settings.write_queue_nums += 1
        settings.read_queue_nums += 1
        items = [
            *queue.items,
            LogicQueueMappingItem(
                gen=queue.items[-1].gen + 1,
                queue_id=settings.write_queue_nums - 1,
                bname=broker,
                logic_offset=UNDECIDED,
            ),
        ]
        for each in (broker, queue.broker):  # the same list: where the stretch begins is decided for both
            detail_of(each, brokers[each]).hosted_queues[queue.logical_id] = items
    _seal(brokers, total, new_epoch)
    _checked(topic, brokers)
    return plan


def empty(topic: str, broker: str, total: int, epoch: int) -> TopicConfigAndQueueMapping:
    """Give what a broker has that shall know a topic and gets no queue of it."""
    detail = TopicQueueMappingDetail(topic=topic, bname=broker, total_queues=total, epoch=epoch)
    return TopicConfigAndQueueMapping(topic_name=topic, read_queue_nums=0, write_queue_nums=0, mapping_detail=detail)


def _seal(brokers: Settings, total: int, epoch: int) -> None:
    for broker, settings in brokers.items():
        detail = detail_of(broker, settings)
        detail.epoch, detail.total_queues = epoch, total


def rounded_up(offset: int, block: int) -> int:
    """Give where a new stretch begins: a multiple of `block` far enough above, as messages may still come."""
    blocks, rest = divmod(offset, block)
    return (blocks + (1 if rest < block // 2 else 2)) * block
