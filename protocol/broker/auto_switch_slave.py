"""A slave in controller mode: it cuts what its master does not have, then takes the log epoch by epoch.

What it must not do: connect to a master nobody named, keep a byte that does not belong where the log ends, or cut more
than what the epochs of both logs tell.

Source: `AutoSwitchHAClient` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from rmqd.store.epochs import Epoch, EpochFile, consistent_point
from rmqd.store.errors import ReplicaRefused, StoreError

from .auto_switch_frames import (
    EPOCHS_MAX_BYTES,
    HANDSHAKE,
    MASTER_HEAD,
    MASTER_TRANSFER,
    SLAVE_HANDSHAKE,
    SLAVE_REPORT,
    TRANSFER,
    read_epochs,
)
from .ha_slave import HaClient

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from rmqd.protocol.client import EndpointFactory
    from rmqd.store.messagestore import MessageStore

    from .ha_master import HaSettings

_log = Logger()

_NO_OFFSET = -1
"""What an official master whose log is empty says is next."""
_SYNC_STEP_S = 0.01


class SwitchLink(Protocol):
    """The connection to the master.

    Attributes:
        agreed: Both logs are the same up to the end of this one.
        appended: Something came.
    """

    transport: ITCPTransport

    def __init__(self, client: SwitchClient, address: str | None) -> None:
        self._client = client
        self._address = address
        self._partial = b""
        self._epoch: int | None = None
        self.last_heard = self.last_written = client.clock.seconds()
        self._reported = -1
        self.agreed = self.appended = self.closed = self._agreeing = False

    def connectionMade(self) -> None:
        """Say who this is; the master answers with its epochs."""
        self.transport.setTcpNoDelay(True)
        client = self._client
        if client.address != self._address:
            self.part()
            return
        flags = int(client.from_last_file), int(client.learns)
        self.transport.write(SLAVE_HANDSHAKE.pack(HANDSHAKE, *flags, client.broker_id))

    def part(self) -> None:
        """Take nothing more, and close."""
        self.closed = True
        self.transport.abortConnection()

    def report(self) -> None:
        """Tell the master how far the log is."""
        if self.agreed and not self.closed:
            self._reported = self._client.store.max_physical_offset
            self.last_written = self._client.clock.seconds()
            self.transport.write(SLAVE_REPORT.pack(TRANSFER, self._reported))

    def dataReceived(self, data: bytes) -> None:
        """Take the master's epochs, then its log."""
        if self.closed:
            return
        self.last_heard = self._client.clock.seconds()
        self._client.rate.add(len(data))
        self._partial = self._partial + data if self._partial else data
        if not self._agreeing:
            self._go_on()

    def _go_on(self) -> None:
        client = self._client
        try:
            if not self.agreed:
                self._take_handshake()
            else:
                self._take_log()
        except StoreError as cause:
            self._refuse(cause)
            return
        if self.agreed:
            client.heard()
            if client.store.max_physical_offset > self._reported:
                self.appended = True
                self.report()

    def _refuse(self, cause: StoreError) -> None:
        self._client.say(f"what the master {self._client.address} sends is refused: {cause}")
        self.part()

    def _take_handshake(self) -> None:
        data = self._partial
        if len(data) < MASTER_HEAD.size:
            return
        state, size, their_end, _ = MASTER_HEAD.unpack_from(data)
        if state != HANDSHAKE or not 0 <= size <= EPOCHS_MAX_BYTES or their_end < 0:
            raise ReplicaRefused(f"a handshake with state {state}, size {size}, end of the log {their_end}")
        end = MASTER_HEAD.size + size
        if len(data) < end:
            return
        theirs = read_epochs(data[MASTER_HEAD.size : end])
        self._partial = data[end:]
        self._agreeing = True
        self.transport.pauseProducing()  # type: ignore[attr-defined]  # as IPushProducer, which TCP ones are
        agreeing = Deferred.fromCoroutine(self._agree(theirs, their_end))
        agreeing.addErrback(self._not_agreed)

    async def _agree(self, theirs: tuple[Epoch, ...], their_end: int) -> None:
        await self._client.agree(theirs, their_end, lambda: self.closed)
        if self.closed:
            return
        self.agreed, self._agreeing = True, False
        self.last_heard = self._client.clock.seconds()
        self.transport.resumeProducing()  # type: ignore[attr-defined]
        self.report()
        self._go_on()

    def _not_agreed(self, failure: Failure) -> None:
        if self.closed:
            return
        if isinstance(failure.value, StoreError):
            self._refuse(failure.value)
        else:
            _log.failure("the end of the log could not be agreed upon", failure)
            self.part()

    def _take_log(self) -> None:
        client, store, data = self._client, self._client.store, self._partial
        pieces: list[bytes] = []
        at, begin, following, confirm = 0, 0, 0, -1
        while len(data) - at >= MASTER_TRANSFER.size:
            state, size, offset, epoch, start, confirmed = MASTER_TRANSFER.unpack_from(data, at)
            if state != TRANSFER or not 0 <= size <= store.log.file_size:
                raise ReplicaRefused(f"a frame with state {state} and {size} bytes at {offset}")
            body = at + MASTER_TRANSFER.size
            if len(data) - body < size:
                break
            at = body + size
            confirm = max(confirm, confirmed)
            if pieces and (epoch != self._epoch or offset != following):
                store.append_received(begin, b"".join(pieces))
                pieces = []
            if epoch != self._epoch:
                # On disk before any byte of it is in the log, let alone acknowledged.
                client.epochs.receive(epoch, start)
                self._epoch = epoch
            if not pieces:
                begin = following = offset
                if not size and offset != _NO_OFFSET:
                    store.append_received(offset, b"")  # a sign of life names the place too
            if size:
                pieces.append(data[body:at])
                following += size
        self._partial = data[at:]
        if pieces:
            store.append_received(begin, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if confirm >= 0:
            client.on_confirmed(min(confirm, store.max_physical_offset))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """What had come of a record will come again."""
        self.closed = True
        if self._client.link is self:
            self._client.store.forget_incomplete()
        self._client.lost(self, appended=self.appended)


class SwitchClient(HaClient):
    """Keeps a slave connected to the master it was told of.

    Args:
        store: Takes the log.
        endpoint: Connects.
        settings: Options.
        clock: For pauses and signs of life.
        wall_clock_ms: For the times that are shown.
        run_in_thread: For what waits for the disk.
        epochs: The epochs of the log.

    Attributes:
        broker_id: What the master is told this is.
        learns: `asyncLearner`.
        from_last_file: `syncFromLastFile`.
        on_confirmed: Called with what the master says is confirmed.
        on_truncated: Called with the new end of the log when it was cut.
    """

    link: SwitchLink | None  # type: ignore[assignment]

    def __init__(
        self,
        store: MessageStore,
        endpoint: EndpointFactory,
        settings: HaSettings,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
        epochs: EpochFile,
    ) -> None:
        super().__init__(store, endpoint, settings, clock, wall_clock_ms, _nothing_against)
        self.epochs = epochs
        self.broker_id = -1
        self.learns = self.from_last_file = False
        self.on_confirmed: Callable[[int], None] = lambda _: None
        self.on_truncated: list[Callable[[int], None]] = []
        self._run_in_thread = run_in_thread
        self._tried: str | None = None

    def follow(self, address: str | None) -> None:
        """Take the log from this address, from now on and none other; None while it is not known."""
        if address != self.address:
            self.set_address(address)
            if address is None:
                self.address = None
                self.say("the master's address is not known")
        if self.link is not None and self.link.closed is False and self.address != self._tried:
            self.link.part()
        if not self._running:
            self.start()

    def part(self) -> None:
        """Be no slave any more: from now on nothing is appended."""
        link, self.address = self.link, None
        self.stop()
        if link is not None:
            link.part()

    @property
    def connected(self) -> bool:
        """Whether the master is connected, and its log known to begin with this one."""
        return self.link is not None and self.link.agreed

    def buildProtocol(self, addr: IAddress | None) -> SwitchLink:  # type: ignore[override]
        """Make the connection."""
        self.link = SwitchLink(self, self._tried)
        return self.link

    async def _try(self, address: str) -> None:
        self._tried = address
        await super()._try(address)

    async def agree(self, theirs: tuple[Epoch, ...], their_end: int, gave_up: Callable[[], bool]) -> None:
        """Cut what the master does not have.

        Args:
            theirs: The master's epochs.
            their_end: The end of its log.
            gave_up: Whether the connection is gone meanwhile.

        Raises:
            ReplicaRefused: a person has to help. StoreError: the disk failed.
        """
        store = self.store
        point = self._same_up_to(theirs, their_end)
        if point < store.max_physical_offset or (not point and store.log.starts):
            await self._synced(gave_up)
            if gave_up():
                return
            before = store.max_physical_offset
            _log.warn(
                "the log is cut from {before} to {point}: the master {address} has not what is behind, its log ends at "
                "{theirs}",
                before=before,
                point=point,
                address=self.address,
                theirs=their_end,
            )
            point = store.cut_log(point)
        # Only now: were the epochs cut first and the log not, its end would count as an older master's.
        self.epochs.adopt(theirs, point)
        for told in self.on_truncated:
            told(point)

    def _same_up_to(self, theirs: tuple[Epoch, ...], their_end: int) -> int:
        ours, end = self.epochs.entries, self.store.max_physical_offset
        if not self.store.log.starts or end == 0:
            return 0  # nothing is here: the master says where the log begins
        if not ours:
            if end > their_end:
                raise ReplicaRefused(
                    f"this log ends at {end} and has no epochs, the master's ends at {their_end}: empty this store"
                )
            return end
        point = consistent_point(ours, end, theirs, their_end)
        if point is None or point < self.store.min_physical_offset:
            raise ReplicaRefused(
                f"the master's log and this one have nothing in common (this one has {_text(ours)} and ends at {end}, "
                f"the master's {_text(theirs)} and ends at {their_end}): empty this store to begin anew"
            )
        return min(point, end)

    async def _synced(self, gave_up: Callable[[], bool]) -> None:
        """Wait until no sync is under way, all that is in memory being on disk as far as a thread can do that."""
        store = self.store
        if not store.is_syncing:
            store.tick_consume_queues(1 << 30)
            job = store.checkpoint_plan(at_once=True)
            if job is not None:
                try:
                    store.checkpointed(await self._run_in_thread(job))
                except Exception as cause:
                    store.checkpoint_failed(cause)
                    raise
        while store.is_syncing and not gave_up():
            pause: Deferred[None] = Deferred()
            self.clock.callLater(_SYNC_STEP_S, pause.callback, None)
            await pause


def _text(entries: tuple[Epoch, ...]) -> str:
    return ", ".join(f"{entry.epoch}-{entry.start}" for entry in entries) or "no epochs"


async def _nothing_against() -> str | None:
    return None
