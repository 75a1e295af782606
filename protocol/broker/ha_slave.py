"""The slave's side of replication: connect to the master, append what it sends, report how far that is.

What it must not do: connect to a master whose log may differ from this one (`check` says so first), or keep a byte
that does not belong where the log ends. Each reason for not replicating is logged once, until it changes.

Source: `DefaultHAClient` (5.3.4), `HAService.HAClient` (4.7.0).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqd.protocol.hosts import parse_address
from rmqd.store.errors import StoreError
from rmqwire.bodies import HAClientRuntimeInfo, HARuntimeInfo

from .ha_master import FRAME_HEAD, REPORT, TICK_S, HaSettings, Rate

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from rmqd.protocol.client import EndpointFactory
    from rmqd.store.messagestore import MessageStore

_log = Logger()

RETRY_S = 1.0
"""Between two attempts; Java's 5 s are 5 s in which a SYNC_MASTER that is back acknowledges nothing."""
SOON_S = 0.5
"""Before the first attempt after a connection that worked."""
CONNECT_TIMEOUT_S = 5.0
HA_PORT = 10912

Check = Callable[[], Awaitable["str | None"]]


class MasterLink(Protocol):
    """The connection to the master."""

    transport: ITCPTransport

    def __init__(self, client: HaClient) -> None:
        self._client = client
        self._head = b""
        self._left = 0  # bytes of the current frame that have not come
        self._offset = 0  # where they belong
        self.last_heard = self.last_written = client.clock.seconds()
        self._reported = -1
        self.appended = False

    def connectionMade(self) -> None:
        """Say where this log ends; the master sends nothing before."""
        self.transport.setTcpNoDelay(True)
        self.report()

    def report(self) -> None:
        """Tell the master how far the log is."""
        self._reported = self._client.store.max_physical_offset
        self.last_written = self._client.clock.seconds()
        self.transport.write(REPORT.pack(self._reported))

    def dataReceived(self, data: bytes) -> None:
        """Append what came, whole frames or not."""
        self.last_heard = self._client.clock.seconds()
        self._client.rate.add(len(data))
        try:
            self._take(data)
        except StoreError as cause:
            self._client.say(f"what the master {self._client.address} sends is refused: {cause}")
            self.transport.abortConnection()
            return
        self._client.heard()
        if self._client.store.max_physical_offset > self._reported:
            self.appended = True
            self.report()

    def _take(self, data: bytes) -> None:
        store = self._client.store
        at, end = 0, len(data)
        pieces: list[bytes] = []
        begin = following = self._offset
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                following += len(piece)
                continue
            head = self._head + data[at : at + FRAME_HEAD.size - len(self._head)]
            at += len(head) - len(self._head)
            self._head = head if len(head) < FRAME_HEAD.size else b""
            if len(head) < FRAME_HEAD.size:
                break
            offset, size = FRAME_HEAD.unpack(head)
            if not 0 <= size <= store.log.file_size:
                raise StoreError(f"a frame of {size} bytes at {offset}")
            if pieces and offset != following:
                store.append_received(begin, b"".join(pieces))
                pieces = []
            if not pieces:
                begin = following = offset
                if size == 0:
                    store.append_received(offset, b"")  # a sign of life names the place too
            self._left = size
        if pieces:
            store.append_received(begin, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._offset = following

    def connectionLost(self, reason: Failure | None = None) -> None:
        """What had come of a record will come again."""
        self._client.store.forget_incomplete()
        self._client.lost(self, appended=self.appended)


class HaClient(Factory):
    """Keeps a slave connected to its master.

    Args:
        store: Takes the log.
        endpoint: Connects.
        settings: Options.
        clock: For pauses and signs of life.
        wall_clock_ms: For the times that are shown.
        check: Asked before each attempt why not to connect; None by its Deferred when all is well.

    Attributes:
        address: `host:port` of the master's replication; None while it is not known.
        problem: Why nothing is replicated; "" while it is.
    """

    noisy = False

    def __init__(
        self,
        store: MessageStore,
        endpoint: EndpointFactory,
        settings: HaSettings,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        check: Check,
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        self._endpoint = endpoint
        self._wall_clock_ms = wall_clock_ms
        self._check = check
        self.address: str | None = None
        self.problem = "the master is not known"
        self.rate = Rate(clock)
        self.link: MasterLink | None = None
        self._attempt: Deferred[Any] | None = None
        self._retry: IDelayedCall | None = None
        self._running = False
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = clock

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._running = True
        self._ticks.start(TICK_S, now=False)
        self._connect()

    def stop(self) -> None:
        """Take no more from the master."""
        self._running = False
        if self._ticks.running:
            self._ticks.stop()
        self._cancel_retry()
        if self._attempt is not None:
            self._attempt.cancel()
        if self.link is not None:
            self.link.transport.loseConnection()

    def set_address(self, address: str | None) -> None:
        """Replicate from this address from now on; None while there is no master: what is connected stays so."""
        if address is None or address == self.address:
            return
        _log.info("the master's log comes from {address} (before: {old})", address=address, old=self.address)
        self.address = address
        if self.link is not None:
            self.link.transport.loseConnection()
        elif self._running:
            self._cancel_retry()
            self._connect()

    @property
    def connected(self) -> bool:
        """Whether the master is connected."""
        return self.link is not None

    def times_ms(self) -> tuple[int, int]:
        """Give when something was last read from the master and written to it, as Unix milliseconds; 0 for never."""
        link = self.link
        if link is None:
            return 0, 0
        now, now_ms = self.clock.seconds(), self._wall_clock_ms()
        return now_ms - round((now - link.last_heard) * 1000), now_ms - round((now - link.last_written) * 1000)

    def status(self) -> HARuntimeInfo:
        """Give the state as tools show it."""
        read_ms, written_ms = self.times_ms()
        return HARuntimeInfo(
            master=False,
            ha_client_runtime_info=HAClientRuntimeInfo(
                master_addr=self.address,
                transferred_byte_in_second=self.rate.look(),
                max_offset=self.store.max_physical_offset,
                last_read_timestamp=read_ms,
                last_write_timestamp=written_ms,
                master_flush_offset=self.store.master_flushed_offset,
            ),
        )

    def say(self, problem: str) -> None:
        """Log why nothing is replicated, once."""
        if problem != self.problem:
            self.problem = problem
            _log.warn("not replicating: {problem}", problem=problem)

    def heard(self) -> None:
        """The master sent something that fits."""
        if self.problem:
            self.problem = ""
            offset = self.store.max_physical_offset
            _log.info("replicating from {address}, this log ends at {offset}", address=self.address, offset=offset)

    def buildProtocol(self, addr: IAddress | None) -> MasterLink:
        """Make the connection."""
        self.link = MasterLink(self)
        return self.link

    def _connect(self) -> None:
        self._retry = None
        if not self._running or self.address is None or self._attempt is not None or self.link is not None:
            return
        self._attempt = attempt = Deferred.fromCoroutine(self._try(self.address))
        attempt.addErrback(self._attempt_failed)
        attempt.addBoth(self._attempted)

    async def _try(self, address: str) -> None:
        problem = await self._check()
        if problem is not None:
            self.say(problem)
            return
        host, port = parse_address(address, HA_PORT)
        connecting = self._endpoint(host, port).connect(self)
        await connecting.addTimeout(CONNECT_TIMEOUT_S, self.clock)

    def _attempt_failed(self, failure: Failure) -> None:
        if self._running:
            self.say(f"no connection to the master at {self.address}: {failure.getErrorMessage()}")

    def _attempted(self, _: object) -> None:
        self._attempt = None
        if self.link is None:
            self._try_again(RETRY_S)

    def _try_again(self, delay_s: float) -> None:
        if self._running and self._retry is None:
            self._retry = self.clock.callLater(delay_s, self._connect)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def lost(self, link: Protocol, *, appended: bool) -> None:
        """The connection is gone."""
        if self.link is not link:
            return
        self.link = None
        if not self.problem:
            self.say(f"the connection to the master at {self.address} was lost")
        self._try_again(SOON_S if appended else RETRY_S)

    def _tick(self) -> None:
        link = self.link
        if link is None:
            return
        now = self.clock.seconds()
        if now - link.last_heard > self.settings.silence_s:
            self.say(f"the master at {self.address} was silent for {round(now - link.last_heard)} s")
            link.transport.abortConnection()
        elif now - link.last_written > self.settings.heartbeat_s:
            link.report()
