"""What computed defaults depend on: the environment, the processors, the host's name and address.

It is asked once, while options are loaded. The address is looked up only if no option sets it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# linux/sockios.h and net/if.h
_SIOCGIFADDR = 0x8915
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_POINTOPOINT = 0x10
_IFREQ_NAME_BYTES = 16


class Surroundings:
    """The machine and the environment as the defaults see them; every value may be given instead of asked for."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        cpu_count: int | None = None,
        host_name: str | None = None,
        local_address: str | None = None,
    ) -> None:
        self.environ = environ
        self.cpu_count = len(os.sched_getaffinity(0)) if cpu_count is None else cpu_count
        self.host_name = os.uname().nodename if host_name is None else host_name
        self._local_address = local_address

    @property
    def user_home(self) -> str:
        """Java's `user.home`: the folder under which stores and logs lie by default."""
        return self.environ.get("HOME") or os.path.expanduser(f"~{_user_name()}")

    @property
    def local_address(self) -> str:
        """The address that a broker gives to its clients when none is configured."""
        if self._local_address is None:
            self._local_address = choose_local_address(_interface_addresses())
        return self._local_address


def choose_local_address(addresses: Iterable[str]) -> str:
    """The first public IPv4 address, else the last private one, else 127.0.0.1.

    Source: `org.apache.rocketmq.common.utils.NetworkUtil.getLocalInetAddress`, 5.5.0. Java would go on to IPv6
    addresses on a machine without any IPv4 address; there `brokerIP1` has to be set.
    """
    private: str | None = None
    for address in addresses:
        if not _is_internal(address):
            return address
        private = address
    return private or "127.0.0.1"


def _is_internal(address: str) -> bool:
    first, second = (int(part) for part in address.split(".")[:2])
    return first in (10, 127) or (first == 172 and 16 <= second <= 31) or (first == 192 and second == 168)


def _interface_addresses() -> list[str]:
    """IPv4 addresses of interfaces that are up, no loopback, bridge or point-to-point link, in kernel order."""
    import fcntl
    import socket
    import struct

    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            if os.path.isdir(f"/sys/class/net/{name}/bridge"):
                continue
            request = name.encode()[: _IFREQ_NAME_BYTES - 1].ljust(40, b"\0")
            try:
                flags = struct.unpack_from("H", fcntl.ioctl(probe.fileno(), _SIOCGIFFLAGS, request), _IFREQ_NAME_BYTES)[
                    0
                ]
                reply = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an IPv4 address, or gone meanwhile
                continue
            if flags & _IFF_UP and not flags & (_IFF_LOOPBACK | _IFF_POINTOPOINT):
                found.append(socket.inet_ntoa(reply[20:24]))
    return found


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
