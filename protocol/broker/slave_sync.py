"""What a slave copies from its master besides the log: topics, groups, offsets, progress of delays and of the timer.

Every 10 s, and at once when the master becomes known. What it must not do: give up on the others when one fails; a
failure is logged once, until it is another one. Source: `SlaveSynchronize` (5.3.4, 4.7.0).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqd.protocol.remoting import PeerError
from rmqd.store.errors import StoreError
from rmqd.store.timercheckpoint import TimerCheckpoint
from rmqwire.codes import ResponseCode
from rmqwire.dialect import loads
from rmqwire.errors import MalformedBody, WireError
from rmqwire.requests.group import GetAllSubscriptionGroupConfig
from rmqwire.requests.ha import GetTimerCheckPoint, GetTimerMetrics
from rmqwire.requests.lock import GetAllMessageRequestMode
from rmqwire.requests.offset import GetAllConsumerOffset, GetAllDelayOffset
from rmqwire.requests.topic import GetAllTopicConfig

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.protocol.client import RemotingClient
    from rmqwire.declare import Header

    from .parts import BrokerParts
    from .timer_service import TimerService

_log = Logger()

PERIOD_S = 10.0
TIMEOUT_MS = 5000

Take = Callable[[bytes], "Deferred[Any] | None"]


class SlaveSync:
    """Copies a master's state.

    Args:
        client: Asks the master.
        requests: What to ask for, by the name it has in the log, and who takes the answer's body.
        clock: For the period.
    """

    def __init__(
        self,
        client: RemotingClient,
        requests: list[tuple[str, Header, Take]],
        clock: Any,
    ) -> None:
        self._client = client
        self._requests = requests
        self._master: str | None = None
        self._round: Deferred[None] | None = None
        self._said: dict[str, str] = {}
        self._periodic = LoopingCall(self.tick)
        self._periodic.clock = clock

    def start(self) -> None:
        """Begin to copy; also again after `stop`."""
        if not self._periodic.running:
            self._periodic.start(PERIOD_S, now=True)

    def stop(self) -> None:
        """Copy no more."""
        if self._periodic.running:
            self._periodic.stop()
        if self._round is not None:
            self._round.cancel()

    def set_master(self, address: str | None) -> None:
        """Copy from this broker from now on; None while there is no master: what is known stays."""
        changed = address != self._master
        self._master = address
        if changed and self._periodic.running:
            self.tick()

    def tick(self) -> None:
        """Copy everything, unless that is under way."""
        if self._master is None or self._round is not None:
            return
        self._round = done = Deferred.fromCoroutine(self._copy(self._master))
        done.addErrback(self._failed)
        done.addBoth(self._ended)

    def _failed(self, failure: Failure) -> None:
        if self._periodic.running:
            _log.failure("copying from the master failed", failure)

    def _ended(self, _: object) -> None:
        self._round = None

    async def _copy(self, master: str) -> None:
        for name, request, take in self._requests:
            if not self._periodic.running:
                return
            try:
                answer = await self._client.call(master, request, timeout_ms=TIMEOUT_MS)
                if answer.code != ResponseCode.SUCCESS:
                    raise PeerError(f"{answer.code} {answer.remark}")
                wait = take(answer.body)
                if wait is not None:
                    await wait
            except (PeerError, WireError, StoreError) as cause:
                self._say(name, f"{name} cannot be copied from the master {master}: {cause}")
            else:
                self._say(name, "")

    def _say(self, name: str, problem: str) -> None:
        if self._said.get(name, "") != problem:
            self._said[name] = problem
            if problem:
                _log.warn("{problem}", problem=problem)
            else:
                _log.info("{name} are copied again", name=name)


def tree_of(body: bytes) -> dict[str, Any]:
    """Read an answer's body; an empty one holds nothing.

    Raises:
        MalformedBody: It is no JSON object.
    """
    tree = loads(body) if body else {}
    if not isinstance(tree, dict):
        raise MalformedBody("no JSON object")
    return tree


def slave_sync(parts: BrokerParts) -> SlaveSync:
    """Make the copying of a slave from its parts."""

    def taking(copy_from: Callable[[dict[str, Any]], object]) -> Take:
        def take(body: bytes) -> None:
            copy_from(tree_of(body))

        return take

    requests: list[tuple[str, Header, Take]] = [
        ("topics", GetAllTopicConfig(), taking(partial(take_topics, parts))),
        ("consumer offsets", GetAllConsumerOffset(), taking(parts.offsets.copy_from)),
        ("delay offsets", GetAllDelayOffset(), taking(parts.delay_offsets.copy_from)),
        ("subscription groups", GetAllSubscriptionGroupConfig(), taking(parts.groups.copy_from)),
    ]
    if parts.options.store.timer_wheel_enable:
        # A 4.x master knows none of these: that is said once.
        requests.append(("message request modes", GetAllMessageRequestMode(), taking(parts.modes.copy_from)))
        if parts.timers is not None:
            requests.append(("timer counts", GetTimerMetrics(), taking(parts.timers.counts.copy_from)))
            requests.append(("timer positions", GetTimerCheckPoint(), partial(take_positions, parts.timers)))
    return SlaveSync(parts.client, requests, parts.reactor)


def take_topics(parts: BrokerParts, tree: dict[str, Any]) -> None:
    """Take the topics with the mappings of static ones, which 4.x masters do not send.

    Raises:
        MalformedBody: They are no such tables.
    """
    parts.topics.copy_from(tree)
    parts.static_topics.table.copy_from(tree)


def take_positions(timers: TimerService, body: bytes) -> None:
    """Note how far the master's timer is, unless this slave delivers in its place.

    Raises:
        MalformedBody: The answer is too short.
    """
    if timers.follows:
        timers.delivered_elsewhere(positions_of(body))


_POSITIONS_MIN_BYTES = 32
"""What the first versions with a timer send: four numbers."""


def positions_of(body: bytes) -> TimerCheckpoint:
    """Read the answer to a request for a timer's positions.

    Raises:
        MalformedBody: The answer is too short.
    """
    if len(body) < _POSITIONS_MIN_BYTES:
        raise MalformedBody(f"a timer's positions of {len(body)} bytes")
    return TimerCheckpoint.decode(body)
