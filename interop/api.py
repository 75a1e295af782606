"""Clients for cases: producers and consumers that live in the session's driver processes and are stopped after the case."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from interop.case import CaseFailure, shown
from interop.cluster import wait_topic
from interop.driver import ContainerDriver, Driver, DriverDied, DriverError, Line, go_driver, java_driver, until

JAVA = ("3.2.6", "4.2.0", "4.7.0", "5.5.0")
NEWEST = "5.5.0"
BINARY = "-Drocketmq.serialize.type=ROCKETMQ"

_names = itertools.count(1)


class Drivers:
    """The long-lived driver processes, one per client version and header type, started at first use."""

    def __init__(self, folder: Path, containers: bool) -> None:
        self.folder = folder
        self.containers = containers
        self._drivers: dict[str, Driver] = {}
        self._stops = ThreadPoolExecutor()

    def get(self, version: str, *, binary: bool = False) -> Driver:
        """Return the driver of a client version (`go` is one); with `binary`, one that writes binary headers."""
        name = f"{version}-binary" if binary else version
        if name not in self._drivers or self._drivers[name].popen.poll() is not None:
            self._drivers[name] = self.start(version, binary=binary, folder=self.folder / name)
        return self._drivers[name]

    def start(self, version: str, *, binary: bool = False, folder: Path) -> Driver:
        """Start a driver that the caller ends, for a case that needs a process to die."""
        options = [BINARY] if binary else []
        if version == "go":
            driver = go_driver(folder)
        elif self.containers:
            driver = ContainerDriver(version, folder, options)
        else:
            driver = java_driver(version, folder, options=options)
        return driver.wait_ready()

    def stop_later(self, clients: Iterable[Client]) -> None:
        """Stop clients of a case that is over while the next one runs: a producer of 5.5.0 takes 3 s to stop."""
        for client in clients:
            self._stops.submit(_stop_quietly, client)

    def close(self) -> None:
        """End all drivers."""
        self._stops.shutdown(cancel_futures=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Driver.close, self._drivers.values()))


class Client:
    """Something started in a driver under a name; `stop` shuts it down as a program would."""

    def __init__(self, driver: Driver, op: str, **arguments: object) -> None:
        self.driver = driver
        self.name = f"c{next(_names)}"
        self.started = driver.call(op, name=self.name, **arguments)
        self.running = True

    def call(self, op: str, **arguments: object) -> Line:
        """Run a command of the driver."""
        return self.driver.call(op, **arguments)

    def stop(self) -> None:
        """Shut the client down; nothing when it is."""
        if self.running:
            self.running = False
            self.driver.call("stop", name=self.name)


class Producer(Client):
    """A DefaultMQProducer, or the Go producer."""

    def send(
        self, topic: str, messages: Iterable[str | dict[str, Any]], mode: str = "sync", *, queue_id: int | None = None,
        broker: str | None = None,
    ) -> list[Line]:  # fmt: skip
        """Send messages (bodies, or objects of body/size/tag/keys/flag/properties) and return the results.

        Args:
            topic: where to.
            messages: what to send.
            mode: sync, async, oneway (no results) or batch (one result).
            queue_id: the queue to send to; the client picks one otherwise.
            broker: the broker of that queue.
        """
        objects = [{"body": message} if isinstance(message, str) else message for message in messages]
        answer = self.call(
            "send", producer=self.name, topic=topic, mode=mode, messages=objects, queue_id=queue_id, broker=broker
        )
        results: list[Line] = answer["results"]
        return results

    def request(self, topic: str, messages: Iterable[dict[str, Any]], *, wait_ms: int = 10_000) -> list[Line]:
        """Send requests one after the other and return their replies; each tells its request under `asked`.

        Raises:
            DriverError: a reply did not come in time.
        """
        answer = self.call("request", producer=self.name, topic=topic, messages=list(messages), wait_ms=wait_ms)
        replies: list[Line] = answer["replies"]
        return replies


class TransactionProducer(Client):
    """A TransactionMQProducer. Its messages tell what it does with them, see `interop/java/base/.../Plans.java`."""

    def send(self, topic: str, messages: Iterable[dict[str, Any]]) -> list[Line]:
        """Send half messages, each followed by its local transaction, and return the results."""
        answer = self.call("send_in_transaction", producer=self.name, topic=topic, messages=list(messages))
        results: list[Line] = answer["results"]
        return results

    def checks(self) -> list[Line]:
        """Return the checks that have come until now: the messages, with `answer`, what was answered."""
        return self.driver.received(self.name)

    def wait_checks(self, enough: Callable[[list[Line]], bool], timeout_s: float = 60.0) -> list[Line]:
        """Wait until `enough(checks)`, and return the checks."""
        return self.driver.wait_received(self.name, enough, timeout_s)


def transaction(body: str, local: str, check: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a message for a `TransactionProducer`.

    Args:
        body: its body.
        local: outcome of the local transaction: commit, rollback or unknown.
        check: comma list of the answers to the first check, the second, ...
        more: other members; `properties` are added to.
    """
    properties = {"local": local, **({} if check is None else {"check": check}), **more.pop("properties", {})}
    return {"body": body, "properties": properties, **more}


