"""A broker process that is started, killed and started again on one store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

_READY = re.compile(r"127\.0\.0\.1:(\d+)\] boot success")
_READY_TIMEOUT_S = 60.0


class BrokerProcess:
    """`mqbroker` without a name server, on a free port of 127.0.0.1.

    Args:
        folder: Store, configuration and output.
        properties: Of the configuration file, beside the address and the store.
    """

    def __init__(self, folder: Path, **properties: object) -> None:
        self.folder = folder
        self._properties = properties
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.started_in_s = 0.0

    @property
    def store(self) -> Path:
        """The root of the store."""
        return self.folder / "store"

    def start(self, **changed: object) -> None:
        """Start it and wait until it serves."""
        self._properties.update(changed)
        lines = {"listenPort": 0, "brokerIP1": "127.0.0.1", "bindAddress": "127.0.0.1"} | self._properties
        lines["storePathRootDir"] = self.store
        configuration = self.folder / "broker.conf"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        output = self.folder / "broker.out"
        begun = time.monotonic()
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "mqbroker"), "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"},
            )
        while not (ready := _READY.search(output.read_text())):
            if self._process.poll() is not None or time.monotonic() - begun > _READY_TIMEOUT_S:
                raise AssertionError(f"the broker does not start: {output.read_text()[-2000:]}")
            time.sleep(0.01)
        self.port = int(ready[1])
        self.started_in_s = time.monotonic() - begun

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> float:
        """End it by SIGTERM; give the seconds that took.

        Raises:
            AssertionError: It did not exit with 0, or left the abort file.
        """
        begun = time.monotonic()
        code = self._end(signal.SIGTERM)
        spent_s = time.monotonic() - begun
        assert code == 0, (self.folder / "broker.out").read_text()[-2000:]
        assert not (self.store / "abort").exists()
        return spent_s

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(60)
        self._process = None
        return code

    def close(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            self.kill()
