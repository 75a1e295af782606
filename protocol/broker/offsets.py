"""How far each group has consumed each queue, and `config/consumerOffset.json`.

A commit changes memory only and must stay cheap: every consumer sends one per queue each 5 s. `tick`, called every
`flushConsumerOffsetInterval` (5 s), writes what has changed, in a thread; the service writes once more when it stops.
What a crash loses is read again by the consumers, as with the official broker.

Source: `ConsumerOffsetManager` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqwire.bodies import DataVersion
from rmqwire.dialect import dumps
from rmqwire.errors import MalformedBody

from .state_text import VERSION, EntryTexts, document, indented, load_state, table_of
from .state_writer import RunInThread, StateWriter
from .topics import next_version

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile

_log = Logger()

_OFFSETS, _PULL, _GROUPS = "offsetTable", "pullOffsetTable", "groupTopicMap"
NONE = -1
"""What `query` gives for a queue that was never committed."""

Table = dict[str, dict[int, int]]
"""`topic@group -> queue id -> offset`."""


class ConsumerOffsets:
    """The offsets of all groups.

    Args:
        file: `config/consumerOffset.json`.
        wall_clock_ms: Stamps versions.
        run_in_thread: Runs blocking writes.
        version_step: `consumerOffsetUpdateVersionStep`: how many commits raise the version by one.
        server_side_reset: `useServerSideResetOffset`: a reset stands until the next pull has been told of it.

    Attributes:
        table: The offsets; not to be changed from outside.
        data_version: What slaves compare.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        *,
        version_step: int = 500,
        server_side_reset: bool = True,
    ) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._version_step = version_step
        self.server_side_reset = server_side_reset
        self.data_version = DataVersion(timestamp=wall_clock_ms())
        self.table: Table = {}
        self._pull: Table = {}
        self._reset: Table = {}
        self._members: dict[str, Any] = {}
        self._commits = 0
        self._as_told = False
        """Whether nothing was committed since the version was read or copied."""
        self._texts = EntryTexts(lambda key: _text(self.table[key]))
        self._pull_texts = EntryTexts(lambda key: _text(self._pull[key]))
        self._groups_text: bytes | None = None
        """None when keys have come or gone since it was made."""
        self._writer = StateWriter(file, self._encode, run_in_thread)
        load_state(file, self._load)
        self._texts.touch_all(self.table)

    def _load(self, tree: dict[str, Any]) -> None:
        table: Table = {}
        for key, queues in table_of(tree, _OFFSETS).items():
            table[key] = _queues(key, queues)
        version = tree.get(VERSION)
        if version is not None:
            self.data_version = DataVersion.of_tree(version)
            self._as_told = True
        known = (_OFFSETS, _PULL, _GROUPS, VERSION)
        self._members = {name: value for name, value in tree.items() if name not in known}
        self.table = table

    def _encode(self) -> bytes:
        if self._groups_text is None:
            self._groups_text = indented(self.topics_by_group(), 1)
        texts = {_GROUPS: self._groups_text, _OFFSETS: self._texts.text(), _PULL: self._pull_texts.text()}
        return document(texts, {**self._members, VERSION: self.data_version})

    def body(self) -> bytes:
        """Write the table compactly, as a slave asks for it (43).

        Unlike Java without the pull offsets: no broker looks at them, and 5.5.0 refuses the whole answer for them, as
        its parser skips no object with bare integer keys.
        """
        whole = {
            VERSION: self.data_version,
            _GROUPS: self.topics_by_group(),
            _OFFSETS: self.table,
        }
        return dumps({name: whole[name] for name in sorted(whole)})

    def copy_from(self, tree: dict[str, Any]) -> None:
        """Take a master's offsets, as slaves are sent them (43); groups that it does not know keep theirs.

        Raises:
            MalformedBody: They are no offsets; nothing has changed.
        """
        found = {key: _queues(key, queues) for key, queues in table_of(tree, _OFFSETS).items()}
        version = tree.get(VERSION)
        if version is not None:
            self.data_version = DataVersion.of_tree(version)
            self._as_told = True
        for key, queues in found.items():
            known = self.table.get(key)
            if known != queues:
                if known is None:
                    self._groups_text = None
                self.table[key] = queues
                self._texts.touch(key)
                self._writer.mark()

    def query(self, group: str, topic: str, queue_id: int) -> int:
        """Give the offset that a group goes on from, that of a pending reset first; -1 when there is none."""
        key = f"{topic}@{group}"
        if self._reset and self.server_side_reset:
            reset = self._reset.get(key, _EMPTY).get(queue_id)
            if reset is not None:
                return reset
        return self.table.get(key, _EMPTY).get(queue_id, NONE)

    def commit(self, group: str, topic: str, queue_id: int, offset: int, client: str = "") -> None:
        """Take a group's offset of one queue, even a smaller one: consumers may go back."""
        key = f"{topic}@{group}"
        queues = self.table.get(key)
        if queues is None:
            self.table[key] = {queue_id: offset}
            self._groups_text = None
        else:
            before = queues.get(queue_id, NONE)
            if offset < before:
                _log.warn(
                    "{client} sets {key} queue {queue} back from {before} to {offset}",
                    client=client,
                    key=key,
                    queue=queue_id,
                    before=before,
                    offset=offset,
                )
            queues[queue_id] = offset
            if offset == before:
                return
        self._texts.touch(key)
        self._writer.mark()
        self._commits += 1
        # The first one too: by it a master that comes back sees that the slave that stood in knows more. Official ones
        # begin with a version of the time of their start when they died before they wrote the file.
        if self._as_told or self._commits % self._version_step == 0:
            self._as_told = False
            self.data_version = next_version(self.data_version, self._wall_clock_ms())

    def commit_pull_offset(self, group: str, topic: str, queue_id: int, offset: int) -> None:
        """Note how far a group has read; written along with the next commit, as it is only shown to administrators."""
        key = f"{topic}@{group}"
        queues = self._pull.get(key)
        if queues is None:
            self._pull[key] = {queue_id: offset}
        elif queues.get(queue_id) == offset:
            return
        else:
            queues[queue_id] = offset
        self._pull_texts.touch(key)

    def query_pull_offset(self, group: str, topic: str, queue_id: int) -> int:
        """Give how far a group has read, or failing that, consumed."""
        offset = self._pull.get(f"{topic}@{group}", _EMPTY).get(queue_id)
        return self.query(group, topic, queue_id) if offset is None else offset

    def queues(self, group: str, topic: str) -> dict[int, int]:
        """Give the offsets of all queues of a topic that a group has committed."""
        return dict(self.table.get(f"{topic}@{group}", _EMPTY))

    def assign_reset_offset(self, group: str, topic: str, queue_id: int, offset: int) -> None:
        """Move a group on the server side: the next pull is told, and commits are ignored until then."""
        self._reset.setdefault(f"{topic}@{group}", {})[queue_id] = offset
        self.commit(group, topic, queue_id, offset, "an administrator")

    def has_reset_offset(self, group: str, topic: str, queue_id: int) -> bool:
        """Whether a reset waits for the next pull."""
        if not self._reset or not self.server_side_reset:
            return False
        return queue_id in self._reset.get(f"{topic}@{group}", _EMPTY)

    def take_reset_offset(self, group: str, topic: str, queue_id: int) -> int | None:
        """Give a pending reset and forget it; None when there is none."""
        if not self._reset or not self.server_side_reset:
            return None
        key = f"{topic}@{group}"
        queues = self._reset.get(key)
        if queues is None:
            return None
        offset = queues.pop(queue_id, None)
        if not queues:
            del self._reset[key]
        return offset

    def clone(self, source_group: str, target_group: str, topic: str) -> None:
        """Give one group the offsets of another."""
        queues = self.table.get(f"{topic}@{source_group}")
        if queues is not None:
            key = f"{topic}@{target_group}"
            self.table[key] = dict(queues)
            self._groups_text = None
            self._texts.touch(key)
            self._writer.mark()

    def remove_group(self, group: str) -> None:
        """Forget a group's offsets of all topics."""
        self._remove([key for key in self._keys() if group_of(key) == group])

    def remove_topic(self, topic: str) -> None:
        """Forget all groups' offsets of a topic."""
        self._remove([key for key in self._keys() if topic_of(key) == topic])

    def _keys(self) -> set[str]:
        return self.table.keys() | self._pull.keys() | self._reset.keys()

    def _remove(self, keys: list[str]) -> None:
        for key in keys:
            self._reset.pop(key, None)
            if self._pull.pop(key, None) is not None:
                self._pull_texts.drop(key)
            if self.table.pop(key, None) is not None:
                self._texts.drop(key)
                self._groups_text = None
                self._writer.mark()
                _log.info("offsets of {key} removed", key=key)

    def groups_of(self, topic: str) -> set[str]:
        """Give the groups that have committed offsets of a topic."""
        return {group_of(key) for key in self.table if topic_of(key) == topic}

    def topics_of(self, group: str) -> set[str]:
        """Give the topics that a group has committed offsets of."""
        return {topic_of(key) for key in self.table if group_of(key) == group}

    def topics_by_group(self) -> dict[str, list[str]]:
        """Give the topics of every group."""
        topics: dict[str, list[str]] = {}
        for key in self.table:
            topics.setdefault(group_of(key), []).append(topic_of(key))
        return topics

    def tick(self) -> None:
        """Write what has changed since the last time. Call every `flushConsumerOffsetInterval`."""
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all commits so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()


_EMPTY: dict[int, int] = {}


def topic_of(key: str) -> str:
    """Give the topic of `topic@group`."""
    return key.partition("@")[0]


def group_of(key: str) -> str:
    """Give the group of `topic@group`."""
    return key.partition("@")[2]


def _text(queues: dict[int, int]) -> bytes:
    """Write the offsets of one key as the pretty writer does, some ten times faster: all keys may change in 5 s."""
    if not queues:
        return b"{}"
    return b"{\n\t\t\t" + b",\n\t\t\t".join([b"%d:%d" % entry for entry in queues.items()]) + b"\n\t\t}"


def _queues(key: str, queues: Any) -> dict[int, int]:
    if not isinstance(queues, dict):
        raise MalformedBody(f"the offsets of {key} are no object")
    try:
        return {int(queue_id): int(offset) for queue_id, offset in queues.items()}
    except (TypeError, ValueError) as cause:
        raise MalformedBody(f"the offsets of {key} are no numbers: {cause}") from cause
