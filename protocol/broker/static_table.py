"""The static topics of a broker, and `config/topicQueueMapping.json`.

A mapping is changed by administrators alone and saved before they are answered; slaves copy the whole table.
Source: `TopicQueueMappingManager` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from rmqd.protocol.static_mapping import MappingFault, check_items, check_succession, info_of
from rmqwire.bodies import DataVersion, TopicQueueMappingDetail
from rmqwire.dialect import dumps
from rmqwire.errors import MalformedBody

from .state_text import VERSION, EntryTexts, document, indented, load_state, table_of, version_of
from .state_writer import RunInThread, StateWriter
from .topics import next_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile
    from rmqwire.bodies import TopicQueueMappingInfo

_log = Logger()

_MAPPINGS = "topicQueueMappingInfoMap"
_COPIED, _COPIED_VERSION = "topicQueueMappingDetailMap", "mappingDataVersion"


class StaticTable:
    """The mappings of all static topics that this broker knows.

    Args:
        file: `config/topicQueueMapping.json`.
        broker_name: `brokerName`: whose mappings these are.
        wall_clock_ms: Stamps versions.
        run_in_thread: Runs blocking writes.

    Attributes:
        table: Mappings by topic, always the same dict; not to be changed from outside.
        data_version: A new object after every change.
        on_any: Called when the first mapping comes or the last one goes.
        on_changed: Called with a topic whose mapping an administrator has changed.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self, file: StateFile, broker_name: str, wall_clock_ms: Callable[[], int], run_in_thread: RunInThread
    ) -> None:
        self.broker_name = broker_name
        self._wall_clock_ms = wall_clock_ms
        self.table: dict[str, TopicQueueMappingDetail] = {}
        self.data_version = DataVersion(timestamp=wall_clock_ms())
        self.on_any: Callable[[], None] = lambda: None
        self.on_changed: Callable[[str], None] = lambda _: None
        self._members: dict[str, Any] = {}
        self._texts = EntryTexts(lambda topic: indented(self.table[topic], 2))
        self._writer = StateWriter(file, self._encode, run_in_thread)
        load_state(file, self._load)
        self._texts.touch_all(self.table)

    def _load(self, tree: dict[str, Any]) -> None:
        self.table.update(_mappings(table_of(tree, _MAPPINGS)))
        self.data_version = version_of(tree, self.data_version)
        self._members = {name: value for name, value in tree.items() if name not in (_MAPPINGS, VERSION)}

    def _encode(self) -> bytes:
        return document({_MAPPINGS: self._texts.text()}, {**self._members, VERSION: self.data_version})

    def get(self, topic: str) -> TopicQueueMappingDetail | None:
        """Give the mapping of a topic, None when it is not a static one."""
        return self.table.get(topic)

    def infos(self, topics: Iterable[str] | None = None) -> dict[str, TopicQueueMappingInfo]:
        """Give what name servers are told of all topics, or of some."""
        chosen = self.table if topics is None else [topic for topic in topics if topic in self.table]
        return {topic: info_of(self.table[topic]) for topic in chosen}

    def checked(self, detail: TopicQueueMappingDetail, *, force: bool = False) -> TopicQueueMappingDetail:
        """Give the mapping that would stand after an update: queues that the new one leaves out stay as they were.

        Args:
            detail: The new mapping.
            force: Take it whatever the one before.

        Raises:
            MappingFault: It contradicts itself or the one before.
        """
        if detail.bname != self.broker_name:
            raise MappingFault(f"The mapping is of broker {detail.bname}, and not of {self.broker_name}")
        for items in detail.hosted_queues.values():
            check_items(items)
        old = self.table.get(detail.topic or "")
        if old is None:
            return detail
        if not force:
            if detail.epoch < old.epoch:
                raise MappingFault(f"Can't accept data with small epoch {detail.epoch} < {old.epoch}")
            if detail.scope != old.scope:
                raise MappingFault(f"Can't accept data with unmatched scope {detail.scope} != {old.scope}")
            same_epoch = detail.epoch == old.epoch
            for logical_id, items in old.hosted_queues.items():
                new = detail.hosted_queues.get(logical_id)
                if new is not None:
                    check_succession(items, new, same_epoch=same_epoch)
                elif same_epoch:
                    raise MappingFault("Cannot accept equal epoch with null data")
        hosted = {**old.hosted_queues, **detail.hosted_queues}
        return msgspec.structs.replace(detail, hosted_queues=dict(sorted(hosted.items())))

    def put(self, detail: TopicQueueMappingDetail) -> None:
        """Take a mapping that `checked` gave, or that lost stretches at its old end."""
        first = not self.table
        topic = detail.topic or ""
        _log.info("mapping of {topic}: {detail}", topic=topic, detail=detail)
        self.table[topic] = detail
        self._texts.touch(topic)
        self._changed()
        if first:
            self.on_any()
        self.on_changed(topic)

    def delete(self, topic: str) -> None:
        """Forget a mapping, if there is one."""
        if self.table.pop(topic, None) is None:
            return
        _log.info("mapping of {topic} deleted", topic=topic)
        self._texts.drop(topic)
        self._changed()
        if not self.table:
            self.on_any()

    def _changed(self) -> None:
        self.data_version = next_version(self.data_version, self._wall_clock_ms())
        self._writer.changed()

    def details(self, topics: Iterable[str] | None = None) -> bytes:
        """Write the mappings for slaves (21): all of them, or those of some topics."""
        if not self.table:
            return b"{}"
        return dumps(
            self.table if topics is None else {each: self.table[each] for each in topics if each in self.table}
        )

    def copy_from(self, tree: dict[str, Any]) -> bool:
        """Take a master's mappings, as slaves are sent them (21); False when there is nothing new.

        Java 5.3.4 takes the version alone, and its slaves know no mapping.

        Raises:
            MalformedBody: They are no such table; nothing has changed.
        """
        version = tree.get(_COPIED_VERSION)
        if version is None or DataVersion.of_tree(version) == self.data_version:
            return False
        found = _mappings(table_of(tree, _COPIED))
        self.data_version = DataVersion.of_tree(version)
        for topic in self.table.keys() - found.keys():
            self._texts.drop(topic)
        was_empty = not self.table
        self.table.clear()
        self.table.update(found)
        self._texts.touch_all(found)
        self._writer.changed()
        if was_empty != (not found):
            self.on_any()
        return True

    def tick(self) -> None:
        """Try again to write what could not be written. Call every few seconds."""
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all changes so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()


def _mappings(tree: dict[str, Any]) -> dict[str, TopicQueueMappingDetail]:
    try:
        return {topic: TopicQueueMappingDetail.of_tree(entry) for topic, entry in tree.items()}
    except (TypeError, ValueError) as cause:
        raise MalformedBody(f"the mappings are none: {cause}") from cause
