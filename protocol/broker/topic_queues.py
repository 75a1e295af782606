"""The queues of a topic on all brokers, as the name servers tell; asked for once in a while, and only for topics that
somebody asks about.

Source: `TopicRouteInfoManager` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from rmqwire.bodies import MessageQueue, TopicRouteData
from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError
from rmqwire.requests import GetRouteInfoByTopic

from .names import PERM_READ

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.client import RemotingClient

_log = Logger()
Queues = list[MessageQueue]


class TopicQueues:
    """The queues of topics.

    Args:
        client: Talks to the name servers.
        name_servers: Their addresses.
        clock: Tells how old an answer is.
        poll_interval_ms: `loadBalancePollNameServerInterval`: older ones are asked for again.
    """

    def __init__(
        self,
        client: RemotingClient,
        name_servers: Callable[[], Iterable[str]],
        clock: IReactorTime,
        poll_interval_ms: int,
    ) -> None:
        self._client = client
        self._name_servers = name_servers
        self._clock = clock
        self._poll_interval_s = poll_interval_ms / 1000
        self._known: dict[str, tuple[float, Queues]] = {}
        self._asked: dict[str, list[Deferred[Queues | None]]] = {}

    def get(self, topic: str) -> Deferred[Queues | None]:
        """Give the readable queues of a topic, sorted; None when no name server knows it.

        What is too old is given all the same, while it is asked for again.
        """
        known = self._known.get(topic)
        fresh = known is not None and self._clock.seconds() - known[0] < self._poll_interval_s
        if not fresh and topic not in self._asked:
            self._asked[topic] = []
            asking = Deferred.fromCoroutine(self._ask(topic))
            asking.addErrback(lambda failure: _log.failure("no queues of {topic}", failure, topic=topic))
            asking.addBoth(self._answer, topic)
            known = self._known.get(topic)
        if known is not None or topic not in self._asked:
            return succeed(known[1] if known is not None else None)
        waiter: Deferred[Queues | None] = Deferred()
        self._asked[topic].append(waiter)
        return waiter

    def _answer(self, _: object, topic: str) -> None:
        known = self._known.get(topic)
        for waiter in self._asked.pop(topic):
            waiter.callback(known[1] if known is not None else None)

    async def _ask(self, topic: str) -> None:
        for address in self._name_servers():
            try:
                answer = await self._client.call(address, GetRouteInfoByTopic(topic=topic))
                if answer.code == ResponseCode.SUCCESS:
                    self._known[topic] = (self._clock.seconds(), _queues(topic, TopicRouteData.decode(answer.body)))
                    return
                if answer.code == ResponseCode.TOPIC_NOT_EXIST:
                    self._known.pop(topic, None)
                    return
                _log.warn("{address} told {code} of {topic}", address=address, code=answer.code, topic=topic)
            except RmqError as cause:
                _log.warn("{address} tells no route of {topic}: {cause}", address=address, topic=topic, cause=cause)


def _queues(topic: str, route: TopicRouteData) -> Queues:
    queues = [
        MessageQueue(topic=topic, broker_name=data.broker_name, queue_id=queue_id)
        for data in route.queue_datas
        if data.perm & PERM_READ
        for queue_id in range(data.read_queue_nums)
    ]
    return sorted(queues, key=lambda queue: (queue.broker_name or "", queue.queue_id))
