"""SEND_REPLY_MESSAGE: a responder's reply is handed to the client that asked (326), and stored for the record.

The requester is found among the producers by the client id in the reply's property REPLY_TO_CLIENT; the responder is
answered when the requester has answered. Source: `ReplyMessageProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.remoting import PeerError
from rmqd.protocol.replies import Reply, Result
from rmqd.store.errors import StoreError
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.hashing import tags_code
from rmqwire.message import decode_host, decode_properties, encode_properties, message_keys
from rmqwire.requests.send import (
    PushReplyMessageToClient,
    SendMessageReply,
    SendReplyMessage,
    SendReplyMessageV2,
)

from .send_checks import check_topic, pick_queue

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore, StagedPut
    from rmqwire.command import RemotingCommand

    from .clients import ProducerRegistry
    from .delay import DelayLevels
    from .send import SendSettings, WhenSafe
    from .send_replies import SendReplies
    from .stats import BrokerStats
    from .topics import TopicTable

_log = Logger()

PUSH_TIMEOUT_MS = 10_000
_REPLY_TO_CLIENT, _PUSH_REPLY_TIME = "REPLY_TO_CLIENT", "PUSH_REPLY_TIME"
_NOT_STORED_ID = "0"

Header = SendReplyMessage | SendReplyMessageV2


class ReplySettings(msgspec.Struct):
    """What replies follow; changed at run time by updateBrokerConfig."""

    store_reply_message_enable: bool = True


class ReplyHandlers:
    """Passes replies on.

    Args:
        store: Where they are stored.
        topics: The reply topic is there from the start, as `<cluster>_REPLY_TOPIC`.
        producers: Finds requesters.
        levels: Delay levels, which act on the stored copy.
        replies: Writes answers.
        settings: Whether replies are stored.
        send_settings: Permissions.
        stats: Counts of puts.
        store_host: The broker's address as records store it.
        clock: For turns of the reactor.
        wall_clock_ms: Told to the requester.
        when_safe: As for sends.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        producers: ProducerRegistry,
        levels: DelayLevels,
        replies: SendReplies,
        settings: ReplySettings,
        send_settings: SendSettings,
        stats: BrokerStats,
        store_host: bytes,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        when_safe: WhenSafe | None = None,
    ) -> None:
        self._store = store
        self._topics = topics
        self._producers = producers
        self._levels = levels
        self._replies = replies
        self._settings = settings
        self._send_settings = send_settings
        self._stats = stats
        self._store_host = store_host
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._when_safe = when_safe

    @handles(SendReplyMessage, SendReplyMessageV2)
    def reply(self, request: Request, header: Header) -> Result:
        """Hand a reply to its requester."""
        try:
            begins_ms = self._send_settings.start_accept_send_request_at_ms
            if begins_ms > self._wall_clock_ms():
                raise RequestError(f"broker unable to service, until {begins_ms}", ResponseCode.SYSTEM_ERROR)
            config = check_topic(
                self._topics,
                request,
                header,
                broker_permission=self._send_settings.broker_permission,
                broker_ip=self._send_settings.broker_ip,
            )
        except RequestError as refused:
            return self._replies.refused(refused.code, refused.remark)
        return Deferred.fromCoroutine(self._pass_on(request, header, pick_queue(header.queue_id, config)))

    async def _pass_on(self, request: Request, header: Header, queue_id: int) -> Reply:
        # As Java 5.5.0: what every answer to a send tells is told to the requester too, and stored.
        properties = {**decode_properties((header.properties or "").encode()), **self._replies.ext}
        fault = await self._push(request, header, properties)
        # The requester's answer came within a dispatcher's turn, where others may have staged: not there.
        await deferLater(self._clock, 0, lambda: None)
        put = await self._put(request, header, queue_id, properties) if self._stores else None
        stored = None
        if put is not None:
            stored = SendMessageReply(
                msg_id=self._replies.message_id(put.physical_offset), queue_id=queue_id, queue_offset=put.queue_offset
            )
        if fault is not None:
            return Reply(stored, ResponseCode.SYSTEM_ERROR, fault, ext=self._replies.ext)
        if stored is None:
            stored = SendMessageReply(msg_id=_NOT_STORED_ID, queue_id=queue_id, queue_offset=0)
        return Reply(stored, ext=self._replies.ext)

    async def _push(self, request: Request, header: Header, properties: dict[str, str]) -> str | None:
        """Push the reply; say what went wrong, if anything."""
        client_id = properties.get(_REPLY_TO_CLIENT)
        if client_id is None:
            return f"reply message properties[{_REPLY_TO_CLIENT}] is null"
        connection = self._producers.connection_of(client_id)
        if connection is None:
            return f"push reply message fail, channel of <{client_id}> not found."
        now_ms = self._wall_clock_ms()
        push = PushReplyMessageToClient(
            born_host=request.connection.peer,
            store_host="{}:{}".format(*decode_host(self._store_host)),
            store_timestamp=now_ms,
            producer_group=header.producer_group,
            topic=header.topic,
            default_topic=header.default_topic,
            default_topic_queue_nums=header.default_topic_queue_nums,
            queue_id=header.queue_id,
            sys_flag=header.sys_flag,
            born_timestamp=header.born_timestamp,
            flag=header.flag,
            properties=encode_properties({**properties, _PUSH_REPLY_TIME: str(now_ms)}).decode(),
            reconsume_times=header.reconsume_times,
            unit_mode=header.unit_mode,
        )
        try:
            answer: RemotingCommand = await connection.call(push, request.body, timeout_ms=PUSH_TIMEOUT_MS)
        except PeerError as cause:
            _log.warn("reply to {client}: {cause}", client=client_id, cause=cause)
        else:
            if answer.code == ResponseCode.SUCCESS:
                return None
            _log.warn("reply to {client} answered {code} {remark}", client=client_id, code=answer.code,
                      remark=answer.remark)  # fmt: skip
        return f"push reply message to {client_id}fail."  # the blank that lacks: as Java

    @property
    def _stores(self) -> bool:
        return self._settings.store_reply_message_enable and not self._send_settings.is_slave

    async def _put(
        self, request: Request, header: Header, queue_id: int, properties: dict[str, str]
    ) -> StagedPut | None:
        """Store a reply, outside of a dispatcher's turn. A failure is no concern of the responder, as in Java."""
        topic, text = header.topic, encode_properties(properties).decode()
        try:
            aside = self._levels.put_aside(topic, queue_id, properties, text)
            if aside is not None:
                topic, queue_id, text = aside
            put = self._store.stage(
                topic,
                queue_id,
                request.body,
                text.encode(),
                tags_code=tags_code(properties.get("TAGS")),
                keys=message_keys(properties),
                flag=header.flag,
                sys_flag=header.sys_flag,  # unlike Java, which stores a compressed body as if it were none
                born_timestamp=header.born_timestamp,
                born_host=request.connection.born_host,
                reconsume_times=header.reconsume_times or 0,
            )
            self._store.commit()
        except (RequestError, StoreError) as cause:
            _log.warn("a reply is not stored: {cause}", cause=cause)
            return None
        self._stats.put(topic, 1, put.size)
        if self._when_safe is not None and properties.get("WAIT") != "false":
            wait = self._when_safe(put.physical_offset + put.size)
            if wait is not None:
                await wait  # late or not, the reply is stored
        return put
