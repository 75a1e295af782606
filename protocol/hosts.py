"""Addresses as text and as the bytes that records store."""

from __future__ import annotations

import ipaddress
import socket

from rmqwire.message import encode_host

from .addresses import parse_address as parse_address


def host_bytes(ip: str, port: int) -> bytes:
    """Pack a peer's address as records do; an IPv4-mapped IPv6 address counts as IPv4, a scope id is left out.

    Raises:
        ValueError: `ip` is not an address.
    """
    if ":" not in ip:
        return encode_host(ip, port)
    address = ipaddress.ip_address(ip.partition("%")[0])
    return encode_host(str(getattr(address, "ipv4_mapped", None) or address), port)


def numeric_address(host: str) -> str:
    """Give an address itself, or the first one of a name, as Java looks `brokerIP1` up for the records.

    Raises:
        OSError: The name is not known.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return host
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as cause:  # an empty or too long part between dots
        raise OSError(f"{host!r} is no name") from cause
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # records of old clients have four bytes for it
    return str(found[0][4][0])


def all_addresses(host: str) -> list[str]:
    """Give every address of a name, each once; waits for the name server.

    Raises:
        OSError: The name is not known.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as cause:
        raise OSError(f"{host!r} is no name") from cause
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
