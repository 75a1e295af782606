"""The topics of a broker: the table, how topics come to be, and `config/topics.json`.

Changes are on disk when `settled()` fires; until then only memory has them. Must not talk to name servers itself:
whoever has to know of changes is in `on_changed`.

Source: `TopicConfigManager`, `TopicConfig` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from rmqwire.bodies import DataVersion, TopicConfig

from . import names
from .attributes import TOPIC_ATTRIBUTES, alter
from .state_text import VERSION, EntryTexts, document, indented, load_state, table_of, unknown_members, version_of
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from rmqd.store.statefile import StateFile

_log = Logger()

OnChanged = Callable[[list[TopicConfig]], "Deferred[None] | None"]

_TOPICS = "topicConfigTable"
_SCHEDULE_QUEUES = 18
_BENCHMARK_QUEUES = 1024


class TopicSettings(msgspec.Struct):
    """The few options that the table follows; changed at run time by updateBrokerConfig."""

    broker_name: str
    cluster_name: str
    auto_create_topic_enable: bool = True
    default_topic_queue_nums: int = 8
    cluster_topic_enable: bool = True
    broker_topic_enable: bool = True
    trace_topic_enable: bool = False
    msg_trace_topic_name: str = names.TRACE_TOPIC
    revive_queue_num: int = 8
    timer_wheel_enable: bool = True


class TopicTable:
    """All topics.

    Args:
        file: `config/topics.json`.
        settings: Options; may change while the broker runs.
        wall_clock_ms: Stamps versions.
        run_in_thread: Runs blocking writes.

    Attributes:
        table: Topics by name; not to be changed from outside.
        data_version: A new object after every change.
        unsaved: Topics made by a send that are not on disk yet; its messages are acknowledged after `saved`.
        on_changed: Called with new and changed topics; a Deferred that it returns is waited for by `settled`.
        system_topics: The topics that `isSystemTopic` is true for, less the prefix rule.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        settings: TopicSettings,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
    ) -> None:
        self.settings = settings
        self._wall_clock_ms = wall_clock_ms
        self.data_version = DataVersion(timestamp=wall_clock_ms())
        initial = start_topics(settings)
        self.system_topics = names.SYSTEM_TOPICS | {topic_name(config) for config in initial}
        self.table: dict[str, TopicConfig] = {topic_name(config): config for config in initial}
        self.unsaved: set[str] = set()
        self.on_changed: list[OnChanged] = []
        self._extra: dict[str, dict[str, Any]] = {}
        self._members: dict[str, Any] = {}
        self._texts = EntryTexts(self._entry)
        self._writer = StateWriter(file, self._encode, run_in_thread)
        self._announcements: set[Deferred[None]] = set()
        load_state(file, self._load)
        self._texts.touch_all(self.table)

    def _load(self, tree: dict[str, Any]) -> None:
        found: dict[str, TopicConfig] = {}
        extra: dict[str, dict[str, Any]] = {}
        for name, entry in table_of(tree, _TOPICS).items():
            config = TopicConfig.of_tree(entry)
            config.topic_name = name
            found[name] = config
            more = unknown_members(entry, TopicConfig)
            if more:
                extra[name] = more
        self.data_version = version_of(tree, self.data_version)
        self._members = {name: value for name, value in tree.items() if name not in (_TOPICS, VERSION)}
        self._extra = extra
        self.table.update(found)

    def _entry(self, name: str) -> bytes:
        config, extra = self.table[name], self._extra.get(name)
        return indented(with_extra(config, extra) if extra else config, 2)

    def _encode(self) -> bytes:
        return document({_TOPICS: self._texts.text()}, {**self._members, VERSION: self.data_version})

    def get(self, topic: str) -> TopicConfig | None:
        """Give a topic, None when it does not exist."""
        return self.table.get(topic)

    @staticmethod
    def validate(topic: str) -> str:
        """Say what is wrong with a topic's name; empty when it is legal."""
        return names.topic_fault(topic)

    def is_system(self, topic: str) -> bool:
        """Whether a topic belongs to the broker itself."""
        return topic in self.system_topics or topic.startswith(names.SYSTEM_PREFIX)

    def create_for_send(
        self, topic: str, default_topic: str, client_queue_nums: int, topic_sys_flag: int, peer: str
    ) -> TopicConfig | None:
        """Make a topic at its first message, as its default topic (TBW102) allows.

        Args:
            topic: The new one; its name has been checked.
            default_topic: What the client named as the pattern.
            client_queue_nums: How many queues the client would like.
            topic_sys_flag: Unit flags.
            peer: For the log.

        Returns:
            The topic; None when the default topic does not exist or does not pass its permission on.
        """
        known = self.table.get(topic)
        if known is not None:
            return known
        pattern = self.table.get(default_topic)
        if pattern is None:
            _log.warn("{topic} not created for {peer}: no {default}", topic=topic, peer=peer, default=default_topic)
            return None
        if default_topic == names.AUTO_CREATE_KEY_TOPIC and not self.settings.auto_create_topic_enable:
            pattern.perm = names.PERM_READ | names.PERM_WRITE  # as Java: a loaded TBW102 passes nothing on any more
        if not pattern.perm & names.PERM_INHERIT:
            _log.warn("{topic} not created for {peer}: {default}'s perm", topic=topic, peer=peer, default=default_topic)
            return None
        queues = max(0, min(client_queue_nums, pattern.write_queue_nums))
        config = TopicConfig(
            topic_name=topic,
            read_queue_nums=queues,
            write_queue_nums=queues,
            perm=pattern.perm & ~names.PERM_INHERIT,
            topic_sys_flag=topic_sys_flag,
            topic_filter_type=pattern.topic_filter_type,
        )
        _log.info("new topic {topic} by {default} for {peer}", topic=topic, default=default_topic, peer=peer)
        self.unsaved.add(topic)
        self._put([config])
        self.saved().addErrback(lambda _: None)  # logged by the writer; whoever sends to the topic learns of it
        return config

    def create_for_send_back(
        self, topic: str, queue_nums: int, perm: int, topic_sys_flag: int, *, order: bool | None = None
    ) -> TopicConfig:
        """Make a retry or dead-letter topic if it is not there yet.

        Args:
            topic: Its name.
            queue_nums: Queues to read and to write.
            perm: Permission bits.
            topic_sys_flag: Unit flags.
            order: Whether its group reads an ordered topic; None leaves an existing topic as it is.
        """
        known = self.table.get(topic)
        if known is None:
            known = TopicConfig(
                topic_name=topic,
                read_queue_nums=queue_nums,
                write_queue_nums=queue_nums,
                perm=perm,
                topic_sys_flag=topic_sys_flag,
                order=bool(order),
            )
            _log.info("new topic {topic}", topic=topic)
            self._put([known])
        elif order is not None and order != known.order:
            known.order = order
            self._changed([known], announce=False)
        return known

    def update(self, config: TopicConfig) -> None:
        """Make or change a topic as an administrator asks; `attributes` hold changes with their sign.

        Raises:
            RequestError: An attribute is unknown, or its value or change not allowed.
        """
        self.update_all([config])

    def update_all(self, configs: Iterable[TopicConfig]) -> None:
        """Make or change several topics, all or none.

        Raises:
            RequestError: As `update`.
        """
        altered = list(configs)
        for config in altered:
            known = self.table.get(topic_name(config))
            current = None if known is None else known.attributes or {}
            config.attributes = alter(TOPIC_ATTRIBUTES, current, config.attributes or {})
        self._put(altered)

    def set_order(self, topics: Iterable[str]) -> None:
        """Mark the topics that a name server's order configuration names."""
        changed = [config for config in map(self.table.get, topics) if config is not None and not config.order]
        for config in changed:
            config.order = True
        if changed:
            self._changed(changed, announce=False)

    def delete(self, topic: str) -> bool:
        """Forget a topic; say whether there was one. Name servers learn of it with the next whole registration."""
        config = self.table.pop(topic, None)
        self._extra.pop(topic, None)
        if config is None:
            _log.warn("delete of {topic}: no such topic", topic=topic)
            return False
        self._texts.drop(topic)
        _log.info("topic {topic} deleted", topic=topic)
        self._changed([], announce=False)
        return True

    def copy_from(self, tree: dict[str, Any]) -> bool:
        """Take a master's table, as slaves are sent it (21); False when its version is the one that is known.

        Raises:
            MalformedBody: It is no such table; nothing has changed.
        """
        if DataVersion.of_tree(tree.get(VERSION) or {}) == self.data_version:
            return False
        members, gone = self._members, self.table.keys() - table_of(tree, _TOPICS).keys()
        self._load({name: tree[name] for name in (_TOPICS, VERSION) if tree.get(name) is not None})
        self._members = members
        for name in gone:
            del self.table[name]
            self._texts.drop(name)
        self._texts.touch_all(self.table)
        self._writer.changed()
        return True

    def bump_version(self, state_version: int | None = None) -> None:
        """Raise the version without a change of any topic, as when the broker's permission changes.

        Args:
            state_version: The term of a master that a controller elected, from now on.
        """
        if state_version is not None:
            self.data_version = DataVersion(
                counter=self.data_version.counter, state_version=state_version, timestamp=self.data_version.timestamp
            )
        self._changed([], announce=False)

    def settled(self) -> Deferred[None]:
        """Wait until all changes so far are on disk and those who had to be told have been.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        waits: list[Deferred[Any]] = [self._writer.saved()]
        for announcement in self._announcements:
            waiter: Deferred[None] = Deferred()
            announcement.addBoth(_pass_on, waiter)
            waits.append(waiter)
        both = DeferredList(waits, fireOnOneErrback=True, consumeErrors=True)
        return both.addCallbacks(lambda _: None, lambda failure: failure.value.subFailure)

    def saved(self) -> Deferred[None]:
        """Wait until all changes so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        saved, names_saved = self._writer.saved(), frozenset(self.unsaved)
        return saved.addCallback(lambda _: self.unsaved.difference_update(names_saved))

    def tick(self) -> None:
        """Try again to write what could not be written. Call every few seconds."""
        self._writer.write()

    def _put(self, configs: list[TopicConfig]) -> None:
        for config in configs:
            self.table[topic_name(config)] = config
        self._changed(configs)

    def _changed(self, configs: list[TopicConfig], *, announce: bool = True) -> None:
        self.data_version = next_version(self.data_version, self._wall_clock_ms())
        self._texts.touch_all(map(topic_name, configs))
        self._writer.changed()
        if not announce:
            return
        for callback in self.on_changed:
            told = callback(configs)
            if told is not None and not told.called:
                self._announcements.add(told)
                told.addBoth(self._announced, told)

    def _announced(self, result: object, told: Deferred[None]) -> object:
        self._announcements.discard(told)
        return result


