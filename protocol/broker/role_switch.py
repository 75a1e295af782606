"""What a broker does when a controller makes it the master, or a slave of another one.

As a master it takes messages once its epoch is on disk, does what only a master does, and registers as number 0; as a
slave it takes none before anything else happens, leaves those services to the new master, follows its log and copies
its state, and registers with the number the controller gave. Before its first role it takes and hands out nothing.
What it must not do: decide who is master, or know the controllers.

Source: `ReplicasManager.changeToMaster`, `changeToSlave` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rmqd.conf import BrokerRole
from rmqd.protocol.peer_errors import PeerError
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.requests.ha import ExchangeBrokerHaInfo, ExchangeBrokerHaInfoReply

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .auto_switch import AutoSwitch
    from .leading import Leading
    from .parts import BrokerParts

_log = Logger()

MASTER_ID = 0
ASK_TIMEOUT_MS = 3000
ASK_PAUSE_S = 0.5
"""Between two questions to a master where it serves slaves: it may not know yet that it is one."""
ASK_AGAIN_S = 5.0
"""After so long a master that is not connected where it said to be is asked again: it may have moved."""


class RoleSwitch:
    """Changes the role of one broker; one change at a time.

    Args:
        parts: What a role matters to.
        auto: Replication.
        leading: The services of a master.

    Attributes:
        lock: Held by whoever calls `become_master` or `become_slave`.
    """

    def __init__(self, parts: BrokerParts, auto: AutoSwitch, leading: Leading) -> None:
        self._parts = parts
        self._auto = auto
        self._leading = leading
        self.lock = DeferredLock()
        self._master: str | None = None
        self._ha_address: str | None = None
        self._asking: Deferred[None] | None = None
        self._registered = False
        auto.on_truncated.append(self._same_up_to)

    def stop(self) -> None:
        """Ask no master any more."""
        if self._asking is not None:
            self._asking.cancel()

    async def become_master(self, broker_id: int, epoch: int, set_epoch: int, members: frozenset[int]) -> None:
        """Be the master, also again with a newer epoch.

        Raises:
            StoreError: The log cannot begin the epoch; the broker takes no messages.
        """
        parts = self._parts
        self.stop()
        self._master = self._ha_address = parts.replication.master = None
        if parts.replication.sync is not None:
            parts.replication.sync.stop()
        await self._auto.become_master(broker_id, epoch, set_epoch, members)
        self._set_role(BrokerRole.SYNC_MASTER, MASTER_ID)
        if not self._leading.running:
            self._leading.begin()
            if parts.timers is not None:
                await parts.timers.lead()
        _log.info("master of {name} in epoch {epoch}", name=parts.registration.broker.name, epoch=epoch)
        await self._register(epoch)

    async def become_slave(self, broker_id: int, master_address: str, epoch: int) -> None:
        """Be a slave, also of another master or of the same one in a newer epoch.

        Raises:
            StoreError: The log is newer than the epoch; the broker takes no messages.
        """
        parts = self._parts
        self.stop()
        self._set_role(BrokerRole.SLAVE, broker_id)
        ending = Deferred.fromCoroutine(self._leading.end())
        if master_address != self._master:
            self._master, self._ha_address = master_address, None
        try:
            await self._auto.become_slave(broker_id, self._ha_address, epoch)
        finally:
            await ending  # which may wait for replicas, until replication gives those waits up
        if parts.timers is not None and not parts.timers.follows:
            await parts.timers.follow()
        parts.replication.master = master_address
        if parts.replication.sync is not None:
            parts.replication.sync.start()
            parts.replication.sync.set_master(master_address)
        _log.info("slave {number} of {master} in epoch {epoch}", number=broker_id, master=master_address, epoch=epoch)
        self._ask(broker_id, master_address, epoch)
        await self._register(epoch)

    def _same_up_to(self, end: int) -> None:
        """The log goes on from here as the master's does: what the timer took from behind it is not there any more."""
        if self._parts.timers is not None:
            self._parts.timers.log_was_cut()  # now, as the log grows on meanwhile
        done = Deferred.fromCoroutine(self._take_timers_anew())
        done.addErrback(lambda failure: _log.failure("timer messages of a log that was cut at {end}", failure, end=end))

    async def _take_timers_anew(self) -> None:
        await self.lock.acquire()
        try:
            if self._parts.timers is not None and not self._leading.running:
                await self._parts.timers.follow()
        finally:
            self.lock.release()

    def _set_role(self, role: BrokerRole, broker_id: int) -> None:
        parts = self._parts
        is_slave = role is BrokerRole.SLAVE
        parts.options.store.broker_role = role
        parts.options.broker.broker_id = parts.registration.broker.broker_id = broker_id
        parts.send_settings.is_slave = parts.pull_settings.is_slave = is_slave
        parts.pull_settings.refuses_reads = parts.slave_refuses_reads()

    async def _register(self, epoch: int) -> None:
        # Of two brokers that say to be the master, name servers believe the one with the larger state version.
        self._parts.topics.bump_version(epoch)
        if self._registered:
            self._parts.registration.refresh()  # told meanwhile; it never fails
        else:
            self._registered = True
            await self._parts.registration.start()

    # Where the master serves slaves

    def _ask(self, broker_id: int, master: str, epoch: int) -> None:
        def ended(result: Failure | None) -> None:
            self._asking = None
            if result is not None and not isinstance(result.value, CancelledError):
                _log.failure("asking the master where it serves slaves", result)

        self._asking = asking = Deferred.fromCoroutine(self._find_ha_address(broker_id, master, epoch))
        asking.addBoth(ended)

    async def _find_ha_address(self, broker_id: int, master: str, epoch: int) -> None:
        """Ask the master itself; Java waits for a name server to know, which may tell of the one before.

        Goes on until it is cancelled: a master may come back in its epoch with another port.
        """
        parts = self._parts
        said = ""
        while True:
            problem, pause_s = "it does not serve slaves yet", ASK_PAUSE_S
            try:
                answer = await parts.client.call(master, ExchangeBrokerHaInfo(), timeout_ms=ASK_TIMEOUT_MS)
                if answer.code == ResponseCode.SUCCESS:
                    address = answer.header(ExchangeBrokerHaInfoReply).master_ha_address
                    if address:
                        await self._connect(broker_id, address, epoch)
                        problem, pause_s = "", ASK_AGAIN_S
                else:
                    problem = f"{answer.code} {answer.remark}"
            except (PeerError, WireError) as cause:
                problem = str(cause)
            if problem != said:
                said = problem
                if problem:
                    _log.info("master {master}: {problem}", master=master, problem=problem)
            await self._pause(pause_s)
            while self._auto.connected:
                await self._pause(ASK_AGAIN_S)

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[Any] = deferLater(self._parts.reactor, seconds, lambda: None)
        await pause

    async def _connect(self, broker_id: int, ha_address: str, epoch: int) -> None:
        await self.lock.acquire()  # whoever has it cancels this when it changes the role
        try:
            if ha_address != self._ha_address:
                self._ha_address = ha_address
                await self._auto.become_slave(broker_id, ha_address, epoch)
        finally:
            self.lock.release()
