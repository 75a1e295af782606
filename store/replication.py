"""A log that is written by another broker: the bytes of a master go where the master has them.

What it is for: bytes come in pieces that end anywhere; whole records are written as they came, together, and what is
derived from them (queue units, keys) is made as for messages that are put here. What is left of a record waits in
memory for the rest of it, so the log always ends where a record does. What it must not do: change a byte, or guess
where bytes belong: those that do not continue the log, or are no records, are refused.

Source: `DefaultMessageStore.appendToCommitLog`, `ReputMessageService`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from rmqwire.errors import MalformedMessage
from rmqwire.hashing import tags_code
from rmqwire.message import (
    BLANK_MAGIC,
    MESSAGE_MAGIC_V1,
    MESSAGE_MAGIC_V2,
    SYS_FLAG_BORN_HOST_V6,
    SYS_FLAG_STORE_HOST_V6,
    SYS_FLAG_TRANSACTION_MASK,
    SYS_FLAG_TRANSACTION_ROLLBACK,
    StoredMessage,
    decode_properties,
    decode_record,
)
from rmqwire.properties import tags_and_keys

from .commitlog import BLANK_BYTES, CommitLog
from .consumequeue import UNIT, ConsumeQueue
from .dispatch import DeliveryTime, Dispatcher, unit_tags_code
from .errors import NotWritable, ReplicaRefused
from .groupwriter import SLAVE_TAKES_NONE, GroupWriter
from .heldback import HeldBack
from .keyindex import KeyIndex
from .options import StoreOptions
from .queuetable import ConsumeQueues
from .reading import QueueReading

_SIZE_MAGIC = struct.Struct(">ii")
_HEAD = struct.Struct(">iiiiiqqiq8sq8siqi")
"""Of a record with two IPv4 hosts, up to the length of the body."""
_V6 = SYS_FLAG_BORN_HOST_V6 | SYS_FLAG_STORE_HOST_V6
_NOT_IN_QUEUE = frozenset((4, 12))  # prepared and rollback have no queue offset


class ReplicaWriter(GroupWriter):
    """What a store that replicates another one adds to it; arguments as `GroupWriter`."""

    _reading: QueueReading

    def __init__(
        self,
        log: CommitLog,
        queues: ConsumeQueues,
        index: KeyIndex | None,
        options: StoreOptions,
        wall_clock_ms: Callable[[], int],
        delivery_time_ms: DeliveryTime | None,
    ) -> None:
        super().__init__(log, queues, index, options, wall_clock_ms, delivery_time_ms)
        self._incomplete = bytearray()  # the beginning of a record whose rest has not come
        self._needed = 0  # bytes of it that make looking again worthwhile
        self.last_received: int | None = None
        """Where the last record that was received begins; None before there was one."""

    def set_slave(self, is_slave: bool) -> None:
        """Be a slave, which takes messages from its master alone, or a master; at first it is what the options say."""
        self._reading.is_slave = is_slave
        if not is_slave:
            self.forget_incomplete()
        self.refuse(SLAVE_TAKES_NONE if is_slave else None)

    @property
    def is_slave(self) -> bool:
        """Whether messages are taken from a master alone, now."""
        return self._reading.is_slave

    def hold_back(self) -> None:
        """From now on messages are seen when they are confirmed, not when they are committed."""
        if self.held_back is None:
            self.held_back = HeldBack()

    def confirm(self, offset: int) -> None:
        """What was written before an offset of the log may be seen."""
        if self.held_back is not None:
            self._tell_arrived(self.held_back.shown(offset))

    @property
    def received_offset(self) -> int | None:
        """Where the next bytes belong; None while the log is empty, as the master chooses then."""
        if not self.log.starts and not self._incomplete and not self.log.wrote_offset:
            return None
        return self.log.wrote_offset + len(self._incomplete)

    def forget_incomplete(self) -> None:
        """The connection is gone: what had come of a record will come again."""
        self._incomplete.clear()
        self._needed = 0

    def append_received(self, offset: int, data: bytes) -> int:
        """Write what a master has at an offset of its log.

        Args:
            offset: where the first of the bytes belongs.
            data: bytes of the log, cut anywhere.

        Returns:
            The end of the log: what may be acknowledged.

        Raises:
            ReplicaRefused: they do not continue this log, or are no records. NotWritable: a sync failed, the disk is
                full. WriteFailed: the system refused. Nothing of the record they end in is kept.
        """
        refused = self._failure or self._derived_failure or self._disk_full
        if refused is None and not self._open:
            refused = NotWritable("the store is closed")
        if refused is not None:
            self.forget_incomplete()
            raise refused.with_traceback(None)
        expected = self.received_offset
        if expected is None:
            if offset % self.log.file_size:
                raise ReplicaRefused(
                    f"an empty log begins with a file, but the master sent offset {offset}, and files have "
                    f"{self.log.file_size} bytes here: mappedFileSizeCommitLog must be the same on both sides"
                )
            self._begin_at(offset)
        elif offset != expected:
            self.forget_incomplete()
            raise ReplicaRefused(f"the master sent offset {offset}, but this log continues at {expected}")
        incomplete = self._incomplete
        incomplete += data
        if len(incomplete) < self._needed:
            return self.log.wrote_offset
        received = bytes(incomplete)
        incomplete.clear()
        self._needed = 0
        try:
            self._take(received)
        except BaseException:
            self.forget_incomplete()
            self._drop_group()
            raise
        return self.log.wrote_offset

    def _begin_at(self, offset: int) -> None:
        self.log.wrote_offset = self.log.flushed_offset = offset
        self._drop_group()  # nothing is staged: it sets where the next group begins

    def _take(self, received: bytes) -> None:
        """Write the whole records among bytes that begin at the end of the log, and keep the rest."""
        at, begin, end = 0, 0, len(received)
        position = self.log.wrote_offset
        file_end = self.log.start_of(position) + self.log.file_size
        count, last = 0, None
        while end - at >= BLANK_BYTES:
            size, magic = _SIZE_MAGIC.unpack_from(received, at)
            if magic == BLANK_MAGIC and size == file_end - position:
                if size > end - at:
                    self._needed = size
                    break
                self._pieces.append((self._part_begin, [received[begin : at + size]]))
                at = begin = at + size
                position = self._part_begin = file_end
                file_end += self.log.file_size
                continue
            if magic not in (MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2) or not 0 < size <= file_end - position - BLANK_BYTES:
                raise ReplicaRefused(f"what the master sent for offset {position} is no record")
            if size > end - at:
                self._needed = size
                break
            if not self._derive(received, at, size, position):
                # Its queue ends elsewhere. What came before has to be there when that is put right.
                self._stage_bytes(received, begin, at, position)
                self._put(count)
                count, begin = 0, at
                self._move_queue(decode_record(received, at))
                if not self._derive(received, at, size, position):
                    raise ReplicaRefused(f"the record at {position} does not fit into its queue")
            last = position
            count += 1
            at += size
            position += size
        self._stage_bytes(received, begin, at, position)
        self._put(count)
        self._incomplete += received[at:]
        if last is not None:
            self.last_received = last

    def _stage_bytes(self, received: bytes, begin: int, at: int, position: int) -> None:
        if at > begin:
            self._parts.append(received if begin == 0 and at == len(received) else received[begin:at])
        self._position = position

    def _put(self, count: int) -> None:
        counted = self.put_count
        if self._parts or self._pieces:
            self._group_timestamp = max(self._group_timestamp, self._last_timestamp)
        self.commit()
        self.put_count = counted + count
        self._file_end = self.log.start_of(self._position) + self.log.file_size

    def _derive(self, received: bytes, at: int, size: int, position: int) -> bool:
        """Stage the queue unit and the keys of one record; False when its queue does not end where it should.

        Raises:
            ReplicaRefused: it is not the record of this place.
        """
        fields = _HEAD.unpack_from(received, at) if size >= _HEAD.size else None
        if fields is not None and fields[1] == MESSAGE_MAGIC_V1 and not fields[7] & _V6:
            body_length = fields[14]
            topic_at = at + _HEAD.size + body_length + 1
            end = at + size
            if body_length >= 0 and topic_at < end:
                properties_at = topic_at + received[topic_at - 1]
                length = int.from_bytes(received[properties_at : properties_at + 2], "big")
                if properties_at + 2 + length == end and fields[6] == position:
                    return self._stage_derived(
                        received[topic_at:properties_at].decode("utf-8", "replace"),
                        fields[3],
                        fields[5],
                        fields[7],
                        fields[10],
                        received[properties_at + 2 : end],
                        position,
                        size,
                    )
        try:
            record = decode_record(received, at)
        except MalformedMessage as error:
            raise ReplicaRefused(f"what the master sent for offset {position} is no record: {error}") from error
        if record.physical_offset != position:
            raise ReplicaRefused(
                f"the record that the master sent for offset {position} says it is at {record.physical_offset}"
            )
        return self._stage_derived(
            record.topic,
            record.queue_id,
            record.queue_offset,
            record.sys_flag,
            record.store_timestamp,
            record.properties,
            position,
            size,
        )

    def _stage_derived(
        self,
        topic: str,
        queue_id: int,
        queue_offset: int,
        sys_flag: int,
        store_timestamp: int,
        properties: bytes,
        position: int,
        size: int,
    ) -> bool:
        queue = self._by_key.get((topic, queue_id))
        if queue is None:
            queue = self._by_key[topic, queue_id] = self._replica_queue(topic, queue_id)
        transaction = sys_flag & SYS_FLAG_TRANSACTION_MASK
        tags, keys = tags_and_keys(properties)
        if transaction not in _NOT_IN_QUEUE:
            if queue.staged_next != queue_offset:
                return False
            if queue.is_schedule:
                code = unit_tags_code(topic, decode_properties(properties), store_timestamp, self._delivery)
            else:
                code = tags_code(tags)
            if not queue.staged:
                self._touched.append(queue)
            queue.staged_next = queue_offset + 1
            queue.staged += UNIT.pack(position, size, code)
        if keys and transaction != SYS_FLAG_TRANSACTION_ROLLBACK:
            self._keyed.append((queue.hasher, position, store_timestamp, keys))
        if store_timestamp > self._group_timestamp:
            self._group_timestamp = store_timestamp
        return True

    def _replica_queue(self, topic: str, queue_id: int) -> ConsumeQueue:
        queue = self.queues.find_or_make(topic, queue_id)
        if not queue.fixed_size:
            queue.fixed_size = self._fixed_size + len(queue.topic_field)
        return queue

    def _move_queue(self, record: StoredMessage) -> None:
        """Bring the end of a queue to where the next record of it is: the log begins later, the topic was remade."""
        dispatcher = Dispatcher(self.queues, self.index, self._delivery, from_log_begin=True)
        try:
            dispatcher.make_room(self._replica_queue(record.topic, record.queue_id), record)
        except OSError as error:
            self._derived_failed(error)
            raise ReplicaRefused(f"a queue of {record.topic} cannot be cut: {error}") from error
