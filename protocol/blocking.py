"""Connections for a program that does one thing and ends: blocking sockets under the codec, and no reactor.

What it is for: `mqadmin`, whose start would be Twisted's (`docs/adr/0008`). Frames, headers and request declarations
are the codec's, as in `remoting`. Requests that a peer sends on these connections are not served: whoever needs that
takes `RemotingClient`. Must not import Twisted.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from rmqwire.command import decode_command, encode_command, new_request
from rmqwire.declare import declaration_of
from rmqwire.frames import FrameReader

from .addresses import parse_address
from .peer_errors import ClientStopped, ConnectFailed, ConnectionGone, RequestTimeout

if TYPE_CHECKING:
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

T = TypeVar("T")

_READ_SIZE_BYTES = 262_144
_THREADS_MAX = 16


class BlockingConnection:
    """One connected socket; for one request at a time.

    Args:
        address: `host:port`.
        until: `monotonic()` by which it has to be connected.

    Raises:
        ConnectFailed: No address, or nobody accepted in time.
    """

    def __init__(self, address: str, until: float) -> None:
        self.address = address
        self._reader = FrameReader()
        self._opaque = 0
        try:
            host, port = parse_address(address, 0)
            if not host or not port:
                raise ValueError("expected host:port")
            self._socket = socket.create_connection((host, port), timeout=max(0.001, until - monotonic()))
        except TimeoutError as cause:
            raise ConnectFailed(f"cannot connect to {address}: nobody answers") from cause
        except (OSError, ValueError) as cause:  # UnicodeError too: a host name that is none
            reason = getattr(cause, "strerror", None) or str(cause)
            raise ConnectFailed(f"cannot connect to {address}: {reason}") from cause
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def usable(self) -> bool:
        """Whether an idle connection is still open and silent."""
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def call(self, header: Header, body: bytes, until: float, timeout_ms: int) -> RemotingCommand:
        """Send a request and wait for its answer, whatever its code.

        Raises:
            RequestTimeout: No answer by `until`.
            ConnectionGone: Lost meanwhile.
            WireError: What came is not the remoting protocol.
        """
        self._opaque += 1
        request = new_request(declaration_of(type(header)).code, header, self._opaque, body=body)
        try:
            self._wait_until(until)
            self._socket.sendall(encode_command(request))
            while True:
                self._wait_until(until)
                data = self._socket.recv(_READ_SIZE_BYTES)
                if not data:
                    raise ConnectionGone(f"connection to {self.address} lost: closed by the other side")
                for frame in self._reader.receive(data):
                    command: RemotingCommand = decode_command(frame)
                    if command.is_response and command.opaque == self._opaque:
                        return command
                if self._reader.error is not None:
                    raise self._reader.error
        except TimeoutError as cause:
            raise RequestTimeout(f"{self.address} did not answer within {timeout_ms} ms") from cause
        except OSError as cause:
            raise ConnectionGone(f"connection to {self.address} lost: {cause.strerror or cause}") from cause

    def _wait_until(self, until: float) -> None:
        left_s = until - monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class BlockingClient:
    """Connections by address, kept for the next request. Threads may share it: a connection is one's at a time."""

    def __init__(self) -> None:
        self._idle: dict[str, list[BlockingConnection]] = {}
        self._lock = Lock()
        self._closed = False

    async def call(self, address: str, header: Header, body: bytes = b"", *, timeout_ms: int = 3000) -> RemotingCommand:
        """Send a request and wait for its answer, connecting first when needed; both within `timeout_ms`.

        A coroutine that never waits: see `drive`.

        Raises:
            PeerError: Not connected, lost, or not answered in time.
            WireError: What came is not the remoting protocol.
        """
        until = monotonic() + timeout_ms / 1000
        connection = self._take(address) or BlockingConnection(address, until)
        try:
            answer = connection.call(header, body, until, timeout_ms)
        except BaseException:
            connection.close()  # an answer that comes late would be taken for the next one's
            raise
        self._give_back(connection)
        return answer

    def _take(self, address: str) -> BlockingConnection | None:
        with self._lock:
            if self._closed:
                raise ClientStopped(f"no connection to {address}: shutting down")
            idle = self._idle.get(address, [])
            while idle:
                connection = idle.pop()
                if connection.usable():
                    return connection
                connection.close()
        return None

    def _give_back(self, connection: BlockingConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.setdefault(connection.address, []).append(connection)
                return
        connection.close()

    async def together(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Run coroutines side by side in threads, and give their results in order.

        Raises:
            BaseException: The first of them that failed, in their order, after all have ended.
        """
        if len(works) < 2:
            return [await work() for work in works]
        todo = deque(enumerate(works))
        results: dict[int, T] = {}
        failures: dict[int, BaseException] = {}

        def labour() -> None:
            while True:
                try:
                    index, work = todo.popleft()
                except IndexError:
                    return
                try:
                    results[index] = drive(work())
                except BaseException as cause:  # noqa: BLE001  raised again below
                    failures[index] = cause

        threads = [Thread(target=labour, daemon=True) for _ in range(min(_THREADS_MAX, len(works)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[min(failures)]
        return [results[index] for index in range(len(works))]

    def close(self) -> None:
        """Close every connection; those in use when their request ends."""
        with self._lock:
            self._closed = True
            idle = [one for several in self._idle.values() for one in several]
            self._idle.clear()
        for connection in idle:
            connection.close()


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaits never wait, as those of `BlockingClient`, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("a coroutine on blocking connections waited for something else")
