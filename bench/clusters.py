"""Sides of more processes: a SYNC_MASTER with its slave, and two brokers that `rmqd up` runs."""

from __future__ import annotations

from pathlib import Path

from bench.servers import BROKER_OPTIONS, OFFICIAL_VERSION, Official, Ours, Side
from interop.official import OfficialBroker
from interop.ours import program
from interop.ports import free_broker_port, free_port
from interop.process import Process
from interop.server import write_properties
from rmqd.protocol.siblings import PORT_STEP


class OfficialSyncMaster(Official):
    """The official name server, a master that waits for its slave, and the slave."""

    def prepare(self) -> None:
        super().prepare()
        self._broker.properties = {
            **self._broker.properties, "brokerRole": "SYNC_MASTER", "haListenPort": self.port + 1,
        }  # fmt: skip
        slave_port = free_broker_port()
        self._slave = OfficialBroker(
            OFFICIAL_VERSION, self.folder / "slave", self.namesrv_address, port=slave_port, options=BROKER_OPTIONS
        )
        store = self._slave.store
        self._slave.properties = {
            **self._broker.properties, "brokerRole": "SLAVE", "brokerId": 1, "listenPort": slave_port,
            "haListenPort": slave_port + 1, "haMasterAddress": f"127.0.0.1:{self.port + 1}",
            "storePathRootDir": store, "storePathCommitLog": store / "commitlog",
        }  # fmt: skip

    def launch(self) -> list[Process]:
        name_server, master = super().launch()
        return [name_server, self._slave.launch(), master]


class OursSyncMaster(Ours):
    """Ours, each by itself: name server, a master that waits for its slave, and the slave."""

    def launch(self) -> list[Process]:
        name_server = write_properties(
            self.folder / "namesrv.conf",
            {
                "listenPort": self.namesrv_port, "bindAddress": "127.0.0.1",
                "kvConfigPath": self.folder / "kvConfig.json",
            },
        )  # fmt: skip
        slave_port = free_broker_port()
        return [
            Process(
                [program("mqnamesrv"), "-c", str(name_server)], log=self.folder / "mqnamesrv.out", cwd=self.folder
            ),
            self._broker("slave", slave_port, {
                "brokerRole": "SLAVE", "brokerId": 1, "haMasterAddress": f"127.0.0.1:{self.port + 1}",
            }),
            self._broker("master", self.port, {"brokerRole": "SYNC_MASTER"}),
        ]  # fmt: skip

    def _broker(self, name: str, port: int, properties: dict[str, object]) -> Process:
        file = write_properties(
            self.folder / f"{name}.conf",
            {
                "brokerName": "broker-a", "brokerIP1": "127.0.0.1", "brokerIP2": "127.0.0.1", "listenPort": port,
                "haListenPort": port + 1, "bindAddress": "127.0.0.1", "namesrvAddr": self.namesrv_address,
                "storePathRootDir": self.folder / name, **properties,
            },
        )  # fmt: skip
        return Process([program("mqbroker"), "-c", str(file)], log=self.folder / f"{name}.out", cwd=self.folder)


class OursSeveral(Ours):
    """`rmqd up --brokers N`."""

    brokers = 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port(
            tuple(PORT_STEP * number + offset for number in range(self.brokers) for offset in (-2, -1, 0, 1))
        )

    @property
    def ports(self) -> list[int]:
        """Of the brokers."""
        return [self.port + PORT_STEP * number for number in range(self.brokers)]

    def launch(self) -> list[Process]:
        argv = [*self.arguments(), "--brokers", str(self.brokers)]
        return [Process(argv, log=self.folder / "rmqd.out", cwd=self.folder)]


class OursTwo(OursSeveral):
    """Two broker processes."""

    brokers = 2


def beside(side: Side, kind: type[Side], name: str) -> Side:
    """Give another side in a folder beside that of one; not running yet."""
    return kind(side.folder.with_name(f"{side.folder.name}-{name}"))
