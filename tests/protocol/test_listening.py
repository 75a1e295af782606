"""The two ports of a broker, which clients derive from each other."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from rmqd.protocol.broker.listening import listen_pair
from rmqd.protocol.server import RemotingServer


class Reactor(MemoryReactorClock):
    """Gives port numbers as a kernel does, and refuses the ones in use."""

    def __init__(self, *free: int, used: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.free = list(free)
        self.used = set(used)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        port = port or self.free.pop(0)
        if port in self.used:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


def pair(reactor: Reactor, port: int) -> tuple[int, int] | BaseException:
    got: list[Any] = []
    server = RemotingServer(reactor, reactor, "127.0.0.1")
    Deferred.fromCoroutine(listen_pair(server, port)).addBoth(got.append)
    if isinstance(got[0], Failure):
        assert got[0].value is not None
        return got[0].value
    main, vip = got[0]
    return main.port, vip.port


@pytest.mark.parametrize(("port", "vip"), [(10911, 10909), (3, 1)])
def test_the_vip_port_is_two_below(port: int, vip: int) -> None:
    assert pair(Reactor(), port) == (port, vip)


@pytest.mark.parametrize("port", [1, 2])
def test_below_the_first_port_there_is_any(port: int) -> None:
    assert pair(Reactor(40000), port) == (port, 40000)


def test_any_port_is_one_whose_vip_port_is_free() -> None:
    """Several brokers on one machine take ports next to each other."""
    assert pair(Reactor(40001, 40002, 40003, used=(39999, 40000)), 0) == (40003, 40001)


def test_a_given_port_is_not_replaced() -> None:
    error = pair(Reactor(used=(10909,)), 10911)
    assert isinstance(error, CannotListenError)
    assert error.port == 10909
    assert "VIP port, 2 below listenPort 10911" in str(error)


def test_looking_for_a_free_pair_ends() -> None:
    error = pair(Reactor(*range(40000, 40200, 4), used=tuple(range(39998, 40198, 4))), 0)
    assert isinstance(error, CannotListenError)
