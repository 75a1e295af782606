"""Addresses as people write them in `brokerIP1`, `namesrvAddr` and requests."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from rmqd.protocol.hosts import host_bytes, numeric_address, parse_address


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "2001:db8::7"])
def test_addresses_are_not_looked_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked a resolver"))
    assert numeric_address(address) == address


def test_of_a_name_the_ipv4_address_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients before 4.5 only read four bytes."""
    found: list[Any] = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(found))
    assert numeric_address("broker-a") == "10.0.0.1"
    del found[1]
    assert numeric_address("broker-a") == "2001:db8::7"


@pytest.mark.parametrize("name", ["x" * 64, "a..b"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(OSError, match="no name"):
        numeric_address(name)


def test_mapped_addresses_are_stored_in_four_bytes() -> None:
    assert host_bytes("::ffff:10.0.0.1", 9) == host_bytes("10.0.0.1", 9)
    assert host_bytes("fe80::1%eth0", 9) == host_bytes("fe80::1", 9)
    assert len(host_bytes("fe80::1", 9)) == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host:10911", ("host", 10911)),
        ("host", ("host", 7)),
        ("[::1]:10911", ("::1", 10911)),
        ("[::1]", ("::1", 7)),
        ("::1", ("::1", 7)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, 7) == expected


@pytest.mark.parametrize("text", ["host:70000", "host:port"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_address(text, 7)
