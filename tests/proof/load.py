"""Producers that keep a ledger of what was acknowledged, and the audit of a store against it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rmqwire.command import RemotingCommand, decode_command, encode_command, new_request
from rmqwire.frames import FrameReader
from rmqwire.message import StoredMessage, decode_record
from rmqwire.requests.offset import GetMaxOffset, GetMinOffset
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.send import SendMessageV2

QUEUES = 4
WINDOW = 64
_TIMEOUT_S = 20.0


class Link:
    """One blocking connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()
        self._arrived: list[RemotingCommand] = []

    def send(self, *requests: RemotingCommand) -> None:
        """Write requests."""
        self._socket.sendall(b"".join(map(encode_command, requests)))

    def receive(self) -> list[RemotingCommand]:
        """Wait for answers.

        Raises:
            OSError: The broker has gone.
        """
        while True:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("closed")
            frames = self._reader.receive(data)
            if frames:
                return [decode_command(frame) for frame in frames]

    def ask(self, request: RemotingCommand) -> RemotingCommand:
        """Send one request and wait for its answer."""
        self.send(request)
        while True:
            for answer in self.receive():
                if answer.is_response and answer.opaque == request.opaque:
                    return answer

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@dataclass
class Ledger:
    """What producers sent, and what of it was acknowledged where."""

    acknowledged: dict[str, dict[tuple[int, int], bytes]] = field(default_factory=dict)
    """Topic -> (queue id, queue offset) -> body."""
    sent: set[bytes] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Messages acknowledged."""
        return sum(map(len, self.acknowledged.values()))


class Producer(threading.Thread):
    """Sends until the broker goes, with a window of requests in flight.

    Args:
        port: Of the broker.
        topic: Where to.
        name: Tells its messages from those of others.
        ledger: Takes what was acknowledged.
        size: Bytes of a body.
        pause_s: After answers that are no acknowledgement.
    """

    def __init__(
        self, port: int, topic: str, name: str, ledger: Ledger, size: int = 200, *, pause_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self._link = Link(port)
        self._topic = topic
        self._name = name
        self._ledger = ledger
        self._size = size
        self._pause_s = pause_s
        self.ends = False

    def run(self) -> None:
        """Send."""
        book = self._ledger.acknowledged.setdefault(self._topic, {})
        in_flight: dict[int, tuple[int, bytes]] = {}
        number = 0
        try:
            while in_flight or not self.ends:
                fresh = []
                while len(in_flight) < WINDOW and not self.ends:
                    number += 1
                    body = f"{self._name}-{number}-".encode().ljust(self._size, b"%d" % (number % 10))
                    queue_id = number % QUEUES
                    in_flight[number] = (queue_id, body)
                    self._ledger.sent.add(body[:40])
                    fresh.append(self._request(number, queue_id, body))
                if fresh:
                    self._link.send(*fresh)
                if not in_flight:
                    break
                refused = len(self._ledger.refused)
                for answer in self._link.receive():
                    if not answer.is_response:
                        continue
                    queue_id, body = in_flight.pop(answer.opaque)
                    if answer.code == 0:
                        book[queue_id, int(answer.ext["queueOffset"])] = body
                    else:
                        self._ledger.refused.append(f"{answer.code} {answer.remark}")
                if self._pause_s and len(self._ledger.refused) > refused:
                    time.sleep(self._pause_s)
        except OSError:
            pass  # the broker was ended: what is in flight may be stored or not
        finally:
            self._link.close()

    def _request(self, opaque: int, queue_id: int, body: bytes) -> RemotingCommand:
        header = SendMessageV2(
            producer_group="PG",
            topic=self._topic,
            default_topic="TBW102",
            default_topic_queue_nums=QUEUES,
            queue_id=queue_id,
            sys_flag=0,
            born_timestamp=int(time.time() * 1000),
            flag=0,
            properties=f"UNIQ_KEY\x01{self._name}{opaque:08d}\x02WAIT\x01true\x02",
        )
        return new_request(310, header, opaque, body=body)


def audit(port: int, ledger: Ledger) -> dict[str, int]:
    """Read everything and compare it with the ledger.

    Returns:
        The number of messages in each topic.

    Raises:
        AssertionError: Something that was acknowledged is lost or elsewhere, or there is what nobody sent.
    """
    link = Link(port)
    counts: dict[str, int] = {}
    try:
        for topic, book in ledger.acknowledged.items():
            counts[topic] = 0
            for queue_id in range(QUEUES):
                stored = _read_queue(link, topic, queue_id)
                counts[topic] += len(stored)
                expected = {offset: body for (queue, offset), body in book.items() if queue == queue_id}
                missing = [offset for offset in expected if offset not in stored]
                assert not missing, f"{topic} {queue_id}: {len(missing)} of {len(expected)} lost, from {min(missing)}"
                for offset, body in expected.items():
                    assert stored[offset] == body, f"{topic} {queue_id} {offset}: another body"
                foreign = [body[:40] for body in stored.values() if body[:40] not in ledger.sent]
                assert not foreign, f"{topic} {queue_id}: nobody sent {foreign[:3]}"
                _check_order(topic, queue_id, stored)
    finally:
        link.close()
    return counts


def pulled(link: Link, topic: str, queue_id: int, offset: int, end: int) -> Iterator[StoredMessage]:
    """The messages of a queue from `offset` up to `end`.

    Raises:
        AssertionError: A pull is refused.
    """
    while offset < end:
        header = PullMessage(
            consumer_group="audit",
            topic=topic,
            queue_id=queue_id,
            queue_offset=offset,
            max_msg_nums=256,
            sys_flag=4,
            commit_offset=0,
            suspend_timeout_millis=1000,
            subscription="*",
            sub_version=0,
        )
        answer = link.ask(new_request(11, header, 3))
        assert answer.code == 0, f"{topic} {queue_id} {offset}: {answer.code} {answer.remark}"
        position = 0
        while position < len(answer.body):
            (size,) = struct.unpack_from(">i", answer.body, position)
            yield decode_record(answer.body[position : position + size], check_crc=True)
            offset += 1
            position += size


def _read_queue(link: Link, topic: str, queue_id: int) -> dict[int, bytes]:
    low = int(link.ask(new_request(31, GetMinOffset(topic=topic, queue_id=queue_id), 1)).ext["offset"])
    high = int(link.ask(new_request(30, GetMaxOffset(topic=topic, queue_id=queue_id), 2)).ext["offset"])
    assert low == 0, f"{topic} {queue_id} begins at {low}"
    stored: dict[int, bytes] = {}
    for message in pulled(link, topic, queue_id, low, high):
        assert message.queue_offset == low + len(stored)
        stored[message.queue_offset] = message.body
    return stored


def _check_order(topic: str, queue_id: int, stored: dict[int, bytes]) -> None:
    """The messages of one producer stand in the order in which it sent them."""
    last: dict[bytes, int] = {}
    for offset in sorted(stored):
        name, number, _ = stored[offset].split(b"-", 2)
        assert int(number) > last.get(name, 0), f"{topic} {queue_id} {offset}: out of order"
        last[name] = int(number)
