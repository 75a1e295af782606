"""A remoting client of the fewest lines, written without our codec: for bad input, and for polling a route."""

from __future__ import annotations

import itertools
import json
import socket
import struct
from typing import Any

TIMEOUT_S = 15.0
FLAG_RESPONSE = 1
FLAG_ONEWAY = 2


class Closed(Exception):
    """The peer closed the connection."""


def frame(header: dict[str, Any] | bytes, body: bytes = b"") -> bytes:
    """Return `length i32 | serialize type and header length i32 | header | body` with a JSON header."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">ii", 4 + len(encoded) + len(body), len(encoded)) + encoded + body


class Connection:
    """One socket. `request` sends a command and reads frames until the one that answers it."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self._opaque = itertools.count(1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            Closed: the peer closed before.
        """
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionError:
                part = b""
            if not part:
                raise Closed(f"closed after {len(data)} of {size} bytes")
            data += part
        return data

    def read_frame(self) -> tuple[dict[str, Any], bytes]:
        """Read one frame with a JSON header."""
        length, word = struct.unpack(">iI", self.read(8))
        assert word >> 24 == 0, f"serialize type {word >> 24} in an answer to a JSON request"
        rest = self.read(length - 4)
        size = word & 0xFFFFFF
        return json.loads(rest[:size]), rest[size:]

    def request(
        self, code: int, fields: dict[str, str] | None = None, body: bytes = b"", **header: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request as a 4.7 Java client does, and return the header and body of its answer."""
        opaque = next(self._opaque)
        command = {
            "code": code, "flag": 0, "language": "JAVA", "opaque": opaque, "version": 353,
            "serializeTypeCurrentRPC": "JSON", **({} if fields is None else {"extFields": fields}), **header,
        }  # fmt: skip
        self.send(frame(command, body))
        while True:
            answer, answer_body = self.read_frame()
            if answer.get("flag", 0) & FLAG_RESPONSE and answer["opaque"] == opaque:
                return answer, answer_body

    def is_closed(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until the peer closes; False when it keeps the connection or sends something."""
        self.socket.settimeout(timeout_s)
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def request(
    address: str, code: int, fields: dict[str, str] | None = None, body: bytes = b"", **header: Any
) -> tuple[dict[str, Any], bytes]:
    """Send one request on a connection of its own."""
    with Connection(address) as connection:
        return connection.request(code, fields, body, **header)
