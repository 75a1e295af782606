"""Addresses as people write them. Must import nothing: `mqadmin` reads it at its start."""

from __future__ import annotations


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port` or `host`.

    Raises:
        ValueError: The port is not a number between 0 and 65535.
    """
    host, _, port = text.rpartition(":")
    if not host or text.endswith("]") or (":" in host and not host.startswith("[")):
        return text.strip("[]"), default_port
    number = int(port)
    if not 0 <= number <= 65535:
        raise ValueError(f"port {number} is not between 0 and 65535")
    return host.strip("[]"), number
