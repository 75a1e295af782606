"""The two ports of a broker: `listenPort`, and the VIP port two below it, which clients derive from the first.

They are bound before the store is opened, so that a port in use is found first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import CannotListenError

if TYPE_CHECKING:
    from rmqd.protocol.server import Listening, RemotingServer

VIP_DISTANCE = 2
_FREE_PAIR_TRIES = 50


async def listen_pair(server: RemotingServer, port: int) -> tuple[Listening, Listening]:
    """Bind the main port and the VIP port.

    Args:
        server: Binds them.
        port: The main port; 0 takes any that has a free one two below.

    Returns:
        The main and the VIP port, still without dispatchers.

    Raises:
        CannotListenError: A port is in use.
    """
    for tries_left in reversed(range(1 if port else _FREE_PAIR_TRIES)):
        main = server.listen(port)
        try:
            # as Java: below 0 there is no port, so any
            return main, server.listen(max(main.port - VIP_DISTANCE, 0))
        except CannotListenError as cause:
            await main.stop()
            if not tries_left:
                reason = getattr(cause.socketError, "strerror", None) or cause.socketError
                told = f"{reason} (the VIP port, {VIP_DISTANCE} below listenPort {main.port})"
                again = CannotListenError(cause.interface, cause.port, OSError(0, told))  # type: ignore[no-untyped-call]
                raise again from cause
    raise AssertionError("unreachable")