class Consumer(Client):
    """A push consumer, or a polled lite pull consumer."""

    def received(self) -> list[Line]:
        """Return what has come until now."""
        return self.driver.received(self.name)

    def wait(self, count: int, timeout_s: float = 60.0) -> list[Line]:
        """Wait for so many messages and return what has come.

        It takes half a minute when the first rebalancing of a 5.5.0 consumer meets its own heartbeat, both a second after
        its start: the broker is not told of the new subscription version before the next heartbeat, and answers 25 to all
        pulls until then. Official brokers do so too.
        """
        return self.driver.wait_received(self.name, lambda messages: len(messages) >= count, timeout_s)

    def acknowledged(self, topic: str, count: int, timeout_s: float = 30.0) -> None:
        """Wait until the brokers know that a consumer whose queues began at 0 has acknowledged so many messages.

        A consumer prints a message before it acknowledges it. Its offsets are committed once, as every 5 s they are
        anyway: when those of a topic arrive at the same time, an official broker may lose the first offset of a queue
        (4.7.0: `ConsumerOffsetManager.commitOffset` makes the table of a group twice).

        Raises:
            CaseFailure: it has not when the time is over.
        """

        def told(*, commit: bool = False) -> int:
            return int(self.call("acknowledged", consumer=self.name, topic=topic, commit=commit)["sum"])

        def in_hand() -> int:
            return int(self.call("in_hand", consumer=self.name, topic=topic)["sum"])

        if not until(lambda: in_hand() >= count, timeout_s):
            raise CaseFailure(f"{count} messages acknowledged by the consumer", str(in_hand()))
        if told(commit=True) < count and not until(lambda: told() >= count, timeout_s):
            raise CaseFailure(f"{count} messages acknowledged at the brokers", str(told()))

    def wait_bodies(self, bodies: Iterable[str], timeout_s: float = 60.0) -> list[Line]:
        """Wait until each of the bodies has come and return what has come."""
        wanted = set(bodies)
        return self.driver.wait_received(
            self.name, lambda messages: wanted <= {message["body"] for message in messages}, timeout_s
        )


class PullConsumer(Client):
    """A DefaultMQPullConsumer; also how a case asks for offsets and looks messages up."""

    def pull(self, topic: str, queue_id: int, offset: int, *, broker: str = "broker-a", **more: object) -> Line:
        """Pull once."""
        return self.call(
            "pull", consumer=self.name, topic=topic, broker=broker, queue_id=queue_id, offset=offset, **more
        )

    def queues(self, topic: str) -> list[Line]:
        """Return the queues that a consumer of the topic sees."""
        queues: list[Line] = self.call("queues", consumer=self.name, topic=topic)["queues"]
        return queues

    def offsets(self, topic: str, queue_id: int, *, broker: str = "broker-a", at_ms: int | None = None) -> Line:
        """Return min, max, earliest_at_ms and, with `at_ms`, what searchOffset found."""
        return self.call("offsets", client=self.name, topic=topic, broker=broker, queue_id=queue_id, at_ms=at_ms)

    def view(self, topic: str, msg_id: str) -> Line:
        """viewMessage."""
        message: Line = self.call("view", client=self.name, topic=topic, msg_id=msg_id)["message"]
        return message

    def query(self, topic: str, key: str, **more: object) -> list[Line]:
        """queryMessage."""
        messages: list[Line] = self.call("query", client=self.name, topic=topic, key=key, **more)["messages"]
        return messages

    def read_all(self, topic: str, *, broker: str = "broker-a", expression: str = "*") -> list[Line]:
        """Pull every queue of the topic from its first message to its last."""
        messages: list[Line] = []
        for queue in self.queues(topic):
            if queue["broker"] != broker:
                continue
            bounds = self.offsets(topic, queue["queue_id"], broker=broker)
            offset = bounds["min"]
            while offset < bounds["max"]:
                pulled = self.pull(topic, queue["queue_id"], offset, broker=broker, expression=expression)
                if pulled["next"] <= offset:
                    raise CaseFailure(f"a pull at {offset} below max {bounds['max']} that goes on", shown(pulled))
                messages += pulled["messages"]
                offset = pulled["next"]
        return messages


