"""A master in controller mode: the log goes to each slave by epochs, once the two agreed where their logs are the same.

What it is for: the connections of slaves, each with the broker id it says. What it must not do: say which slaves are in
sync; that is for `auto_switch`.

Source: `AutoSwitchHAConnection` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.store.errors import StoreError

from .auto_switch_frames import (
    HANDSHAKE,
    MASTER_TRANSFER,
    SLAVE_HANDSHAKE,
    SLAVE_REPORT,
    STATE,
    TRANSFER,
    master_handshake,
)
from .ha_master import HaService, HaSettings, SlaveLink

if TYPE_CHECKING:
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IReactorTime

    from rmqd.store.epochs import EpochFile
    from rmqd.store.messagestore import MessageStore

_log = Logger()


class ReplicaLink(SlaveLink):
    """One slave that is connected.

    Attributes:
        broker_id: What it says it is; -1 before it did.
        learns: It never counts as in sync (`asyncLearner`).
        connected_at: When it connected; the clock's seconds.
        caught_up_at: When it had all that was there, as far as it acknowledged by now.
    """

    _service: ReplicaService

    def __init__(self, service: ReplicaService) -> None:
        super().__init__(service)
        self.broker_id = -1
        self.learns = False
        self._from_last_file = False
        self.connected_at = service.clock.seconds()
        self.caught_up_at = -inf
        self._mark: tuple[int, float] | None = None  # an end of the log that it has not reached yet, and when it was so
        self._told_confirm = -1

    def dataReceived(self, data: bytes) -> None:
        """Take the handshake and reports."""
        service = self._service
        self._last_heard = service.clock.seconds()
        data = self._partial + data
        at = 0
        while len(data) - at >= STATE.size and not self._closed:
            (state,) = STATE.unpack_from(data, at)
            layout = {HANDSHAKE: SLAVE_HANDSHAKE, TRANSFER: SLAVE_REPORT}.get(state)
            if layout is None or (state == TRANSFER) == (self.broker_id < 0):
                service.say(self.peer, f"slave {self.peer} is parted with: it sends state {state}")
                self.close()
                break
            if len(data) - at < layout.size:
                break
            fields = layout.unpack_from(data, at)
            at += layout.size
            if state == HANDSHAKE:
                self._greeted(*fields[1:])
            else:
                self._reported(fields[1])
        self._partial = data[at:]

    def _greeted(self, from_last_file: int, learns: int, broker_id: int) -> None:
        service = self._service
        if self.ack_offset >= 0 or broker_id < 0:
            service.say(self.peer, f"slave {self.peer} is parted with: a handshake of broker {broker_id}")
            self.close()
            return
        self.broker_id, self.learns, self._from_last_file = broker_id, learns == 1, from_last_file == 1
        for other in list(service.replicas()):
            if other is not self and other.broker_id == broker_id:
                other.drop()  # it lost that connection and came again
        self.transport.write(master_handshake(service.epochs.entries, service.store.max_physical_offset))

    def _reported(self, offset: int) -> None:
        service = self._service
        first = self.ack_offset < 0
        begin = self._begin(offset) if first else self.next_offset
        refused = service.refusal(offset, first=first) or (service.no_epoch(begin) if first else None)
        if refused is not None:
            service.say(self.peer, f"slave {self.broker_id} at {self.peer} is not served: {refused}")
            self.close()
            return
        self.ack_offset = offset
        if first:
            self.next_offset = begin
            line = f"slave {self.broker_id} at {self.peer} has {offset}, is sent the log from {begin} on"
            service.say(self.peer, line)
        self._note_progress(offset)
        service.on_replica(self)
        self.pump()

    def _begin(self, reported: int) -> int:
        store = self._service.store
        if reported:
            return reported
        return store.log.start_of(store.max_physical_offset) if self._from_last_file else store.min_physical_offset

    def drop(self) -> None:
        """Part with the slave, and count it no more from now on."""
        self.close()
        self.connectionLost()

    def _note_progress(self, offset: int) -> None:
        now, end = self._service.clock.seconds(), self._service.store.max_physical_offset
        if offset >= end:
            self.caught_up_at, self._mark = now, None
        elif self._mark is None:
            self._mark = end, now
        elif offset >= self._mark[0]:
            self.caught_up_at, self._mark = self._mark[1], (end, now)

    @property
    def has_all(self) -> bool:
        """Whether it acknowledged the whole log."""
        return self.ack_offset >= self._service.store.max_physical_offset

    def _send(self, data: bytes) -> None:
        service = self._service
        offset = self.next_offset
        if not data:
            self._failed(StoreError(f"the log begins at {service.store.min_physical_offset} now"))
            return
        confirm = self._told_confirm = service.confirm_offset()
        parts: list[bytes] = []
        try:
            for begin, size, epoch, start in service.stretches(offset, len(data)):
                at = begin - offset
                parts += (MASTER_TRANSFER.pack(TRANSFER, size, begin, epoch, start, confirm), data[at : at + size])
        except StoreError as cause:
            self._failed(cause)
            return
        self.next_offset = offset + len(data)
        self._last_written = service.clock.seconds()
        self.rate.add(len(data))
        self.transport.write(b"".join(parts))

    def sign_of_life(self) -> bytes:
        """Give what is sent when there is nothing to send."""
        service = self._service
        self._told_confirm = service.confirm_offset()
        _, _, epoch, start = next(service.stretches(self.next_offset, 1))
        return MASTER_TRANSFER.pack(TRANSFER, 0, self.next_offset, epoch, start, self._told_confirm)

    def tick(self, now: float) -> None:
        """As ever; and a slave whose log is complete is told when the rest of it is confirmed."""
        try:
            super().tick(now)
            self._tell_confirmed(now)
        except StoreError as cause:
            self._failed(cause)

    def _tell_confirmed(self, now: float) -> None:
        if self._closed or self._paused or self._reading or self.next_offset < self._service.store.max_physical_offset:
            return
        if self.ack_offset >= 0 and self._service.confirm_offset() > self._told_confirm:
            self._last_written = now
            self.transport.write(self.sign_of_life())


class ReplicaService(HaService):
    """The slaves of one broker; arguments as `HaService`.

    Args:
        epochs: The epochs of the log.

    Attributes:
        serves: Whether slaves are taken: this is the master.
        confirm_offset: Gives what slaves are told to be confirmed.
        on_replica: Called when a slave reported.
    """

    def __init__(
        self,
        store: MessageStore,
        settings: HaSettings,
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
        epochs: EpochFile,
    ) -> None:
        super().__init__(store, settings, clock, run_in_thread)
        self.epochs = epochs
        self.serves = False
        self.confirm_offset: Callable[[], int] = lambda: store.max_physical_offset
        self.on_replica: Callable[[ReplicaLink], None] = lambda _: None

    def buildProtocol(self, addr: IAddress | None) -> SlaveLink | None:
        """Make the connection of a slave; none while this is no master."""
        return ReplicaLink(self) if self.serves else None

    def replicas(self) -> Iterator[ReplicaLink]:
        """Go through the slaves that are connected."""
        for link in self.links:
            assert isinstance(link, ReplicaLink)
            yield link

    def part(self) -> None:
        """Part with all slaves at once."""
        for link in list(self.replicas()):
            link.drop()

    def refusal(self, reported: int, *, first: bool) -> str | None:
        """Why a slave that reports a position cannot be served; None when it can."""
        end, begin = self.store.max_physical_offset, self.store.min_physical_offset
        if not 0 <= reported <= end:
            return f"it has {reported}, but this log ends at {end}"
        if first and 0 < reported < begin:
            return f"it asks for {reported}, but this log begins at {begin} by now: empty its store to begin anew"
        return None

    def no_epoch(self, offset: int) -> str | None:
        """Why the log cannot be sent from an offset on; None when its epoch is known."""
        if self.epochs.at(offset) is None:
            return f"nobody knows whose the log is at {offset}; the epochs begin with {self.epochs.entries[:1]}"
        return None

    def stretches(self, offset: int, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Divide a part of the log into what one frame each may have: offset, size, epoch and start of the epoch.

        Raises:
            StoreError: The epochs do not reach there any more: old files were deleted meanwhile.
        """
        end, batch = offset + size, self.settings.batch_bytes
        while offset < end:
            found = self.epochs.at(offset)
            if found is None:
                raise StoreError(self.no_epoch(offset) or "")
            entry, until = found
            piece = min(batch, end - offset) if until is None else min(batch, end - offset, until - offset)
            yield offset, piece, entry.epoch, entry.start
            offset += piece
