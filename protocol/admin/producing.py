"""A producer for the commands that send."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmqd.protocol.broker.unique_id import UniqueIds
from rmqwire.bodies.base import MessageQueue
from rmqwire.codes import ResponseCode
from rmqwire.properties import PROPERTY_UNIQ_KEY, encode_properties
from rmqwire.requests.send import SendMessageReply, SendMessageV2

from .asking import MASTER_ID
from .errors import NotFound
from .text import queue_order, queue_text

if TYPE_CHECKING:
    from rmqwire.bodies.route import TopicRouteData

    from .asking import Admin

_DEFAULT_TOPIC = "TBW102"
_DEFAULT_QUEUES = 4
_STATUS = {
    ResponseCode.SUCCESS: "SEND_OK",
    ResponseCode.FLUSH_DISK_TIMEOUT: "FLUSH_DISK_TIMEOUT",
    ResponseCode.SLAVE_NOT_AVAILABLE: "SLAVE_NOT_AVAILABLE",
    ResponseCode.FLUSH_SLAVE_TIMEOUT: "FLUSH_SLAVE_TIMEOUT",
}


@dataclass(frozen=True)
class Sent:
    """Where a message was stored."""

    status: str
    message_id: str
    offset_id: str
    queue: MessageQueue
    queue_offset: int

    def facts(self) -> dict[str, object]:
        """What `--json` shows."""
        return {
            "status": self.status,
            "msgId": self.message_id,
            "offsetMsgId": self.offset_id,
            "brokerName": self.queue.broker_name,
            "queueId": self.queue.queue_id,
            "queueOffset": self.queue_offset,
        }


def send_result_text(sent: Sent) -> str:
    """`SendResult.toString`."""
    return (
        f"SendResult [sendStatus={sent.status}, msgId={sent.message_id}, offsetMsgId={sent.offset_id}, "
        f"messageQueue={queue_text(sent.queue)}, queueOffset={sent.queue_offset}, recallHandle=null]"
    )


class Producer:
    """Sends messages, to the queues of a topic in turn.

    Args:
        admin: The servers.
        group: Its producer group.
    """

    def __init__(self, admin: Admin, group: str) -> None:
        self._admin = admin
        self._group = group
        self._ids = UniqueIds(_own_address(), admin.now_ms)
        self._queues: dict[str, list[MessageQueue]] = {}
        self._addresses: dict[str, str] = {}
        self._turn = 0

    async def queues(self, topic: str) -> list[MessageQueue]:
        """The queues that can be written, those of the default topic where the topic is new.

        Raises:
            NotFound: No queue can be written.
        """
        if topic not in self._queues:
            try:
                route, most = await self._admin.route(topic), None
            except NotFound:
                try:
                    route, most = await self._admin.route(_DEFAULT_TOPIC), _DEFAULT_QUEUES
                except NotFound:
                    raise NotFound(f"no topic {topic!r}, and brokers do not create topics by themselves",
                                   "create it by `mqadmin updateTopic`") from None  # fmt: skip
            self._queues[topic] = self._writable(topic, route, most)
        if not self._queues[topic]:
            raise NotFound(f"no queue of topic {topic!r} can be written", "see its permission in `mqadmin topicRoute`")
        return self._queues[topic]

    def _writable(self, topic: str, route: TopicRouteData, most: int | None) -> list[MessageQueue]:
        masters = {
            data.broker_name: data.broker_addrs[MASTER_ID]
            for data in route.broker_datas
            if MASTER_ID in data.broker_addrs
        }
        self._addresses.update({name or "": address for name, address in masters.items()})
        queues = [
            MessageQueue(topic=topic, broker_name=data.broker_name, queue_id=number)
            for data in route.queue_datas
            if data.perm & 2 and data.broker_name in masters
            for number in range(min(data.write_queue_nums, most or data.write_queue_nums))
        ]
        return sorted(queues, key=queue_order)

    async def send(
        self, topic: str, body: bytes, properties: dict[str, str] | None = None, queue: MessageQueue | None = None
    ) -> Sent:
        """Send one message, to a given queue or to the next one."""
        if queue is None:
            queues = await self.queues(topic)
            self._turn += 1
            queue = queues[self._turn % len(queues)]
        name = queue.broker_name or ""
        address = self._addresses.get(name) or await self._admin.master_named(name)
        given = dict(properties or {})
        unique = given.setdefault(PROPERTY_UNIQ_KEY, self._ids())
        given.setdefault("WAIT", "true")
        header = SendMessageV2(
            producer_group=self._group,
            topic=topic,
            default_topic=_DEFAULT_TOPIC,
            default_topic_queue_nums=_DEFAULT_QUEUES,
            queue_id=queue.queue_id,
            sys_flag=0,
            born_timestamp=self._admin.now_ms(),
            flag=0,
            properties=encode_properties(given).decode(),
            broker_name=name,
        )
        answer = await self._admin.call(address, header, body, also=tuple(_STATUS))
        reply = answer.header(SendMessageReply)
        stored = MessageQueue(topic=topic, broker_name=name, queue_id=reply.queue_id)
        return Sent(_STATUS[answer.code], unique, reply.msg_id, stored, reply.queue_offset)


def _own_address() -> bytes:
    """The address that goes into message ids; only their uniqueness depends on it."""
    try:
        return socket.inet_aton(socket.gethostbyname(socket.gethostname()))
    except OSError:
        return socket.inet_aton("127.0.0.1")