class Api:
    """What a case starts clients with. All of them are stopped after it has ended."""

    def __init__(self, drivers: Drivers) -> None:
        self.drivers = drivers
        self._clients: list[Client] = []
        self._number = next(_names)

    def fresh(self, word: str) -> str:
        """Return a name that no other case uses."""
        return f"{word}-{self._number}-{next(_names)}"

    def _keep(self, client: Any) -> Any:
        self._clients.append(client)
        return client

    def _driver(self, version: str, binary: bool, driver: Driver | None) -> Driver:
        return driver or self.drivers.get(version, binary=binary)

    def producer(
        self, namesrv: str, version: str = NEWEST, *, binary: bool = False, driver: Driver | None = None, **more: object
    ) -> Producer:
        """Start a producer."""
        arguments = {"group": self.fresh("PG"), "namesrv": namesrv, **more}
        producer: Producer = self._keep(Producer(self._driver(version, binary, driver), "producer", **arguments))
        return producer

    def transaction_producer(
        self, namesrv: str, version: str = NEWEST, *, driver: Driver | None = None, **more: object
    ) -> TransactionProducer:
        """Start a transaction producer."""
        arguments = {"group": self.fresh("PG"), "namesrv": namesrv, **more}
        producer: TransactionProducer = self._keep(
            TransactionProducer(self._driver(version, False, driver), "transaction_producer", **arguments)
        )
        return producer

    def responder(self, namesrv: str, topic: str, version: str = NEWEST, **more: object) -> Consumer:
        """Start a consumer that replies `reply to BODY` to each message; `sent` of a message is the send result."""
        arguments = {"group": self.fresh("CG"), "namesrv": namesrv, "topic": topic, **more}
        responder: Consumer = self._keep(Consumer(self.drivers.get(version), "responder", **arguments))
        return responder

    def consumer(
        self,
        namesrv: str,
        topic: str,
        version: str = NEWEST,
        *,
        binary: bool = False,
        driver: Driver | None = None,
        **more: object,
    ) -> Consumer:
        """Start a push consumer; its group is a new one unless given."""
        arguments = {"group": self.fresh("CG"), "namesrv": namesrv, "topic": topic, **more}
        consumer: Consumer = self._keep(Consumer(self._driver(version, binary, driver), "push_consumer", **arguments))
        return consumer

    def lite_pull(self, namesrv: str, topic: str, version: str = NEWEST, **more: object) -> Consumer:
        """Start a lite pull consumer."""
        arguments = {"group": self.fresh("CG"), "namesrv": namesrv, "topic": topic, **more}
        consumer: Consumer = self._keep(Consumer(self.drivers.get(version), "lite_pull", **arguments))
        return consumer

    def pull_consumer(
        self, namesrv: str, version: str = NEWEST, *, binary: bool = False, **more: object
    ) -> PullConsumer:
        """Start a DefaultMQPullConsumer."""
        arguments = {"group": self.fresh("CG"), "namesrv": namesrv, **more}
        consumer: PullConsumer = self._keep(
            PullConsumer(self.drivers.get(version, binary=binary), "pull_consumer", **arguments)
        )
        return consumer

    def schedule_pull(self, namesrv: str, topic: str, version: str = NEWEST, **more: object) -> Consumer:
        """Start a MQPullConsumerScheduleService."""
        arguments = {"group": self.fresh("CG"), "namesrv": namesrv, "topic": topic, **more}
        consumer: Consumer = self._keep(Consumer(self.drivers.get(version), "schedule_pull", **arguments))
        return consumer

    def lite_assign(
        self, namesrv: str, topic: str, queue_ids: list[int], version: str = NEWEST, **more: object
    ) -> Consumer:
        """Start a lite pull consumer of chosen queues that commits only when told; `lite_seek` and others steer it."""
        arguments = {
            "group": self.fresh("CG"), "namesrv": namesrv, "topic": topic, "broker": "broker-a", "queue_ids": queue_ids,
            **more,
        }  # fmt: skip
        consumer: Consumer = self._keep(Consumer(self.drivers.get(version), "lite_assign", **arguments))
        return consumer

    def mqadmin(self, namesrv: str, subcommand: str, *arguments: str, version: str = NEWEST) -> str:
        """Run a mqadmin subcommand by its official entry point and return what it prints on both streams."""
        answer = self.drivers.get(version).call("mqadmin", args=[subcommand, *arguments, "-n", namesrv])
        return str(answer["out"]) + str(answer["err"])

    def create_topic(
        self, namesrv: str, topic: str, queues: int = 4, *, version: str = NEWEST, cluster: str = "DefaultCluster"
    ) -> None:
        """Create a topic with mqadmin updateTopic, and wait until its route is told.

        Raises:
            CaseFailure: it does not say that it succeeded.
        """
        printed = self.mqadmin(
            namesrv, "updateTopic", "-c", cluster, "-t", topic, "-r", str(queues), "-w", str(queues), version=version
        )
        if "success" not in printed:
            raise CaseFailure("updateTopic prints `create topic to ... success.`", shown(printed))
        wait_topic(namesrv, cluster, topic, queues)

    def close(self) -> None:
        """Stop what still runs. A client that cannot stop is a failure of its own only where a case stops it itself."""
        self.drivers.stop_later(reversed(self._clients))


def _stop_quietly(client: Client) -> None:
    try:
        client.stop()
    except (DriverError, DriverDied):
        return


def bodies(count: int, word: str = "m") -> list[str]:
    """Return so many distinct message bodies."""
    return [f"{word}-{number}" for number in range(count)]


def steady(look: Callable[[], int], for_s: float = 1.5) -> int:
    """Return a count once it has not changed for a while: for cases that require that nothing more comes."""
    last, since = look(), time.monotonic()
    while time.monotonic() - since < for_s:
        time.sleep(0.05)
        now = look()
        if now != last:
            last, since = now, time.monotonic()
    return last
