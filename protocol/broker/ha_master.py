"""The master's side of replication: what is new in the log goes to every slave that is connected.

On the wire: a slave writes its position as `offset i64`, at first, after each append and as a sign of life; the master
writes `offset i64 | size i32 | size bytes of the log`, with size 0 as its sign of life. What it must not do: serve a
slave that has what this log has not; the two logs would differ from there on, and nobody would see it.

Source: `DefaultHAService`, `DefaultHAConnection` (5.3.4), `HAService`, `HAConnection` (4.7.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from rmqd.store.errors import ColdRead, StoreError
from rmqwire.bodies import HAConnectionRuntimeInfo

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from rmqd.store.messagestore import MessageStore

_log = Logger()

FRAME_HEAD = struct.Struct(">qi")
REPORT = struct.Struct(">q")

TICK_S = 0.2
READ_BYTES = 256 * 1024
"""Read from the log at once; several frames."""
TURN_BYTES = 1 << 20
"""Sent to one slave before others have their turn."""


class HaSettings(msgspec.Struct):
    """The options of both sides."""

    heartbeat_s: float = 5.0
    """`haSendHeartbeatInterval`."""
    silence_s: float = 20.0
    """`haHousekeepingInterval`."""
    batch_bytes: int = 32_768
    """`haTransferBatchSize`."""
    gap_bytes: int = 256 << 20
    """`haMaxGapNotInSync`, `haSlaveFallbehindMax`."""
    bytes_per_second: int = 0
    """`maxHaTransferByteInSecond` with `haFlowControlEnable`; 0 is without a limit."""


class Rate:
    """Bytes in the current second, and in the last whole one."""

    __slots__ = ("_clock", "_second", "current", "last")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._second = 0
        self.current = self.last = 0

    def add(self, count: int) -> None:
        """Count so many."""
        self.look()
        self.current += count

    def look(self) -> int:
        """Give the number of the last whole second."""
        second = int(self._clock.seconds())
        if second != self._second:
            self.last = self.current if second == self._second + 1 else 0
            self.current, self._second = 0, second
        return self.last


@implementer(IPushProducer)
class SlaveLink(Protocol):
    """One slave that is connected.

    Attributes:
        peer: Its address.
        ack_offset: The position it reported last; -1 before the first.
        next_offset: Where what is sent next begins; -1 before the first report.
    """

    transport: ITCPTransport

    def __init__(self, service: HaService) -> None:
        self._service = service
        self._partial = b""
        self.peer = ""
        self.ack_offset = -1
        self.next_offset = -1
        self.rate = Rate(service.clock)
        self._last_heard = self._last_written = service.clock.seconds()
        self._paused = self._reading = self._closed = self._called = False

    def connectionMade(self) -> None:
        """Wait for the first report; nothing is sent before it."""
        peer: Any = self.transport.getPeer()
        self.peer = f"{peer.host}:{peer.port}"
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]  # as IConsumer, which TCP ones are
        self._service.links.append(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget the slave."""
        self._closed = True
        if self in self._service.links:
            self._service.links.remove(self)
            if self.ack_offset >= 0:
                _log.info("slave {peer} has gone; it had acknowledged {offset}", peer=self.peer, offset=self.ack_offset)
            self._service.on_links_changed()

    def dataReceived(self, data: bytes) -> None:
        """Take the last whole report of what came."""
        self._last_heard = self._service.clock.seconds()
        data = self._partial + data
        whole = len(data) - len(data) % REPORT.size
        self._partial = data[whole:]
        if whole and not self._closed:
            (offset,) = REPORT.unpack_from(data, whole - REPORT.size)
            self._reported(offset)

    def _reported(self, offset: int) -> None:
        service = self._service
        first = self.ack_offset < 0
        refused = service.refusal(offset, first=first)
        if refused is not None:
            service.say(self.peer, f"slave {self.peer} is not served: {refused}")
            self.close()
            return
        self.ack_offset = offset
        if first:
            self.next_offset = service.first_offset(offset)
            service.say(self.peer, f"slave {self.peer} has {offset}, is sent the log from {self.next_offset} on")
            service.on_links_changed()
        service.on_report(offset)
        self.pump()

    def close(self) -> None:
        """Part with the slave."""
        self._closed = True
        self.transport.abortConnection()

    def leave(self) -> None:
        """Part with the slave in order: what was written still leaves."""
        self._closed = True
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.loseConnection()

    # What is sent

    def pauseProducing(self) -> None:
        """The socket is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self._paused = False
        self.pump()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._closed = True

    def pump(self) -> None:
        """Send what the slave has not been sent, until the socket is full or nothing is left."""
        service, sent = self._service, 0
        while not (self._paused or self._reading or self._closed or self.next_offset < 0):
            size = READ_BYTES
            if service.settings.bytes_per_second:
                self.rate.look()
                size = min(size, service.settings.bytes_per_second - self.rate.current)
                if size <= 0:
                    return  # the next tick goes on
            if self.next_offset >= service.store.max_physical_offset:
                service.watch()
                return
            if sent >= TURN_BYTES:
                if not self._called:
                    self._called = True
                    service.clock.callLater(0, self._pump_again)
                return
            try:
                data = service.store.read_log(self.next_offset, size)
            except ColdRead:
                self._read_cold(size)
                return
            except StoreError as cause:
                self._failed(cause)
                return
            self._send(data)
            sent += len(data)

    def _pump_again(self) -> None:
        self._called = False
        self.pump()

    def _read_cold(self, size: int) -> None:
        self._reading = True
        offset = self.next_offset
        read = self._service.run_in_thread(self._service.store.read_log, offset, size, allow_cold=True)

        def done(data: bytes) -> None:
            self._reading = False
            if not self._closed:
                self._send(data)
                self.pump()

        read.addCallbacks(done, lambda failure: self._failed(failure.value))
        read.addErrback(lambda failure: _log.failure("sending to slave {peer} failed", failure, peer=self.peer))

    def _send(self, data: bytes) -> None:
        if not data:
            self._failed(StoreError(f"the log begins at {self._service.store.min_physical_offset} now"))
            return
        batch, offset = self._service.settings.batch_bytes, self.next_offset
        parts: list[bytes] = []
        for at in range(0, len(data), batch):
            piece = data[at : at + batch] if len(data) > batch else data
            parts += (FRAME_HEAD.pack(offset + at, len(piece)), piece)
        self.next_offset = offset + len(data)
        self._service.sent_max = max(self._service.sent_max, self.next_offset)
        self._last_written = self._service.clock.seconds()
        self.rate.add(len(data))
        self.transport.write(b"".join(parts))

    def _failed(self, cause: BaseException) -> None:
        self._reading = False
        _log.error(
            "slave {peer} cannot be sent the log from {offset} on: {cause}",
            peer=self.peer,
            offset=self.next_offset,
            cause=cause,
        )
        self.close()

    def tick(self, now: float) -> None:
        """Give a sign of life when it is due; part with a slave that gives none."""
        settings = self._service.settings
        if now - self._last_heard > settings.silence_s:
            _log.warn(
                "slave {peer} is parted with: it was silent for {seconds} s",
                peer=self.peer,
                seconds=round(now - self._last_heard),
            )
            self.close()
            return
        if settings.bytes_per_second:
            self.pump()
        if self.next_offset >= 0 and not self._paused and now - self._last_written > settings.heartbeat_s:
            self._last_written = now
            self.transport.write(self.sign_of_life())

    def sign_of_life(self) -> bytes:
        """Give what is sent when there is nothing to send."""
        return FRAME_HEAD.pack(self.next_offset, 0)

    def status(self, log_end: int, *, in_sync: bool) -> HAConnectionRuntimeInfo:
        """Give the state as tools show it."""
        return HAConnectionRuntimeInfo(
            addr=self.peer,
            slave_ack_offset=self.ack_offset,
            diff=log_end - self.ack_offset,
            in_sync=in_sync,
            transferred_byte_in_second=self.rate.look(),
            transfer_from_where=self.next_offset,
        )


class HaService(ServerFactory):
    """The slaves of one broker.

    Args:
        store: Its log is sent.
        settings: Options; may be replaced.
        clock: For signs of life.
        run_in_thread: Reads what is not in memory.

    Attributes:
        links: The slaves that are connected.
        sent_max: The highest position that was sent to any slave since the start.
        on_report: Called with each position that a slave reports.
        on_links_changed: Called when a slave has come or gone.
    """

    noisy = False

    def __init__(
        self,
        store: MessageStore,
        settings: HaSettings,
        clock: IReactorTime,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        self.run_in_thread = run_in_thread
        self.links: list[SlaveLink] = []
        self.sent_max = 0
        self.on_report: Callable[[int], None] = lambda _: None
        self.on_links_changed: Callable[[], None] = lambda: None
        self._end_at_start = store.max_physical_offset
        self._watching = False
        self._said: dict[str, str] = {}
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock

    def buildProtocol(self, addr: IAddress | None) -> SlaveLink | None:
        """Make the connection of a slave."""
        return SlaveLink(self)

    def start(self) -> None:
        """Begin to give signs of life."""
        self._ticks.start(TICK_S, now=False)

    def stop(self) -> None:
        """Part with all slaves."""
        if self._ticks.running:
            self._ticks.stop()
        for link in list(self.links):
            link.leave()

    def first_offset(self, reported: int) -> int:
        """Where to begin: an empty slave gets the last file, any other what follows what it has."""
        if reported == 0:
            return self.store.log.start_of(self.store.max_physical_offset)
        return reported

    def refusal(self, reported: int, *, first: bool) -> str | None:
        """Why a slave that reports a position cannot be served; None when it can."""
        end, begin = self.store.max_physical_offset, self.store.min_physical_offset
        if reported < 0:
            return f"it reports {reported}"
        if reported > end:
            return (
                f"it has {reported}, but this log ends at {end}. The {reported - end} bytes behind {end} exist on the "
                "slave alone: make it the master to keep them, or empty its store to give them up"
            )
        if first and reported > self._end_at_start and reported > self.sent_max:
            return (
                f"it has {reported}, but this log ended at {self._end_at_start} when this broker started, and what "
                "is behind that was never sent to a slave: the two logs differ. Make the slave the master, or empty "
                "its store"
            )
        if first and 0 < reported < begin:
            return f"it asks for {reported}, but this log begins at {begin} by now: empty its store to begin anew"
        return None

    def say(self, peer: str, line: str) -> None:
        """Log a line about a slave, but not the same again and again while it tries."""
        host = peer.rpartition(":")[0]
        known = line.replace(peer, host)
        if self._said.get(host) != known:
            self._said[host] = known
            _log.info("{line}", line=line)

    def watch(self) -> None:
        """Go on when the log grows."""
        if not self._watching:
            self._watching = True
            self.store.when_committed(self._committed)

    def _committed(self, failed: Exception | None) -> None:
        self._watching = False
        for link in list(self.links):
            try:
                link.pump()
            except Exception:  # noqa: BLE001  the commit belongs to somebody else
                _log.failure("sending to slave {peer} failed", peer=link.peer)
                link.close()

    def _tick(self) -> None:
        now = self.clock.seconds()
        for link in list(self.links):
            try:
                link.tick(now)
            except Exception:  # noqa: BLE001  the others are served on
                _log.failure("slave {peer} is parted with", peer=link.peer)
                link.close()