def _pass_on(result: object, waiter: Deferred[None]) -> object:
    waiter.callback(None)
    return result


def topic_name(config: TopicConfig) -> str:
    """Give the name that a topic's settings carry; requests without one were refused before."""
    return config.topic_name or ""


def next_version(version: DataVersion, now_ms: int) -> DataVersion:
    """Give the version after a change; the object before stays as it was, for whoever is sending it."""
    return DataVersion(counter=version.counter + 1, state_version=version.state_version, timestamp=now_ms)


def with_extra(body: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Give a body's members together with those that it does not know, sorted."""
    members = {
        name: getattr(body, attribute)
        for attribute, name in zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True)
    }
    members.update(extra)
    return {name: members[name] for name in sorted(members) if members[name] is not None}


def start_topics(settings: TopicSettings) -> list[TopicConfig]:
    """Give the topics that a broker has from its start; those of the file take their place.

    Source: `TopicConfigManager.init` (5.5.0; the two ROCKSDB topics seen in what it writes).
    """
    read_write = names.PERM_READ | names.PERM_WRITE
    cluster, broker = settings.cluster_name, settings.broker_name

    def topic(name: str, queues: int = 1, perm: int = read_write) -> TopicConfig:
        return TopicConfig(topic_name=name, read_queue_nums=queues, write_queue_nums=queues, perm=perm)

    made = [topic(names.SELF_TEST_TOPIC)]
    if settings.auto_create_topic_enable:
        made.append(
            topic(names.AUTO_CREATE_KEY_TOPIC, settings.default_topic_queue_nums, read_write | names.PERM_INHERIT)
        )
    made += [
        topic(names.BENCHMARK_TOPIC, _BENCHMARK_QUEUES),
        topic(cluster, 16, names.PERM_INHERIT | (read_write if settings.cluster_topic_enable else 0)),
        topic(broker, 1, names.PERM_INHERIT | (read_write if settings.broker_topic_enable else 0)),
        topic(names.OFFSET_MOVED_TOPIC),
        topic(names.SCHEDULE_TOPIC, _SCHEDULE_QUEUES),
    ]
    if settings.trace_topic_enable:
        made.append(topic(settings.msg_trace_topic_name))
    made += [
        topic(cluster + names.REPLY_TOPIC_SUFFIX),
        topic(names.REVIVE_TOPIC_PREFIX + cluster, settings.revive_queue_num),
        topic(names.SYNC_BROKER_MEMBER_PREFIX + broker, 1, names.PERM_INHERIT),
        topic(names.TRANS_HALF_TOPIC),
        topic(names.TRANS_OP_HALF_TOPIC),
        topic(names.ROCKSDB_TRANS_HALF_TOPIC),
        topic(names.ROCKSDB_TRANS_OP_HALF_TOPIC),
    ]
    if settings.timer_wheel_enable:
        made.append(topic(names.TIMER_TOPIC))
    return made
