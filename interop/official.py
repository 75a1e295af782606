"""Official name servers and brokers of a version, as children of this process.

with official.name_server("5.5.0", folder / "ns") as ns, official.broker("5.5.0", folder / "b", ns.address) as b: ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from interop import jvm
from interop.jars import classpath
from interop.ports import free_port
from interop.process import Process
from interop.server import CONTROLLER_READY, Broker, NameServer, Server, write_properties

QUICK_START = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""Servers of a case live for seconds: what the best compiler and a parallel collector cost is never earned back."""
BROKER_OPTIONS = ["-Xms256m", "-Xmx1g", "-Xmn128m", *QUICK_START]
NAME_SERVER_OPTIONS = ["-Xms64m", "-Xmx256m", *QUICK_START]


def controller_properties(folder: Path, port: int, ports: Sequence[int] = ()) -> dict[str, object]:
    """Properties of a controller, in a file of its own or in that of a name server.

    Args:
        folder: where it keeps what it knows.
        port: its own.
        ports: those of all controllers of its group; it is alone without.
    """
    all_ports = list(ports) or [port]
    return {
        "controllerType": "DLedger",
        "controllerDLegerGroup": "group1",
        "controllerDLegerPeers": ";".join(f"n{number}-127.0.0.1:{one}" for number, one in enumerate(all_ports)),
        "controllerDLegerSelfId": f"n{all_ports.index(port)}",
        "controllerStorePath": folder / "controller",
        "mappedFileSize": 4 << 20,
        "scanNotActiveBrokerInterval": 500,
        "scanInactiveMasterInterval": 1000,
    }


class OfficialNameServer(NameServer):
    """The official name server of one version."""

    def __init__(self, version: str, folder: Path, port: int | None = None, options: list[str] | None = None) -> None:
        super().__init__(folder, port)
        self.version = version
        self.options = NAME_SERVER_OPTIONS if options is None else options

    def launch(self) -> Process:
        home = jvm.java_home_folder(self.folder / "home")
        file = write_properties(
            self.folder / "namesrv.conf", {"listenPort": self.port, "rocketmqHome": home, **self.properties}
        )
        argv = jvm.command(
            classpath(self.version), "org.apache.rocketmq.namesrv.NamesrvStartup", "-c", str(file),
            options=self.options, user_home=home,
        )  # fmt: skip
        return Process(argv, log=self.folder / "namesrv.out", env=jvm.environment(home))


class OfficialBroker(Broker):
    """The official broker of one version."""

    def __init__(
        self, version: str, folder: Path, name_servers: str, properties: Mapping[str, object] | None = None,
        port: int | None = None, options: list[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(folder, name_servers, properties, port)
        self.version = version
        self.options = BROKER_OPTIONS if options is None else options

    def launch(self) -> Process:
        home = jvm.java_home_folder(self.folder / "home")
        argv = jvm.command(
            classpath(self.version), "org.apache.rocketmq.broker.BrokerStartup", "-c", str(self.write_configuration()),
            options=self.options, user_home=home,
        )  # fmt: skip
        return Process(argv, log=self.folder / "broker.out", env=jvm.environment(home))


class OfficialController(Server):
    """The official controller of 5.5.0, which elects masters."""

    ready = CONTROLLER_READY

    def __init__(self, version: str, folder: Path, port: int | None = None, ports: Sequence[int] = ()) -> None:
        super().__init__(folder, port or free_port())
        self.version = version
        self.ports = ports

    def launch(self) -> Process:
        home = jvm.java_home_folder(self.folder / "home")
        properties = {"rocketmqHome": home, **controller_properties(self.folder, self.port, self.ports)}
        file = write_properties(self.folder / "controller.conf", properties)
        argv = jvm.command(
            classpath(self.version), "org.apache.rocketmq.controller.ControllerStartup", "-c", str(file),
            options=NAME_SERVER_OPTIONS, user_home=home,
        )  # fmt: skip
        return Process(argv, log=self.folder / "controller.out", env=jvm.environment(home))


@contextlib.contextmanager
def name_server(
    version: str, folder: Path, port: int | None = None, options: list[str] | None = None
) -> Iterator[OfficialNameServer]:
    """Run an official name server until the block ends; `options` are JVM options instead of the small defaults."""
    server = OfficialNameServer(version, folder, port, options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def broker(
    version: str, folder: Path, name_servers: str, properties: Mapping[str, object] | None = None,
    port: int | None = None, options: list[str] | None = None,
) -> Iterator[OfficialBroker]:  # fmt: skip
    """Run an official broker until the block ends; `properties` overrule those of `interop.server.Broker`."""
    server = OfficialBroker(version, folder, name_servers, properties, port, options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
