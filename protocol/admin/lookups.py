"""Finding single messages: by a key or by either kind of id, over all brokers of a topic."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError
from rmqwire.message import decode_message_id
from rmqwire.requests.lookup import QueryMessage, ViewMessageById

from .asking import TIMEOUT_MS
from .errors import AdminError, BadUsage, NotFound
from .records import Message, host_text, read_messages

if TYPE_CHECKING:
    from .asking import Admin

FOREVER = (1 << 63) - 1
UNIQUE_KEY_MAX = 32
"""How many messages of one unique key are asked for."""

_BODY_FOLDER = Path("/tmp/rocketmq/msgbodys")  # noqa: S108  as the official tool, whose users look there
_DAYS_3_MS = 3 * 24 * 3600 * 1000


def charset(name: str) -> str:
    """Check the name of a charset.

    Raises:
        BadUsage: Nobody knows it.
    """
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise BadUsage(f"no charset {name!r}", "give UTF-8 or another known one") from None


async def query(
    admin: Admin,
    topic: str,
    key: str,
    count: int,
    begin_ms: int,
    end_ms: int,
    *,
    unique: bool,
    cluster: str | None = None,
    index_type: str | None = None,
    last_key: str | None = None,
) -> list[Message]:
    """Ask every broker of a topic for the messages with a key."""
    found: list[Message] = []
    for broker in (await admin.route(topic)).broker_datas:
        address = broker.broker_addrs.get(min(broker.broker_addrs, default=0))
        if address is None or (cluster is not None and broker.cluster != cluster):
            continue
        header = QueryMessage(
            topic=topic,
            key=key,
            max_num=count,
            begin_timestamp=begin_ms,
            end_timestamp=end_ms,
            unique_key_query=True if unique else None,
            index_type=index_type,
            last_key=last_key,
        )
        answer = await admin.call(address, header, timeout_ms=3 * TIMEOUT_MS, also=(ResponseCode.QUERY_NOT_FOUND,))
        for message in read_messages(answer.body):
            if unique:
                matches = message.message_id == key
            elif index_type == "T":
                matches = message.tags == key
            else:
                matches = key in (message.keys or "").split(" ")
            if matches and message.stored.topic == topic:
                found.append(message)
    return found


async def find(admin: Admin, topic: str, message_id: str, cluster: str | None = None) -> Message:
    """Find one message by either kind of id.

    Raises:
        NotFound: No broker has it.
    """
    try:
        host, offset = decode_message_id(message_id)
        address = host_text(host)
    except RmqError:
        address, offset = "", 0
    if address:
        try:
            answer = await admin.call(address, ViewMessageById(offset=offset, topic=topic))
            for message in read_messages(answer.body):
                return message
        except AdminError:
            pass  # the same digits may be an id that a client made
    begin_ms = admin.now_ms() - _DAYS_3_MS
    messages = await query(admin, topic, message_id, UNIQUE_KEY_MAX, begin_ms, FOREVER, unique=True, cluster=cluster)
    if not messages:
        raise NotFound(
            f"no message {message_id} in topic {topic!r}", "check id and topic; ids of clients last three days"
        )
    return messages[0]


def write_body(message: Message, suffix: str = "") -> str:
    """Write a body to the folder where the official tool puts it.

    Raises:
        AdminError: It cannot be written.
    """
    name = message.message_id if message.message_id.isalnum() else message.offset_id  # a producer may name it anything
    path = _BODY_FOLDER / f"{name}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(message.body)
    except OSError as cause:
        raise AdminError(f"cannot write the body to {path}, {cause.strerror}", "make that folder writable") from cause
    return str(path)
