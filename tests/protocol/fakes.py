"""A whole broker on a simulated clock and a small real store, with clients that talk to it by string transports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.wiring import Wire, connected, sent
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from rmqd.conf import load_broker_options
from rmqd.protocol.broker.delay import DelayLevels
from rmqd.protocol.broker.parts import BrokerParts
from rmqd.protocol.broker.store_options import store_options
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqd.store.messagestore import MessageStore
from rmqd.store.statefile import StateFile
from rmqwire.bodies import Body, ConsumerData, HeartbeatData, ProducerData, SubscriptionData
from rmqwire.codes import OUR_VERSION
from rmqwire.command import RemotingCommand, encode_command, ext_of
from rmqwire.declare import Header, Role, declaration_of
from rmqwire.message import encode_host
from rmqwire.requests import HeartBeat

NOW_MS = 1_795_000_000_000


def at_once(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
    """Stands for the threads of a broker: the work is done when the call returns."""
    return execute(call, *args, **kwargs)


class ManualThread:
    """Stands for the threads of a broker: work waits until the test lets it run."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((done, call, args))
        return done

    def run_one(self) -> None:
        done, call, args = self.jobs.pop(0)
        try:
            result = call(*args)
        except Exception:  # noqa: BLE001  as a thread does
            done.errback(Failure())
        else:
            done.callback(result)


def state_file(folder: Path, name: str, text: str | bytes | None = None) -> StateFile:
    """A state file in a folder, with a text in it if one is given."""
    path = folder / name
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return StateFile(path)


class Peer:
    """One client."""

    def __init__(self, world: BrokerWorld, client_id: str, version: int, language: str) -> None:
        self.client_id = client_id
        self.version = version
        self.language = language
        self.connection: RemotingConnection
        self.wire: Wire
        self.connection, self.wire = connected(world.dispatcher, world.reactor)
        self._opaque = 100

    def send(self, header: Header, body: bytes = b"", *, flag: int = 0) -> int:
        """Send a request; give its opaque number."""
        self._opaque += 1
        command = RemotingCommand(
            declaration_of(type(header)).code,
            opaque=self._opaque,
            flag=flag,
            version=self.version,
            language=self.language,
            ext=ext_of(header),
            body=body,
        )
        self.connection.dataReceived(encode_command(command))
        return self._opaque

    def ask(self, header: Header, body: bytes | Body = b"") -> RemotingCommand:
        """Send a request and take its answer; whatever else had come is dropped."""
        opaque = self.send(header, body if isinstance(body, bytes) else body.encode())
        answers = [command for command in sent(self.wire) if command.is_response and command.opaque == opaque]
        assert len(answers) == 1, f"{len(answers)} answers to {header}"
        return answers[0]

    def beat(
        self,
        *groups: str,
        topics: tuple[str, ...] = ("T",),
        version: int = 1,
        producers: tuple[str, ...] = (),
        **members: Any,
    ) -> RemotingCommand:
        """Send a heartbeat of clustering push consumers and of producers."""
        data = HeartbeatData(
            client_id=self.client_id,
            consumer_data_set=[consumer(group, topics, version) for group in groups],
            producer_data_set=[ProducerData(group_name=group) for group in producers],
            **members,
        )
        return self.ask(HeartBeat(), data)

    def told(self) -> list[int]:
        """Take the codes of the requests that the broker has sent to this client."""
        return [command.code for command in sent(self.wire) if not command.is_response]

    def leave(self) -> None:
        """Close the connection."""
        self.connection.connectionLost(Failure(ConnectionDone()))


def consumer(group: str, topics: tuple[str, ...] = ("T",), version: int = 1, **members: Any) -> ConsumerData:
    """A clustering push consumer of all messages of some topics, as a heartbeat describes it."""
    members.setdefault("consume_type", "CONSUME_PASSIVELY")
    members.setdefault("message_model", "CLUSTERING")
    members.setdefault("consume_from_where", "CONSUME_FROM_LAST_OFFSET")
    return ConsumerData(
        group_name=group,
        subscription_data_set=[SubscriptionData(topic=topic, sub_string="*", sub_version=version) for topic in topics],
        **members,
    )


class BrokerWorld:
    """A broker without ports: its parts, its store, its dispatcher."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1000)  # a clock that starts at zero hides comparisons with 0
        keys = {
            "storePathRootDir": str(folder / "store"),
            "storePathCommitLog": str(folder / "store" / "commitlog"),
            "brokerIP1": "127.0.0.1",
            "brokerName": "broker-a",
            "brokerClusterName": "C",
            "mappedFileSizeCommitLog": str(1 << 20),
            "maxHashSlotNum": "100",
            "maxIndexNum": "400",
            **keys,
        }
        self.options = load_broker_options(None, keys, {"HOME": str(folder)})
        levels = DelayLevels(self.options.store.message_delay_level)
        self.store = MessageStore(
            store_options(self.options, encode_host("127.0.0.1", 10911)),
            wall_clock_ms=wall_clock_ms,
            delivery_time_ms=levels.deliver_at_ms,
        )
        self.store.open()
        self.parts = BrokerParts(self.options, self.store, self.reactor, at_once, "127.0.0.1:10911", levels)
        self.dispatcher = Dispatcher(
            Role.BROKER,
            self.parts.handlers,
            barrier=self.parts.flow,
            gate=self.parts.flow,
            runs=self.parts.send_runs,
        )
        self.parts.static_topics.stand_before(self.dispatcher)

    def peer(self, client_id: str = "client", *, version: int = OUR_VERSION, language: str = "JAVA") -> Peer:
        """A new connection."""
        return Peer(self, client_id, version, language)

    def put(self, topic: str, queue_id: int, *bodies: bytes, keys: tuple[str, ...] = ()) -> list[int]:
        """Store messages; give their positions in the log."""
        positions = []
        for body in bodies:
            put = self.store.stage(
                topic,
                queue_id,
                body,
                b"",
                tags_code=0,
                keys=keys,
                flag=0,
                sys_flag=0,
                born_timestamp=NOW_MS,
                born_host=encode_host("127.0.0.1", 1),
            )
            self.store.commit()
            positions.append(put.physical_offset)
        return positions

    def turn(self) -> None:
        """Let what was put off to the next turn of the reactor happen."""
        self.reactor.advance(0)

    def close(self) -> None:
        """Close the store."""
        self.store.close()
