"""A TCP relay between two processes: a link that a test can cut, slow down and heal."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_READ_BYTES = 1 << 16


class Relay:
    """Passes connections to its own port on to a port of 127.0.0.1, both ways.

    Args:
        target: The port behind it; may be replaced.

    Attributes:
        delay_s: How long each piece is held back.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self._cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and each new one at once."""
        with self._lock:
            self._cut = True
            ends, self._open = self._open, set()
        for end in ends:
            _break(end)

    def heal(self) -> None:
        """Pass connections on again, without delay."""
        self.delay_s = 0.0
        with self._lock:
            self._cut = False

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                near.close()
                continue
            with self._lock:
                cut = self._cut
                if not cut:
                    self._open |= {near, far}
            if cut:
                _break(near)
                _break(far)
                continue
            for one, other in ((near, far), (far, near)):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(_READ_BYTES):
                if self.delay_s:
                    time.sleep(self.delay_s)
                other.sendall(data)
        except OSError:
            pass  # cut, or one side has gone: so has the other, below
        with self._lock:
            self._open -= {one, other}
        _break(one)
        _break(other)


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
