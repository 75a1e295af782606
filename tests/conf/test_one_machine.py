"""The script that runs a shipped deployment on one machine does what it says, from the first line to Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "conf" / "one-machine.sh"
BIN = Path(sys.executable).parent


def free_ports() -> int:
    """A port that is free with what the script takes above it: two name servers, and four brokers from 20 on."""
    wanted = [0, 1, *(20 + 10 * broker + beside for broker in range(4) for beside in (-2, 0, 1))]
    for first in range(20_000 + os.getpid() % 5000, 60_000, 211):
        with contextlib.ExitStack() as probes:
            try:
                for port in wanted:
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", first + port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


def hear_interrupts() -> None:
    """Ctrl-C has to be heard also where these tests run in the background of a shell, which ignores it for them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("folder", "brokers"),
    [
        ("2m-noslave", {("broker-a", "0"), ("broker-b", "0")}),
        ("2m-2s-sync", {("broker-a", "0"), ("broker-a", "1"), ("broker-b", "0"), ("broker-b", "1")}),
    ],
)
def test_a_deployment_comes_up_and_ends(folder: str, brokers: set[tuple[str, str]], tmp_path: Path) -> None:
    """Whoever tries a cluster on a laptop has it with one command, and nothing of it is left after Ctrl-C."""
    namesrv_port = free_ports()
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NAMESRV_PORT": str(namesrv_port),
        "BROKER_PORT": str(namesrv_port + 20),
        "HOME": str(tmp_path),
    }
    with (tmp_path / "out").open("wb") as out:
        script = subprocess.Popen(
            ["/bin/sh", str(SCRIPT), folder, str(tmp_path / "data")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )
    try:
        deadline = time.monotonic() + 60
        while "is up" not in (tmp_path / "out").read_text():
            assert script.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline, outputs(tmp_path / "data")
            time.sleep(0.05)
        while (listed := cluster(f"127.0.0.1:{namesrv_port + 1}", environment)) != brokers:
            assert time.monotonic() < deadline, listed
            time.sleep(0.1)
        pids = [int(path.read_text()) for path in (tmp_path / "data").glob("*/pid")]
        assert len(pids) == 2 + len(brokers)
        os.killpg(script.pid, signal.SIGINT)
        assert script.wait(30) is not None
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not list((tmp_path / "data").glob("*/store/abort")), "all of them ended well"


def outputs(data: Path) -> str:
    return "\n".join(path.read_text()[-500:] for path in data.glob("*/out"))


def cluster(name_server: str, environment: dict[str, str]) -> set[tuple[str, str]]:
    """Which brokers a name server lists, by the native tool."""
    asked = subprocess.run(
        [str(BIN / "mqadmin"), "clusterList", "-n", name_server, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        return set()
    rows: list[dict[str, Any]] = json.loads(asked.stdout)
    return {(row["broker"], str(row["brokerId"])) for row in rows}
