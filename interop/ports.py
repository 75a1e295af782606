"""Free TCP ports on the loopback address, below the range that the kernel gives to clients.

A port given here is held by a locked file until this process ends: an official broker takes up to half a minute until
it listens, and another run of the suite on the machine must not take its port meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 15000, 32000
TRIES = 500
_held: dict[int, int] = {}
_random = random.Random()


def _hold(port: int) -> bool:
    """Hold a port against other runs; False when one holds it, or we do."""
    if port in _held:
        return False
    folder = Path(tempfile.gettempdir()) / f"rmqd-interop-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _held[port] = file
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def free_port(neighbours: tuple[int, ...] = (0,)) -> int:
    """Return a port such that it and its `neighbours` (offsets) are free and were not given before."""
    for _ in range(TRIES):
        port = _random.randrange(FIRST, LAST)
        if all(_hold(port + offset) and not _listens(port + offset) for offset in neighbours):
            return port
    raise OSError(f"no free port found between {FIRST} and {LAST}")


def free_broker_port() -> int:
    """Return a `listenPort` whose VIP port (two below) and HA port (one above) are free too."""
    return free_port((-2, -1, 0, 1))
