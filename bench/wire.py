"""A prepared raw client of a few requests, written without our codec: it measures starts and asks for offsets."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable

POLL_S = 0.002
QUEUES = 4
SEND_MESSAGE_V2, GET_MAX_OFFSET = 310, 30


class WireError(Exception):
    """The broker closed the connection or answered with an error."""


def frame(code: int, fields: dict[str, str], body: bytes = b"", opaque: int = 1) -> bytes:
    """Return a request frame with a JSON header."""
    members = {"code": code, "extFields": fields, "flag": 0, "language": "JAVA", "opaque": opaque, "version": 513}
    header = json.dumps(members, separators=(",", ":")).encode()
    return struct.pack(">ii", 4 + len(header) + len(body), len(header)) + header + body


def send_frame(topic: str, queue_id: int = 0) -> bytes:
    """Return a SEND_MESSAGE_V2 that creates the topic with `QUEUES` queues when it is missing."""
    now_ms = str(time.time_ns() // 1_000_000)
    fields = {"a": "bench", "b": topic, "c": "TBW102", "d": str(QUEUES), "e": str(queue_id), "f": "0", "g": now_ms}
    fields |= {"h": "0", "i": "WAIT\x01true\x02", "j": "0", "k": "false", "m": "false"}
    return frame(SEND_MESSAGE_V2, fields, b"first")


def exchange(connection: socket.socket, request: bytes) -> dict[str, object]:
    """Send one frame and return the header of the answer."""
    connection.sendall(request)
    received = b""
    while len(received) < 8 or len(received) < 4 + struct.unpack_from(">i", received)[0]:
        more = connection.recv(1 << 16)
        if not more:
            raise WireError("the broker closed the connection")
        received += more
    header: dict[str, object] = json.loads(received[8 : 8 + (struct.unpack_from(">i", received, 4)[0] & 0xFFFFFF)])
    return header


def connect(port: int) -> socket.socket:
    """Connect to a broker on the loopback address."""
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def seconds_to_first_send(port: int, began_at: float, timeout_s: float, alive: Callable[[], bool]) -> float:
    """Return the time from `began_at` (monotonic) until a message was answered SEND_OK, trying every 2 ms.

    Raises:
        WireError: not within the time, or the server has ended; with the last answer.
    """
    last: object = "never connected"
    request = send_frame("BenchStart")
    while time.monotonic() < began_at + timeout_s and alive():
        try:
            with connect(port) as connection:
                last = exchange(connection, request)
                if isinstance(last, dict) and last["code"] == 0:
                    return time.monotonic() - began_at
        except (OSError, WireError) as error:
            last = error
        time.sleep(POLL_S)
    raise WireError(f"no SEND_OK after {time.monotonic() - began_at:.1f} s: {last}")


class OffsetProbe:
    """Counts what is stored in a topic, by the maximum offsets of its queues."""

    def __init__(self, port: int, topic: str) -> None:
        self._connection = connect(port)
        self._topic = topic

    def create(self) -> None:
        """Send one message, which creates the topic."""
        answer = exchange(self._connection, send_frame(self._topic))
        if answer["code"] != 0:
            raise WireError(f"topic {self._topic} was not created: {answer}")

    def stored(self) -> int:
        """Return the number of messages of all queues."""
        total = 0
        for queue_id in range(QUEUES):
            answer = exchange(self._connection, frame(GET_MAX_OFFSET, {"topic": self._topic, "queueId": str(queue_id)}))
            if answer["code"] != 0:
                raise WireError(f"no maximum offset of {self._topic}:{queue_id}: {answer}")
            fields = answer["extFields"]
            assert isinstance(fields, dict)
            total += int(fields["offset"])
        return total

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
