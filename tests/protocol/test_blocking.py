"""Blocking connections against sockets of this machine: what a user of `mqadmin` sees of servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from rmqd.protocol.blocking import BlockingClient, drive
from rmqd.protocol.peer_errors import ClientStopped, ConnectFailed, ConnectionGone, RequestTimeout
from rmqwire.command import FLAG_RESPONSE, RemotingCommand, decode_command, encode_command
from rmqwire.errors import WireError
from rmqwire.frames import FrameReader
from rmqwire.requests.route import GetAllTopicListFromNameserver

Behaviour = Callable[[socket.socket, RemotingCommand], None]


def answer(connection: socket.socket, command: RemotingCommand, *, opaque: int | None = None) -> None:
    """Answer with success and the number of the request."""
    number = command.opaque if opaque is None else opaque
    reply = RemotingCommand(code=0, flag=FLAG_RESPONSE, opaque=number, body=str(number).encode())
    connection.sendall(encode_command(reply))


class Server:
    """Accepts, and does with each request what it is told."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = answer
        self.accepted: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = FrameReader()
        try:
            while data := connection.recv(65536):
                for frame in reader.receive(data):
                    self.behaviour(connection, decode_command(frame))
        except OSError:
            return

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self.accepted:
            connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def client() -> Iterator[BlockingClient]:
    client = BlockingClient()
    yield client
    client.close()


def ask(client: BlockingClient, address: str, timeout_ms: int = 5000) -> bytes:
    return drive(client.call(address, GetAllTopicListFromNameserver(), timeout_ms=timeout_ms)).body


def test_one_connection_serves_one_request_after_the_other(client: BlockingClient, server: Server) -> None:
    assert [ask(client, server.address) for _ in range(3)] == [b"1", b"2", b"3"]
    assert len(server.accepted) == 1


def test_an_answer_in_pieces_after_others_that_nobody_waits_for(client: BlockingClient, server: Server) -> None:
    def behave(connection: socket.socket, command: RemotingCommand) -> None:
        answer(connection, command, opaque=command.opaque + 7)
        connection.sendall(encode_command(RemotingCommand(code=40, flag=0, opaque=command.opaque)))
        reply = RemotingCommand(code=0, flag=FLAG_RESPONSE, opaque=command.opaque, body=b"x" * 600_000)
        data = encode_command(reply)
        connection.sendall(data[:5])
        connection.sendall(data[5:])

    server.behaviour = behave
    assert ask(client, server.address) == b"x" * 600_000


def test_a_server_that_is_silent_is_given_up_and_asked_on_a_new_connection(
    client: BlockingClient, server: Server
) -> None:
    server.behaviour = lambda connection, command: None
    with pytest.raises(RequestTimeout, match="did not answer within 50 ms"):
        ask(client, server.address, 50)
    server.behaviour = answer
    assert ask(client, server.address) == b"1"
    assert len(server.accepted) == 2


def test_a_server_that_hangs_up(client: BlockingClient, server: Server) -> None:
    server.behaviour = lambda connection, command: connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionGone, match="lost"):
        ask(client, server.address)


def test_a_connection_that_was_closed_meanwhile_is_made_anew(client: BlockingClient, server: Server) -> None:
    assert ask(client, server.address) == b"1"
    server.accepted[0].shutdown(socket.SHUT_RDWR)
    assert ask(client, server.address) == b"1"
    assert len(server.accepted) == 2


def test_what_is_not_the_protocol_is_an_error(client: BlockingClient, server: Server) -> None:
    server.behaviour = lambda connection, command: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(WireError):
        ask(client, server.address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:1", "no-port", "127.0.0.1:99999", "a..b:1"])
def test_addresses_nobody_listens_at(client: BlockingClient, address: str) -> None:
    with pytest.raises(ConnectFailed, match="cannot connect to"):
        ask(client, address)


def test_several_servers_are_asked_at_once(client: BlockingClient, server: Server) -> None:
    everybody = threading.Barrier(5)

    def behave(connection: socket.socket, command: RemotingCommand) -> None:
        everybody.wait(5)
        answer(connection, command)

    server.behaviour = behave

    async def one(index: int) -> int:
        await client.call(server.address, GetAllTopicListFromNameserver())
        return index

    assert drive(client.together([partial(one, index) for index in range(5)])) == list(range(5))


def test_the_first_failure_of_several_is_raised(client: BlockingClient) -> None:
    async def one(index: int) -> int:
        if index % 2:
            raise ValueError(index)
        return index

    with pytest.raises(ValueError, match="1"):
        drive(client.together([partial(one, index) for index in range(40)]))


def test_a_closed_client_connects_no_more(client: BlockingClient, server: Server) -> None:
    client.close()
    with pytest.raises(ClientStopped):
        ask(client, server.address)
