"""The two sides of a comparison, each on fresh folders: official name server and broker, and `rmqd up`."""

from __future__ import annotations

import compileall
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

from bench.procfs import cpu_seconds, resident_mib
from bench.wire import seconds_to_first_send
from interop import jvm
from interop.jars import classpath
from interop.official import OfficialBroker, OfficialNameServer
from interop.ours import program
from interop.ports import free_broker_port, free_port
from interop.process import Process, ProcessFailed

OFFICIAL_VERSION = "5.5.0"
BROKER_OPTIONS = [
    "-server", "-Xms2g", "-Xmx2g", "-XX:+UseG1GC", "-XX:G1HeapRegionSize=16m", "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30", "-XX:SoftRefLRUPolicyMSPerMB=0", "-XX:-OmitStackTraceInFastThrow",
]  # fmt: skip
"""As the official runbroker.sh, with 2 GB instead of 8 GB and without touching the whole heap at the start."""
NAME_SERVER_OPTIONS = ["-server", "-Xms512m", "-Xmx512m"]
START_TIMEOUT_S = 60.0
PACKAGES = ("rmqwire", "rmqd.conf", "rmqd.store", "rmqd.protocol")


class Side:
    """One side, running or not.

    Attributes:
        name: `official` or `ours`.
        start_s: From the start of the process until the first SEND_OK.
    """

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namesrv_port = free_port()
        self.port = free_broker_port()
        self.start_s = 0.0
        self.processes: list[Process] = []

    @property
    def namesrv_address(self) -> str:
        """What clients are given."""
        return f"127.0.0.1:{self.namesrv_port}"

    @property
    def broker_pid(self) -> int:
        """The process that serves the broker's port."""
        return self.processes[-1].pid

    def launch(self) -> list[Process]:
        """Start the processes without waiting; the broker's is the last."""
        raise NotImplementedError

    def start(self) -> None:
        """Start on an empty folder, and time it until the first message is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.prepare()
        began_at = time.monotonic()
        self.processes = self.launch()
        self.start_s = seconds_to_first_send(self.port, began_at, START_TIMEOUT_S, self._check)

    def _check(self) -> bool:
        for process in self.processes:
            if not process.alive():
                raise ProcessFailed(f"{process.log.name} ended by itself:\n{process.tail(5)}")
        return True

    def prepare(self) -> None:
        """Do what is no part of a start: write configurations, resolve jars."""

    def stop(self) -> None:
        """End the processes, by their ids, and remove the store."""
        for process in reversed(self.processes):
            process.end()
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def resident_mib(self) -> float:
        """Return the resident memory of all processes."""
        return sum(resident_mib(process.pid) for process in self.processes)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the broker's process has used."""
        return cpu_seconds(self.broker_pid)


class Official(Side):
    """The official name server and broker with their default settings (ASYNC_FLUSH, ASYNC_MASTER)."""

    name = "official"

    def prepare(self) -> None:
        classpath(OFFICIAL_VERSION)
        self._name_server = OfficialNameServer(
            OFFICIAL_VERSION, self.folder / "namesrv", self.namesrv_port, NAME_SERVER_OPTIONS
        )
        self._broker = OfficialBroker(
            OFFICIAL_VERSION, self.folder / "broker", self.namesrv_address, port=self.port, options=BROKER_OPTIONS
        )
        store = self._broker.store
        # Not the small files and long patience that the interop cases want: the defaults, at addresses of ours.
        self._broker.properties = {
            "brokerClusterName": "DefaultCluster", "brokerName": "broker-a", "brokerId": 0, "brokerIP1": "127.0.0.1",
            "listenPort": self.port, "namesrvAddr": self.namesrv_address, "storePathRootDir": store,
            "storePathCommitLog": store / "commitlog",
        }  # fmt: skip

    def launch(self) -> list[Process]:
        return [self._name_server.launch(), self._broker.launch()]


class Ours(Side):
    """`rmqd up` as a person types it: name server and broker in one process."""

    name = "ours"

    def arguments(self) -> list[str]:
        """Return the command."""
        return [
            program("rmqd"), "up", "--data", str(self.folder / "data"), "--namesrv-port", str(self.namesrv_port),
            "--port", str(self.port), "--address", "127.0.0.1", "--bind", "127.0.0.1",
            "--log-dir", str(self.folder / "logs"),
        ]  # fmt: skip

    def prepare(self) -> None:
        """Compile what changed since the last start, as an installation does: its results lie beside the sources."""
        for name in PACKAGES:
            found = find_spec(name)
            if found is None or found.origin is None:
                raise ProcessFailed(f"{name} is not installed")
            if not compileall.compile_dir(Path(found.origin).parent, quiet=1):
                raise ProcessFailed(f"{name} does not compile")

    def launch(self) -> list[Process]:
        return [Process(self.arguments(), log=self.folder / "rmqd.out", cwd=self.folder)]


def prepare_java_home(folder: Path) -> Path:
    """Make a ROCKETMQ_HOME for client programs."""
    return jvm.java_home_folder(folder)
