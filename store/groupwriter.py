"""The write path: messages are staged one by one and written as a group.

What it is for: what is done per message is as little as can be. `stage` packs the record and its queue unit into
lists; `commit` joins and writes them with one system call and makes them visible. What it must not do: sync, or read.

Source: `CommitLog.asyncPutMessage`, `MessageExtEncoder`, `ConsumeQueue.putMessagePositionInfo`, 5.3.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from rmqwire import speed
from rmqwire.checksum import crc32
from rmqwire.message import (
    PROPERTIES_SIZE_MAX_BYTES,
    SYS_FLAG_BORN_HOST_V6,
    SYS_FLAG_STORE_HOST_V6,
    SYS_FLAG_TRANSACTION_MASK,
    SYS_FLAG_TRANSACTION_ROLLBACK,
    decode_properties,
)

from .commitlog import BLANK_BYTES, CommitLog
from .consumequeue import UNIT, ConsumeQueue, append_units
from .dispatch import DeliveryTime, unit_tags_code
from .errors import MessageTooLarge, NotWritable, PropertiesTooLarge, TopicTooLong, WriteFailed
from .heldback import Arrived, HeldBack
from .keyed import KeyedMessage
from .keyindex import BUILD_AFTER, KeyIndex
from .options import StoreOptions
from .queuetable import TAIL_WRITE_BYTES, ConsumeQueues

CommitCallback = Callable[[Exception | None], None]

ArrivalCallback = Callable[[str, int, int, Sequence[int]], None]
"""(topic, queue id, the queue's new max offset, tags codes of the new messages), once per queue and commit."""

UNIT_PACK = UNIT.pack
PROPERTIES_LENGTH = struct.Struct(">h").pack
SLAVE_TAKES_NONE = "a slave takes messages from its master alone"
_RECORD_BODY_MARGIN_BYTES = 64 * 1024
"""As Java: a record may be so much larger than `maxMessageSize`."""
TRANSACTION_NOT_IN_QUEUE = frozenset((4, 12))  # prepared and rollback have no queue offset


class StagedPut(msgspec.Struct, gc=False):
    """Where a message goes. It is there when `commit` has returned."""

    physical_offset: int
    queue_offset: int
    size: int
    """Bytes of the record; `physical_offset + size` is what has to be flushed for it."""
    store_timestamp: int


class GroupWriter:
    """The single writer of a store's log, queues and index.

    Args:
        index: None when messages are not indexed.
    """

    def __init__(
        self,
        log: CommitLog,
        queues: ConsumeQueues,
        index: KeyIndex | None,
        options: StoreOptions,
        wall_clock_ms: Callable[[], int],
        delivery_time_ms: DeliveryTime | None,
    ) -> None:
        self.log = log
        self.queues = queues
        self.index = index
        self.options = options
        self._listeners: list[tuple[Mapping[str, object] | None, ArrivalCallback]] = []
        self._awaited: tuple[Mapping[str, object], ...] | None = ()  # topics that are told; None tells all
        self.held_back: HeldBack | None = None
        self._wall_clock_ms = wall_clock_ms
        self._delivery = delivery_time_ms
        self._not_writable: NotWritable | None = NotWritable("the store is not open")
        self._failure: NotWritable | None = None  # for good, until the store is opened anew
        self._derived_failure: NotWritable | None = None  # until queues and index can be written again
        self._disk_full: NotWritable | None = None
        self._refusal: NotWritable | None = NotWritable(SLAVE_TAKES_NONE) if options.slave else None
        self._open = False

        store_host = options.store_host
        self._store_host = store_host
        self._sys_flag = SYS_FLAG_STORE_HOST_V6 if len(store_host) == 20 else 0
        self._pack_v4 = struct.Struct(f">iiiiiqqiq8sq{len(store_host)}siqi").pack
        self._pack_v6 = struct.Struct(f">iiiiiqqiq20sq{len(store_host)}siqi").pack
        self._fixed_size = 80 + len(store_host) + 2  # all but body, topic field and properties; born host IPv4
        self._body_max = options.max_message_size
        self._record_max = options.max_message_size + _RECORD_BODY_MARGIN_BYTES

        # The group that is being staged.
        self._by_key: dict[tuple[str, int], ConsumeQueue] = {}
        self._by_topic: dict[str, list[ConsumeQueue | None]] = {}  # the same by queue id, for runs of sends
        self._position = 0
        self._file_end = 0
        self._parts: list[bytes] = []
        self._part_begin = 0
        self._pieces: list[tuple[int, list[bytes]]] = []  # those that end a file, with their offset
        self._touched: list[ConsumeQueue] = []
        self._keyed: list[KeyedMessage] = []
        self._group_timestamp = 0
        self._last_timestamp = 0
        self._watchers: list[CommitCallback] = []
        self.put_count = 0
        """Messages staged since the store was opened."""

    # -- whether it may write ------------------------------------------------------------------------------------

    @property
    def not_writable(self) -> NotWritable | None:
        """Why the store takes no messages; None when it does."""
        return self._not_writable

    def _judge(self) -> None:
        """Say whether messages are taken, after one of the reasons came or went."""
        if not self._open:
            self._not_writable = NotWritable("the store is closed")
        else:
            self._not_writable = self._failure or self._derived_failure or self._disk_full or self._refusal

    def refuse(self, reason: str | None) -> None:
        """Take no messages, for a reason that has nothing to do with the files; None takes them again."""
        self._refusal = None if reason is None else NotWritable(reason)
        self._judge()

    def _fail(self, text: str, error: BaseException) -> NotWritable:
        self._failure = failure = NotWritable(text)
        failure.__cause__ = error
        self._judge()
        return failure

    def _derived_failed(self, error: Exception) -> None:
        # The messages are safe in the log and readable from memory; but no more may come, or memory fills up.
        self._derived_failure = NotWritable(
            f"consume queues or index cannot be written: {error}", file=str(self.options.root)
        )
        self._judge()

    def _derived_works(self) -> None:
        if self._derived_failure is not None:
            self._derived_failure = None
            self._judge()

    # -- putting -----------------------------------------------------------------------------------------------------

    def stage(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        properties: bytes,
        *,
        tags_code: int,
        keys: Sequence[str],
        flag: int,
        sys_flag: int,
        born_timestamp: int,
        born_host: bytes,
        reconsume_times: int = 0,
        prepared_transaction_offset: int = 0,
    ) -> StagedPut:
        """Give a message its place; nothing is written before `commit`.

        Args:
            properties: the property string as it is stored.
            tags_code: hash of its tags; of a message to the schedule topic the store computes it.
            keys: what it is indexed under: the unique key, and each of KEYS, without the topic.

        Raises:
            MessageIllegal: it breaks a limit. NotWritable: the store takes no messages. Nothing was assigned.
        """
        queue = self._by_key.get((topic, queue_id))
        if queue is None:
            queue = self._queue_for_put(topic, queue_id)
        body_length = len(body)
        properties_length = len(properties)
        if len(born_host) == 8:
            pack = self._pack_v4
            size = queue.fixed_size + body_length + properties_length
        else:
            pack = self._pack_v6
            size = queue.fixed_size + 12 + body_length + properties_length
            sys_flag |= SYS_FLAG_BORN_HOST_V6
        if (
            self._not_writable is not None
            or body_length > self._body_max
            or properties_length > PROPERTIES_SIZE_MAX_BYTES
            or size > self._record_max
        ):
            self._refuse(body_length, properties_length, size)
        position = self._position
        if position + size + BLANK_BYTES > self._file_end:
            position = self._roll(size)
        timestamp = self._group_timestamp or self._begin_group()
        if queue.is_schedule:
            tags_code = unit_tags_code(topic, decode_properties(properties), timestamp, self._delivery)
        if sys_flag & SYS_FLAG_TRANSACTION_MASK in TRANSACTION_NOT_IN_QUEUE:
            queue_offset = 0
            if sys_flag & SYS_FLAG_TRANSACTION_MASK == SYS_FLAG_TRANSACTION_ROLLBACK:
                keys = ()
        else:
            queue_offset = queue.staged_next
            queue.staged_next = queue_offset + 1
            if not queue.staged:
                self._touched.append(queue)
            queue.staged += UNIT_PACK(position, size, tags_code)
        self._parts += (
            pack(
                size,
                queue.magic,
                crc32(body) & 0x7FFFFFFF,
                queue_id,
                flag,
                queue_offset,
                position,
                sys_flag | self._sys_flag,
                born_timestamp,
                born_host,
                timestamp,
                self._store_host,
                reconsume_times,
                prepared_transaction_offset,
                body_length,
            ),
            body,
            queue.topic_field,
            PROPERTIES_LENGTH(properties_length),
            properties,
        )
        if keys:
            self._keyed.append((queue.hasher, position, timestamp, keys))
        self._position = position + size
        self.put_count += 1
        return StagedPut(position, queue_offset, size, timestamp)

    def _queue_for_put(self, topic: str, queue_id: int) -> ConsumeQueue:
        if self._not_writable is not None:
            raise self._not_writable.with_traceback(None)
        queue = self.queues.find_or_make(topic, queue_id)
        if not queue.fixed_size:
            if len(queue.topic_field) > 128 and not self.options.auto_message_version_on_topic_len:
                raise TopicTooLong(f"topic of {len(queue.topic_field) - 2} bytes, the limit is 127")
            queue.fixed_size = self._fixed_size + len(queue.topic_field)
        self._by_key[topic, queue_id] = queue
        return queue

    def _refuse(self, body_length: int, properties_length: int, size: int) -> None:
        if self._not_writable is not None:
            raise self._not_writable.with_traceback(None)
        if properties_length > PROPERTIES_SIZE_MAX_BYTES:
            raise PropertiesTooLarge(
                f"properties of {properties_length} bytes, the limit is {PROPERTIES_SIZE_MAX_BYTES}"
            )
        raise MessageTooLarge(f"message of {body_length} bytes ({size} as stored), the limit is {self._body_max}")

    def _begin_group(self) -> int:
        # One reading of the clock for a group.
        self._group_timestamp = self._next_timestamp()
        return self._group_timestamp

    def _next_timestamp(self) -> int:
        # As Java's under the put lock, store times never go back.
        return max(self._wall_clock_ms(), self._last_timestamp)

    def _roll(self, size: int) -> int:
        """End the file with a blank and go on in the next one."""
        if size + BLANK_BYTES > self.log.file_size:
            raise MessageTooLarge(f"record of {size} bytes, but the log's files have {self.log.file_size}")
        self._parts.append(self.log.blank(self._position))
        self._pieces.append((self._part_begin, self._parts))
        self._parts = []
        self._position = self._part_begin = self._file_end
        self._file_end += self.log.file_size
        return self._position

    def commit(self) -> None:
        """Write all that is staged, and make it visible.

        Raises:
            WriteFailed: nothing of the group is stored, and its offsets are free again.
            NotWritable: it may come to light when the store is opened anew; until then no more is taken.
        """
        parts = self._parts
        if not parts and not self._pieces:
            self._tell(None)
            return
        log = self.log
        try:
            for begin, piece in self._pieces:
                log.write(begin, b"".join(piece))
            if parts:
                log.write(self._part_begin, b"".join(parts))
        except WriteFailed as error:
            self._write_failed(error)
            self._tell(error)
            raise
        log.wrote_offset = self._part_begin = self._position
        self._last_timestamp = self._group_timestamp
        self._group_timestamp = 0
        parts.clear()
        self._pieces.clear()
        self._take_keys()
        touched, held = self._touched, self.held_back
        try:
            if held is not None:
                arrived, long = held.append_units(touched, self.queues.dirty, TAIL_WRITE_BYTES, self._position)
            else:
                append = speed.append_units or append_units
                arrived, long = append(touched, self.queues.dirty, self._awaited, TAIL_WRITE_BYTES)
        except Exception as error:  # records without units, until a recovery makes those
            failed = self._fail(f"queues were changed in part: {error!r}", error)
            self._drop_group()
            self._tell(failed)
            raise failed.with_traceback(None) from error
        self._touched = []
        for queue in long:
            self._write_tail(queue)
        self._tell_arrived(arrived)
        self._tell(None)

    def _tell_arrived(self, arrived: Iterable[Arrived]) -> None:
        for queue, units in arrived:
            tags = [tags_code for _, _, tags_code in UNIT.iter_unpack(units)]
            for topics, told in self._listeners:
                if topics is None or queue.topic in topics:
                    told(queue.topic, queue.queue_id, queue.max_offset, tags)

    def tell_arrivals(self, told: ArrivalCallback, topics: Mapping[str, object] | None = None) -> None:
        """Tell of new messages in queues, once they can be read.

        Args:
            topics: whose keys are the topics that it is told of, which may change at any time; None for all topics.
                With very many queues it costs much to tell of each when nobody waits.
        """
        self._listeners.append((topics, told))
        self._awaited = None if topics is None or self._awaited is None else (*self._awaited, topics)

    def when_committed(self, told: CommitCallback) -> None:
        """Tell, once, how the next commit ended, whoever calls it: with None, or with its error.

        What is staged belongs to the next commit, so those who stage and leave the commit to others need this.
        """
        self._watchers.append(told)

    def _tell(self, error: Exception | None) -> None:
        if self._watchers:
            watchers, self._watchers = self._watchers, []
            for told in watchers:
                told(error)

    def _take_keys(self) -> None:
        index = self.index
        if index is not None:
            index.pending += self._keyed
            if len(index.pending) >= BUILD_AFTER:
                try:
                    index.build()
                except OSError as error:
                    self._derived_failed(error)
        self._keyed.clear()

    def _write_tail(self, queue: ConsumeQueue) -> None:
        try:
            self.queues.write_tail(queue)
        except OSError as error:
            self._derived_failed(error)

    def _write_failed(self, error: WriteFailed) -> None:
        self._drop_group()
        try:
            self.log.take_back()
        except WriteFailed as second:
            self._fail(f"writing failed and could not be undone: {second}", second)

    def _drop_group(self) -> None:
        for queue in self._touched:
            queue.staged_next = queue.end_offset
            queue.staged.clear()
        self._touched.clear()
        self._keyed.clear()
        self._parts.clear()
        self._pieces.clear()
        self._group_timestamp = 0
        self._position = self._part_begin = self.log.wrote_offset
        self._file_end = self.log.start_of(self._position) + self.log.file_size
