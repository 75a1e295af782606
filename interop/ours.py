"""Our name server and broker, started by the commands that a person types."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from interop.process import Process
from interop.server import Broker, NameServer, write_properties


def program(name: str) -> str:
    """Return the installed console script beside the running interpreter."""
    return str(Path(sys.executable).parent / name)


def _environment(folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**os.environ, "HOME": str(home), "PYTHONUNBUFFERED": "1"}


class OurNameServer(NameServer):
    """`mqnamesrv -c FILE`."""

    def launch(self) -> Process:
        properties = {
            "listenPort": self.port,
            "bindAddress": "127.0.0.1",
            "kvConfigPath": self.folder / "kvConfig.json",
            **self.properties,
        }
        file = write_properties(self.folder / "namesrv.conf", properties)
        argv = [program("mqnamesrv"), "-c", str(file)]
        return Process(argv, log=self.folder / "namesrv.out", env=_environment(self.folder), cwd=self.folder)


class OurBroker(Broker):
    """`mqbroker -n ADDRESSES -c FILE`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for key in [key for key in self.properties if key.startswith("maped")]:
            del self.properties[key]  # one spelling is enough for ours, and it warns of two

    def launch(self) -> Process:
        argv = [program("mqbroker"), "-n", self.name_servers, "-c", str(self.write_configuration())]
        return Process(argv, log=self.folder / "broker.out", env=_environment(self.folder), cwd=self.folder)
