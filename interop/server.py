"""What official servers and ours have in common: a folder, an address, and being started, stopped and killed."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path

from interop.driver import until
from interop.ports import free_broker_port, free_port
from interop.process import Process

NAME_SERVER_READY = r"The Name Server boot success"
CONTROLLER_READY = r"The Controller Server boot success"
BROKER_READY = r"The broker\[.*\] boot success"


def write_properties(path: Path, properties: Mapping[str, object]) -> Path:
    """Write a properties file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    return path


class Server:
    """A name server or a broker of one kind, which can be started again on the same folder and port."""

    ready = ""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: Process | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """`host:port` that clients are given."""
        return f"127.0.0.1:{self.port}"

    def launch(self) -> Process:
        """Start the process, without waiting for it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process and wait for its boot line."""
        assert self.process is None or not self.process.alive(), "already running"
        self.process = self.launch()
        try:
            self.process.wait_for(self.ready)
        except BaseException:
            self.process.kill()
            raise

    def stop(self) -> int:
        """Ask for a graceful end (SIGTERM) and return the exit status."""
        assert self.process is not None
        return self.process.end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs on. Harmless when it has ended."""
        if self.process is not None:
            self.process.kill()


class NameServer(Server):
    """A name server."""

    ready = NAME_SERVER_READY

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port or free_port())
        self.properties: dict[str, object] = {}
        """Of its file, beside those that every name server of a case has."""


class Broker(Server):
    """A broker, with the properties that make a small and patient one of any kind."""

    ready = BROKER_READY

    def __init__(
        self, folder: Path, name_servers: str, properties: Mapping[str, object] | None = None, port: int | None = None
    ) -> None:
        super().__init__(folder, port or free_broker_port())
        self.name_servers = name_servers
        self.store = folder / "store"
        small_files = {"CommitLog": 16 << 20, "ConsumeQueue": 6_000_000}
        self.properties: dict[str, object] = {
            "brokerClusterName": "DefaultCluster",
            "brokerName": "broker-a",
            "brokerId": 0,
            "brokerIP1": "127.0.0.1",
            "brokerIP2": "127.0.0.1",
            "listenPort": self.port,
            "namesrvAddr": name_servers,
            "storePathRootDir": self.store,
            "storePathCommitLog": self.store / "commitlog",
            # 4.2 and 4.7 spell it "maped", later ones "mapped"; each side ignores or knows the other spelling.
            **{f"{word}FileSize{name}": size for name, size in small_files.items() for word in ("maped", "mapped")},
            "maxHashSlotNum": 20_000,
            "maxIndexNum": 80_000,
            "autoCreateTopicEnable": "true",
            # The machine may be busy: what an official broker calls overload after 200 ms is not a fault here.
            "waitTimeMillsInSendQueue": 20_000,
            "osPageCacheBusyTimeOutMills": 20_000,
            "diskMaxUsedSpaceRatio": 95,
            **(properties or {}),
        }

    def write_configuration(self) -> Path:
        """Write `broker.conf` and return it."""
        return write_properties(self.folder / "broker.conf", self.properties)

    @property
    def abort_file(self) -> Path:
        """The file that is there while a broker runs and after it died."""
        return self.store / "abort"


def wait_offsets_written(broker: Broker, topic: str, group: str, least: int) -> None:
    """Wait until the group's offsets in `config/consumerOffset.json` add up to `least`.

    Raises:
        AssertionError: they do not after a minute.
    """
    file = broker.store / "config" / "consumerOffset.json"

    def written() -> bool:
        if not file.exists():
            return False
        match = re.search(re.escape(f'"{topic}@{group}"') + r"\s*:\s*\{([^}]*)\}", file.read_text())
        return match is not None and sum(int(n) for n in re.findall(r":\s*(\d+)", match[1])) >= least

    assert until(written, 60), f"{file} has no offsets of {topic}@{group} after 60 s"
