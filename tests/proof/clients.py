"""Clients of the proof beside plain producers: one connection that sends, asks, and reads back whole messages."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from rmqwire.command import RemotingCommand, new_request
from rmqwire.message import StoredMessage
from rmqwire.requests.offset import GetMaxOffset
from rmqwire.requests.send import SendMessageV2

from .load import QUEUES, Link, pulled


def cut(link: Link) -> None:
    """End the connection as a client that is killed does; a thread that waits for an answer is told."""
    with contextlib.suppress(OSError):  # the broker was faster
        link._socket.shutdown(socket.SHUT_RDWR)


def send_request(
    opaque: int, topic: str, queue_id: int, body: bytes, *, sys_flag: int = 0, **properties: object
) -> RemotingCommand:
    """A request to store one message."""
    text = "".join(f"{key}\x01{value}\x02" for key, value in {"WAIT": "true", **properties}.items())
    header = SendMessageV2(
        producer_group="PG",
        topic=topic,
        default_topic="TBW102",
        default_topic_queue_nums=8,
        queue_id=queue_id,
        sys_flag=sys_flag,
        born_timestamp=int(time.time() * 1000),
        flag=0,
        properties=text,
    )
    return new_request(310, header, opaque, body=body)


def stored_messages(port: int, topic: str) -> Iterator[StoredMessage]:
    """Everything in a topic, queue by queue.

    Raises:
        AssertionError: A pull is refused.
    """
    link = Link(port)
    try:
        for queue_id in range(QUEUES):
            end = int(link.ask(new_request(30, GetMaxOffset(topic=topic, queue_id=queue_id), 1)).ext["offset"])
            yield from pulled(link, topic, queue_id, 0, end)
    finally:
        link.close()
