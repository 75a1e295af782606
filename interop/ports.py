"""Free TCP ports on the loopback address, below the range that the kernel gives to clients."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 15000, 32000
TRIES = 500
_given: set[int] = set()
_random = random.Random()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(neighbours: tuple[int, ...] = (0,)) -> int:
    """Return a port such that it and its `neighbours` (offsets) are free and were not given before."""
    for _ in range(TRIES):
        port = _random.randrange(FIRST, LAST)
        wanted = [port + offset for offset in neighbours]
        if not _given.intersection(wanted) and all(_free(one) for one in wanted):
            _given.update(wanted)
            return port
    raise OSError(f"no free port found between {FIRST} and {LAST}")


def free_broker_port() -> int:
    """Return a `listenPort` whose VIP port (two below) and HA port (one above) are free too."""
    return free_port((-2, -1, 0, 1))
