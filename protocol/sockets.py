"""What the configuration says about sockets, for both sides of a connection.

Servers and the client do not read the configuration; they are given one of these.
Source: `NettyRemotingServer`, `NettyRemotingClient` (5.3.4).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rmqd.conf.keys.netty import NettyClientConfig, NettyServerConfig


class SocketSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Buffers, the queue of the port, and how long silence is borne."""

    send_buffer_bytes: int = 0
    """`serverSocketSndBufSize`, `clientSocketSndBufSize`; 0 leaves it to the system."""
    receive_buffer_bytes: int = 0
    """`serverSocketRcvBufSize`, `clientSocketRcvBufSize`; 0 leaves it to the system."""
    idle_timeout_s: float = 120
    """`serverChannelMaxIdleTimeSeconds`, `clientChannelMaxIdleTimeSeconds`: without a byte in either direction; 0 is
    never."""
    backlog: int = 1024
    """`serverSocketBacklog`: connections that the kernel queues for us."""
    connect_timeout_ms: int = 3000
    """`connectTimeoutMillis`: of one attempt to connect."""
    close_if_timeout: bool = True
    """`clientCloseSocketIfTimeout`: whether a connection on which an answer is overdue is given up."""

    def size_buffers(self, transport: object) -> None:
        """Give a connection the buffers asked for; what is no socket (a test's) is left alone."""
        get_handle = getattr(transport, "getHandle", None)
        if get_handle is None or not (self.send_buffer_bytes or self.receive_buffer_bytes):
            return
        handle: socket.socket = get_handle()
        if self.send_buffer_bytes:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer_bytes)
        if self.receive_buffer_bytes:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer_bytes)


DEFAULT_SOCKETS = SocketSettings()


def server_sockets(server: NettyServerConfig) -> SocketSettings:
    """What a port and the connections it accepts are like."""
    return SocketSettings(
        send_buffer_bytes=server.server_socket_snd_buf_size,
        receive_buffer_bytes=server.server_socket_rcv_buf_size,
        idle_timeout_s=server.server_channel_max_idle_time_seconds,
        backlog=server.server_socket_backlog,
    )


def client_sockets(client: NettyClientConfig) -> SocketSettings:
    """What the connections to other servers are like."""
    return SocketSettings(
        send_buffer_bytes=client.client_socket_snd_buf_size,
        receive_buffer_bytes=client.client_socket_rcv_buf_size,
        idle_timeout_s=client.client_channel_max_idle_time_seconds,
        connect_timeout_ms=client.connect_timeout_millis,
        close_if_timeout=client.client_close_socket_if_timeout,
    )
