"""A name server on a simulated clock, and peers that talk to it by string transports."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
from protocol.wiring import Wire, sent
from twisted.internet.defer import Deferred, execute
from twisted.internet.testing import MemoryReactorClock

from rmqd.conf import NamesrvOptions, load_namesrv_options
from rmqd.protocol.namesrv.service import NameServer
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.bodies import DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper
from rmqwire.codes import RequestCode, ResponseCode, Version
from rmqwire.command import RemotingCommand, encode_command


def namesrv_options(folder: Path, **keys: str) -> NamesrvOptions:
    """Options with all files in `folder`."""
    keys = {
        "kvConfigPath": str(folder / "kvConfig.json"),
        "configStorePath": str(folder / "namesrv.properties"),
        "listenPort": "0",
        **keys,
    }
    return load_namesrv_options(None, keys, {"HOME": str(folder)})


class NameServerWorld:
    """The server and its clock; blocking work runs at once."""

    def __init__(self, folder: Path, reactor: MemoryReactorClock | None = None, **keys: str) -> None:
        self.reactor = reactor or MemoryReactorClock()
        if reactor is None:
            self.reactor.advance(1000)  # a clock that starts at zero hides comparisons with 0
        self.endpoint_calls: list[tuple[str, int]] = []
        self.options = namesrv_options(folder, **keys)
        self.server = NameServer(
            self.options, self.reactor, run_in_thread=lambda call, *args: execute(call, *args), endpoint=self._endpoint
        )

    def _endpoint(self, host: str, port: int) -> Any:
        self.endpoint_calls.append((host, port))
        return _NoEndpoint()

    def peer(self, version: int = Version.V5_5_0) -> Peer:
        return Peer(self, version)

    def route(self, topic: str) -> Any:
        """The route as a current client reads it; None when there is none."""
        answer = self.peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic=topic)
        if answer.code == ResponseCode.TOPIC_NOT_EXIST:
            return None
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        return msgspec.json.decode(answer.body)

    def master_addresses(self, topic: str) -> list[str]:
        """Where a client may send messages of a topic; nowhere when there is no route."""
        route = self.route(topic)
        if route is None:
            return []
        writable = {of["brokerName"] for of in route["queueDatas"] if of["perm"] & 2}
        return [of["brokerAddrs"]["0"] for of in route["brokerDatas"] if of["brokerName"] in writable]


class _NoEndpoint:
    def connect(self, factory: object) -> Deferred[Any]:
        return Deferred()


class Peer:
    """One connection to the server."""

    def __init__(self, world: NameServerWorld, version: int) -> None:
        self.world = world
        self.version = version
        self.wire = Wire()
        self.connection = RemotingConnection(world.server.dispatcher, world.reactor)
        self.connection.makeConnection(self.wire)
        self._opaque = 0

    def send(self, code: int, body: bytes = b"", *, oneway: bool = False, **ext: str) -> None:
        self._opaque += 1
        flag = 2 if oneway else 0
        command = RemotingCommand(code, opaque=self._opaque, flag=flag, version=self.version, ext=ext, body=body)
        self.connection.dataReceived(encode_command(command))

    def ask(self, code: int, body: bytes = b"", **ext: str) -> RemotingCommand:
        self.send(code, body, **ext)
        answers = sent(self.wire)
        assert len(answers) == 1
        assert answers[0].opaque == self._opaque
        return answers[0]

    def drop(self) -> None:
        """The connection breaks."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.connection.connectionLost(Failure(ConnectionLost()))

    def register(
        self,
        *topics: TopicConfig | str,
        version: int = 1,
        state_version: int = 0,
        name: str = "broker-a",
        cluster: str = "DefaultCluster",
        broker_id: int = 0,
        address: str = "10.0.0.1:10911",
        ha: str = "10.0.0.1:10912",
        body: bytes | None = None,
        **ext: str,
    ) -> RemotingCommand:
        """Register a broker as a 5.x one does."""
        if body is None:
            body = register_body(*topics, version=version, state_version=state_version)
        fields = {
            "brokerName": name,
            "brokerAddr": address,
            "clusterName": cluster,
            "haServerAddr": ha,
            "brokerId": str(broker_id),
            "bodyCrc32": str(zlib.crc32(body) & 0x7FFFFFFF),
            **ext,
        }
        return self.ask(RequestCode.REGISTER_BROKER, body, **fields)


def topic(name: str, *, queues: int = 4, perm: int = 6, flag: int = 0) -> TopicConfig:
    return TopicConfig(topic_name=name, read_queue_nums=queues, write_queue_nums=queues, perm=perm, topic_sys_flag=flag)


def register_body(*topics: TopicConfig | str, version: int = 1, state_version: int = 0) -> bytes:
    """A registration's body; two topics nobody asks for make it a whole table."""
    configs = [topic(of) if isinstance(of, str) else of for of in topics]
    return RegisterBrokerBody(
        topic_config_serialize_wrapper=TopicConfigAndMappingSerializeWrapper(
            data_version=DataVersion(counter=version, timestamp=version, state_version=state_version),
            topic_config_table={of.topic_name: of for of in configs if of.topic_name},
        )
    ).encode()
