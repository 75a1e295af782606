"""The subscription groups of a broker: the table, how groups come to be, and `config/subscriptionGroup.json`.

Changes are on disk when `saved()` fires; until then only memory has them.
Source: `SubscriptionGroupManager`, `SubscriptionGroupConfig` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqwire.bodies import DataVersion, SubscriptionGroupConfig
from rmqwire.errors import MalformedBody

from . import names
from .attributes import GROUP_ATTRIBUTES, alter
from .state_text import VERSION, EntryTexts, document, indented, load_state, table_of, unknown_members, version_of
from .state_writer import RunInThread, StateWriter
from .topics import next_version, with_extra

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile

_log = Logger()

_GROUPS, _FORBIDDEN = "subscriptionGroupTable", "forbiddenTable"
_FORBIDDEN_READ = 1 << 2
"""The bit of `forbiddenTable` that takes reading away (`PermName.INDEX_PERM_READ` is 2)."""


class SubscriptionGroups:
    """All subscription groups.

    Args:
        file: `config/subscriptionGroup.json`.
        wall_clock_ms: Stamps versions.
        run_in_thread: Runs blocking writes.
        auto_create: `autoCreateSubscriptionGroup`.
        create_system_groups: `enableCreateSysGroup`: `CID_RMQ_SYS_...` is made even when `auto_create` is off.

    Attributes:
        table: Groups by name; not to be changed from outside.
        forbidden: `group -> topic -> bits`.
        data_version: A new object after every change.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        *,
        auto_create: bool = True,
        create_system_groups: bool = True,
    ) -> None:
        self._wall_clock_ms = wall_clock_ms
        self.auto_create = auto_create
        self.create_system_groups = create_system_groups
        self.data_version = DataVersion(timestamp=wall_clock_ms())
        self.table: dict[str, SubscriptionGroupConfig] = {
            name: SubscriptionGroupConfig(group_name=name) for name in names.SYSTEM_GROUPS
        }
        self.forbidden: dict[str, dict[str, int]] = {}
        self._extra: dict[str, dict[str, Any]] = {}
        self._members: dict[str, Any] = {}
        self._texts = EntryTexts(self._entry)
        self._writer = StateWriter(file, self._encode, run_in_thread)
        load_state(file, self._load)
        self._texts.touch_all(self.table)

    def _load(self, tree: dict[str, Any]) -> None:
        found: dict[str, SubscriptionGroupConfig] = {}
        extra: dict[str, dict[str, Any]] = {}
        for name, entry in table_of(tree, _GROUPS).items():
            config = SubscriptionGroupConfig.of_tree(entry)
            config.group_name = name
            found[name] = config
            more = unknown_members(entry, SubscriptionGroupConfig)
            if more:
                extra[name] = more
        forbidden: dict[str, dict[str, int]] = {}
        for group, topics in table_of(tree, _FORBIDDEN).items():
            if not isinstance(topics, dict) or not all(isinstance(bits, int) for bits in topics.values()):
                raise MalformedBody(f"{_FORBIDDEN} of {group} is no map of numbers")
            forbidden[group] = topics
        self.data_version = version_of(tree, self.data_version)
        self._members = {name: value for name, value in tree.items() if name not in (_GROUPS, _FORBIDDEN, VERSION)}
        self.forbidden = forbidden
        self._extra = extra
        self.table.update(found)

    def _entry(self, name: str) -> bytes:
        config, extra = self.table[name], self._extra.get(name)
        return indented(with_extra(config, extra) if extra else config, 2)

    def _encode(self) -> bytes:
        values = {**self._members, VERSION: self.data_version, _FORBIDDEN: self.forbidden}
        return document({_GROUPS: self._texts.text()}, values)

    def find(self, group: str) -> SubscriptionGroupConfig | None:
        """Give a group, made now if the broker may make it.

        Returns:
            None when it does not exist and must not be made, or its name is illegal.
        """
        known = self.table.get(group)
        if known is not None:
            return known
        system = self.create_system_groups and group.startswith(names.SYSTEM_GROUP_PREFIX)
        if not (self.auto_create or system) or names.group_fault(group):
            return None
        config = self.table[group] = SubscriptionGroupConfig(group_name=group)
        _log.info("new subscription group {group}", group=group)
        self._changed((group,))
        return config

    def contains(self, group: str) -> bool:
        """Whether a group exists; makes none."""
        return group in self.table

    def update(self, config: SubscriptionGroupConfig) -> None:
        """Make or change a group as an administrator asks; `attributes` hold changes with their sign.

        Raises:
            RequestError: An attribute is unknown, or its value or change not allowed.
        """
        self.update_all([config])

    def update_all(self, configs: Iterable[SubscriptionGroupConfig]) -> None:
        """Make or change several groups, all or none.

        Raises:
            RequestError: As `update`.
        """
        altered = list(configs)
        for config in altered:
            known = self.table.get(config.group_name or "")
            current = None if known is None else known.attributes or {}
            config.attributes = alter(GROUP_ATTRIBUTES, current, config.attributes or {})
        for config in altered:
            self.table[config.group_name or ""] = config
        if altered:
            self._changed(config.group_name or "" for config in altered)

    def delete(self, group: str) -> bool:
        """Forget a group; say whether there was one."""
        self.forbidden.pop(group, None)
        self._extra.pop(group, None)
        if self.table.pop(group, None) is None:
            _log.warn("delete of group {group}: no such group", group=group)
            return False
        self._texts.drop(group)
        _log.info("subscription group {group} deleted", group=group)
        self._changed(())
        return True

    def copy_from(self, tree: dict[str, Any]) -> bool:
        """Take a master's table, as slaves are sent it (201); False when its version is the one that is known.

        Raises:
            MalformedBody: It is no such table; nothing has changed.
        """
        if DataVersion.of_tree(tree.get(VERSION) or {}) == self.data_version:
            return False
        members, gone = self._members, self.table.keys() - table_of(tree, _GROUPS).keys()
        self._load({name: tree[name] for name in (_GROUPS, _FORBIDDEN, VERSION) if tree.get(name) is not None})
        self._members = members
        for name in gone:
            del self.table[name]
            self._texts.drop(name)
        self._texts.touch_all(self.table)
        self._writer.changed()
        return True

    def disable_consume(self, group: str) -> bool:
        """Take a group's permission to consume; say whether it had it."""
        config = self.table.get(group)
        if config is None or not config.consume_enable:
            return False
        config.consume_enable = False
        self._changed((group,))
        return True

    def is_read_forbidden(self, group: str, topic: str) -> bool:
        """Whether an administrator took a topic away from a group."""
        topics = self.forbidden.get(group)
        return topics is not None and bool(max(0, topics.get(topic, 0)) & _FORBIDDEN_READ)

    def forbid_read(self, group: str, topic: str, forbidden: bool) -> None:
        """Take a topic away from a group, or give it back."""
        topics = self.forbidden.setdefault(group, {})
        bits = max(0, topics.get(topic, 0))
        after = bits | _FORBIDDEN_READ if forbidden else bits & ~_FORBIDDEN_READ
        if after:
            topics[topic] = after
        else:
            topics.pop(topic, None)
        if not topics:
            del self.forbidden[group]
        if after != bits:
            self._changed(())

    def saved(self) -> Deferred[None]:
        """Wait until all changes so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()

    def tick(self) -> None:
        """Try again to write what could not be written. Call every few seconds."""
        self._writer.write()

    def _changed(self, groups: Iterable[str]) -> None:
        self.data_version = next_version(self.data_version, self._wall_clock_ms())
        self._texts.touch_all(groups)
        self._writer.changed()
