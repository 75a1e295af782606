"""What a person sees who gives a command something wrong: one clear line, an exit code, never a traceback.

The commands run as processes of their own: it is about what is on standard output and error in the end.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from rmqd.protocol.commands import mqshutdown, rmqd
from rmqd.protocol.shutdown import run_shutdown

RUN = "import sys; from rmqd.protocol.commands import rmqd; sys.argv[0] = 'rmqd'; rmqd()"
LOCAL = ("--bind", "127.0.0.1")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def arguments(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", RUN, *words, "--log-dir", str(folder / "logs")]


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the person's own, in particular not the home folder."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START") if name in os.environ}
    return {**kept, "HOME": str(folder / "home")}


def run(folder: Path, *words: str) -> Ended:
    """Run a command that is to end by itself."""
    done = subprocess.run(
        arguments(folder, *words), cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=30
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def up(folder: Path, *words: str) -> Ended:
    return run(folder, "up", "--data", str(folder / "data"), "--namesrv-port", "0", "--port", "0", *LOCAL, *words)


def until(true: Callable[[], bool], within_s: float = 20.0) -> bool:
    """Wait for a state."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def one_line(ended: Ended) -> str:
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    return ended.err.rstrip("\n")


@pytest.fixture
def taken() -> int:
    """A port that is in use."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


class TestBadInput:
    def test_port_in_use(self, tmp_path: Path, taken: int) -> None:
        ended = up(tmp_path, "--port", str(taken))
        assert ended.code == 1
        assert one_line(ended) == f"cannot listen on 127.0.0.1:{taken}: Address already in use"

    def test_vip_port_in_use(self, tmp_path: Path, taken: int) -> None:
        """Nobody named that port, so it is said where it comes from."""
        ended = up(tmp_path, "--port", str(taken + 2))
        assert ended.code == 1
        assert one_line(ended) == (
            f"cannot listen on 127.0.0.1:{taken}: Address already in use (the VIP port, 2 below listenPort {taken + 2})"
        )

    def test_port_of_the_name_server_in_use(self, tmp_path: Path, taken: int) -> None:
        ended = up(tmp_path, "--namesrv-port", str(taken))
        assert (ended.code, one_line(ended)) == (1, f"cannot listen on 127.0.0.1:{taken}: Address already in use")

    def test_interface_that_is_none(self, tmp_path: Path) -> None:
        ended = up(tmp_path, "--bind", "192.0.2.77")
        assert ended.code == 1
        assert one_line(ended) == "cannot listen on 192.0.2.77:0: Cannot assign requested address"

    def test_address_that_is_none(self, tmp_path: Path) -> None:
        """A label of more than 63 letters: no resolver has to be asked."""
        ended = up(tmp_path, "--address", "x" * 64)
        assert ended.code == 2
        expected = "an address, or a name that can be looked up"
        assert one_line(ended) == f"command line: brokerIP1: expected {expected}, got '{'x' * 64}'"

    def test_locked_folder(self, tmp_path: Path) -> None:
        (tmp_path / "data" / "store").mkdir(parents=True)
        lock = tmp_path / "data" / "store" / "lock"
        with lock.open("w") as held:
            fcntl.lockf(held, fcntl.LOCK_EX, 1, 0)
            ended = up(tmp_path)
        assert (ended.code, one_line(ended)) == (1, f"another process has this store open [{lock}]")

    @pytest.mark.parametrize("below", ["", "/below"])
    def test_folder_that_cannot_be_made(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "data").touch()
        ended = up(tmp_path, "--data", f"{tmp_path}/data{below}")
        assert ended.code == 1
        assert "Not a directory" in one_line(ended)
        assert f"[{tmp_path}/data" in ended.err

    def test_log_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "logs").touch()
        ended = up(tmp_path)
        assert (ended.code, one_line(ended)) == (1, f"cannot write the log folder {tmp_path}/logs: File exists")

    @pytest.mark.parametrize("name", ["topics.json", "consumerOffset.json", "subscriptionGroup.json"])
    def test_state_file_of_garbage(self, tmp_path: Path, name: str) -> None:
        config = tmp_path / "data" / "store" / "config"
        config.mkdir(parents=True)
        (config / name).write_bytes(b"\x00\xff garbage")
        ended = up(tmp_path)
        assert ended.code == 1
        assert str(config / name) in one_line(ended)
        assert (config / name).read_bytes() == b"\x00\xff garbage"

    def test_store_with_other_lengths(self, tmp_path: Path) -> None:
        log = tmp_path / "data" / "store" / "commitlog" / ("0" * 20)
        log.parent.mkdir(parents=True)
        log.write_bytes(bytes(4096))
        ended = up(tmp_path)
        assert ended.code == 1
        assert one_line(ended) == (
            "the file has 4096 bytes, but mappedFileSizeCommitLog is 1073741824: "
            f"it was made with another value, or is damaged [{log}]"
        )

    @pytest.mark.parametrize("role", ["broker", "namesrv"])
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("\nlistenPort=70000\n", "{file}:2: listenPort: expected a number from 0 to 65535, got '70000'"),
            ("listenPort=abc\n", "{file}:1: listenPort: expected a whole number, got 'abc'"),
            (None, "{file}: expected a readable properties file, got No such file or directory"),
        ],
    )
    def test_wrong_configuration(self, tmp_path: Path, role: str, text: str | None, said: str) -> None:
        file = tmp_path / "some.conf"
        if text is not None:
            file.write_text(text)
        ended = run(tmp_path, role, "-c", str(file))
        assert (ended.code, one_line(ended)) == (2, said.format(file=file))

    def test_wrong_name_servers(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "broker", "-n", "nonsense")
        assert ended.code == 2
        expected = "addresses as host:port;host:port"
        assert one_line(ended) == f"command line: namesrvAddr: expected {expected}, got 'nonsense'"

    @pytest.mark.parametrize("words", [("up", "--prot", "1"), ("broker", "-z"), ("upp",)])
    def test_unknown_option(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        done = CliRunner().invoke(rmqd, words)
        assert done.exit_code == 2
        assert re.search(r"Error: No such (option|command) '\S+'", done.output)


class TestServing:
    def test_up_says_how_to_send_and_ends_in_order(self, tmp_path: Path) -> None:
        """The ready line, then the first steps; SIGTERM leaves no abort file and exits 0; an unknown key is told."""
        conf = tmp_path / "some.conf"
        conf.write_text("fileReservedTimes=48\n")
        words = ("up", "--data", "data", "--namesrv-port", "0", "--port", "0", *LOCAL, "-c", str(conf))
        with subprocess.Popen(
            arguments(tmp_path, *words),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(7)]
            assert (tmp_path / "data" / "store" / "abort").exists()
            process.send_signal(signal.SIGTERM)
            rest, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert rest == ""
        assert err == f"{conf}:1: unknown key fileReservedTimes; the nearest known key is fileReservedTime\n"
        found = re.search(r"address (127\.0\.0\.1:\d+)$", lines[0])
        assert found is not None, lines
        address = found[1]
        assert lines[0].startswith("The Name Server boot success. serializeType=JSON")
        assert re.match(rf"The broker\[\S+, 127\.0\.0\.1:\d+\] boot success\. .*name server is {address}$", lines[1])
        assert lines[2].startswith("Ready.")
        assert lines[3] == f"  export NAMESRV_ADDR={address}\n"
        assert lines[4].endswith("org.apache.rocketmq.example.quickstart.Producer\n")
        assert not (tmp_path / "data" / "store" / "abort").exists()
        assert (tmp_path / "logs" / "broker.log").stat().st_size > 0
        assert not (tmp_path / "home").exists(), "nothing is written where nobody asked"

    def test_options_are_printed(self, tmp_path: Path) -> None:
        """`mqbroker -p` prints all of them as key=value, `-m` those that official brokers call important."""
        everything, important = run(tmp_path, "broker", "-p"), run(tmp_path, "broker", "-m")
        assert everything.code == important.code == 0
        assert everything.err == important.err == ""
        lines = set(everything.out.splitlines())
        assert {"listenPort=10911", "flushDiskType=ASYNC_FLUSH", "fileReservedTime=72"} <= lines
        assert set(important.out.splitlines()) < lines
        assert "flushDiskType=ASYNC_FLUSH" in important.out
        assert not (tmp_path / "logs").exists(), "printing starts nothing"


class TestShutdown:
    # Never against the real /proc: it would stop the brokers of whoever runs the tests.

    def proc(self, folder: Path, **command_lines: str) -> Path:
        for pid, line in command_lines.items():
            entry = folder / pid.removeprefix("p")
            entry.mkdir()
            (entry / "cmdline").write_bytes(line.replace(" ", "\0").encode() + b"\0")
        return folder

    def test_nothing_runs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The official script's line and exit code (-1)."""
        proc = self.proc(tmp_path, p999999="python -c broker", p999998="vim mqbroker")
        assert run_shutdown("broker", proc) == 255
        assert capsys.readouterr().out == "No mqbroker running.\n"

    def test_servers_of_the_role_are_stopped(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proc = self.proc(
            tmp_path,
            p999990="/usr/bin/python3.11 /opt/bin/mqbroker -n a:1",
            p999991="rmqd broker",
            p999992="mqnamesrv",
            p999993="python /opt/bin/rmqd up",
        )
        ended: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda pid, number: ended.append((pid, number)))
        assert run_shutdown("broker", proc) == 0
        assert sorted(ended) == [(999990, signal.SIGTERM), (999991, signal.SIGTERM)]
        first, second = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"The mqbroker\(99999[01] 99999[01]\) is running\.\.\.", first)
        assert re.fullmatch(r"Send shutdown request to mqbroker\(99999[01] 99999[01]\) OK", second)

    def test_unknown_role(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["mqshutdown", "controller"])
        with pytest.raises(SystemExit) as ended:
            mqshutdown()
        assert ended.value.code == 2
        assert "'controller' is not one of 'namesrv', 'broker'" in capsys.readouterr().err


class TestDump:
    def dump(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(rmqd, ["dump", *words])
        return done.exit_code, done.output

    def test_state_files(self, tmp_path: Path) -> None:
        """Each table of fastjson's dialect is shown entry by entry, as text or as JSON."""
        file = tmp_path / "consumerOffset.json"
        file.write_text('{"dataVersion":{"counter":3},"offsetTable":{"T@g":{0:5,1:7},"U@g":{0:1}}}')
        code, out = self.dump(str(file))
        assert code == 0
        assert "kind=offsetTable key=U@g value={'0': 1}" in out.splitlines()
        code, out = self.dump("--json", str(file))
        assert [json.loads(line) for line in out.splitlines()] == [
            {"kind": "dataVersion", "value": {"counter": 3}},
            {"kind": "offsetTable", "key": "T@g", "value": {"0": 5, "1": 7}},
            {"kind": "offsetTable", "key": "U@g", "value": {"0": 1}},
        ]
        assert self.dump("--json", "--limit", "1", str(file))[1].count("\n") == 1

    def test_maps_with_objects_as_keys(self, tmp_path: Path) -> None:
        """Such as fastjson writes for a map by MessageQueue."""
        file = tmp_path / "some.json"
        file.write_text('{"table":{"a":{{"queueId":1}:2}},"list":[1]}')
        code, out = self.dump("--json", str(file))
        assert code == 0
        assert [json.loads(line) for line in out.splitlines()] == [
            {"kind": "table", "key": "a", "value": [[{"queueId": 1}, 2]]},
            {"kind": "list", "value": [1]},
        ]

    @pytest.mark.parametrize(
        ("name", "kind"), [("topics.json", "damage"), ("0" * 20, "damage"), ("checkpoint", "damage")]
    )
    def test_garbage_is_shown_as_damage(self, tmp_path: Path, name: str, kind: str) -> None:
        (tmp_path / name).write_bytes(b"\x01\x02garbage" * 9)
        code, out = self.dump(str(tmp_path / name))
        assert code == 0
        assert out.startswith(f"kind={kind} position=0 remark=")
        assert out.count("\n") == 1

    def test_index_files_of_other_sizes(self, tmp_path: Path) -> None:
        """The number of slots is not in the file, so it can be given."""
        file = tmp_path / "20260101000000000"
        file.write_bytes(bytes(36) + b"\0\0\0\x01" + bytes(10 * 4 + 20 * 20))
        code, out = self.dump(str(file))
        assert (code, out.count("\n")) == (0, 1)
        assert "give the maxHashSlotNum of its broker" in out
        code, out = self.dump("--slots", "10", str(file))
        assert code == 0
        assert out.startswith("kind=index_header")

    def test_what_is_no_file_of_a_store(self, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").touch()
        for path in (tmp_path, tmp_path / "letter.txt"):
            code, out = self.dump(str(path))
            assert code == 1
            assert out.count("\n") == 1
            assert f"[{path}]" in out
        assert self.dump(str(tmp_path / "gone"))[0] == 2


@contextmanager
def waiting_for_a_name_server(
    folder: Path, more: str = ""
) -> Iterator[tuple[subprocess.Popen[str], tuple[socket.socket, socket.socket]]]:
    """A broker that waits while it starts: the name server takes connections and never answers.

    Args:
        more: further lines of its configuration file.

    Yields:
        The broker, and what the name server has: the broker's connection, and where it listens.
    """
    conf = folder / "broker.conf"
    conf.write_text(
        f"storePathRootDir={folder / 'store'}\nlistenPort=0\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\n{more}"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = ("broker", "-n", f"127.0.0.1:{silent.getsockname()[1]}", "-c", str(conf))
        with subprocess.Popen(
            arguments(folder, *words), cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True
        ) as process:
            silent.settimeout(20)
            peer, _ = silent.accept()
            with peer:
                yield process, (peer, silent)


def test_a_signal_while_starting_ends_it_in_order(tmp_path: Path) -> None:
    abort = tmp_path / "store" / "abort"
    with waiting_for_a_name_server(tmp_path) as (process, name_server):
        assert abort.exists()
        process.send_signal(signal.SIGTERM)
        for end in name_server:
            end.close()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err == ""
    assert not abort.exists()


def test_a_start_that_waits_too_long_is_given_up_by_a_signal(tmp_path: Path) -> None:
    """The name server stays, and never answers."""
    with waiting_for_a_name_server(tmp_path, "enableSlaveActingMaster=true\ntotalReplicas=2\n") as (process, _):
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
    assert time.monotonic() - began < 10
    assert process.returncode == 0, err
    assert err == ""


class TestSeveralBrokers:
    """`rmqd up --brokers N`."""

    def begin(self, folder: Path) -> tuple[subprocess.Popen[str], list[str]]:
        words = ("up", "--data", "data", "--namesrv-port", "0", "--port", "0", *LOCAL, "--brokers", "3")
        words += ("--set", "mappedFileSizeCommitLog=1048576")
        process = subprocess.Popen(
            arguments(folder, *words),
            cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        return process, [process.stdout.readline() for _ in range(9)]

    def children(self, process: subprocess.Popen[str]) -> list[int]:
        return list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))

    def gone(self, pids: list[int]) -> bool:
        def alive(pid: int) -> bool:
            try:
                return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except FileNotFoundError:
                return False

        return until(lambda: not any(map(alive, pids)))

    def test_each_serves_and_all_end_in_order(self, tmp_path: Path) -> None:
        process, lines = self.begin(tmp_path)
        with process:
            named = [re.match(r"The broker\[(\S+), 127\.0\.0\.1:\d+\] boot success", line) for line in lines[1:4]]
            assert [found and found[1] for found in named] == ["broker-a", "broker-b", "broker-c"], lines
            assert lines[4].startswith("Ready.")
            pids = self.children(process)
            assert len(pids) == 2
            stores = [tmp_path / "data" / name for name in ("store", "broker-b/store", "broker-c/store")]
            assert all((store / "abort").exists() for store in stores)
            process.send_signal(signal.SIGTERM)
            rest, err = process.communicate(timeout=30)
        assert (process.returncode, rest, err) == (0, "", "")
        assert not any((store / "abort").exists() for store in stores)
        assert self.gone(pids)

    def test_one_that_dies_ends_all(self, tmp_path: Path) -> None:
        process, _ = self.begin(tmp_path)
        with process:
            pids = self.children(process)
            os.kill(pids[0], signal.SIGKILL)
            rest, err = process.communicate(timeout=30)
        assert (process.returncode, rest) == (1, "")
        assert re.fullmatch(r"broker process broker-[bc] has ended with -9\n", err), err
        assert not (tmp_path / "data" / "store" / "abort").exists()
        assert self.gone(pids)

    def test_none_outlives_the_first(self, tmp_path: Path) -> None:
        process, _ = self.begin(tmp_path)
        with process:
            pids = self.children(process)
            process.kill()
            process.communicate(timeout=30)
        assert self.gone(pids)
        assert not (tmp_path / "data" / "broker-b" / "store" / "abort").exists(), "it ended in order"

    def test_one_that_cannot_start_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "broker-b").touch()
        ended = up(tmp_path, "--brokers", "2")
        assert ended.code == 1
        assert re.match(r"broker-b: .*Not a directory", one_line(ended)), ended.err

    def test_what_cannot_be_shared(self, tmp_path: Path) -> None:
        conf = tmp_path / "some.conf"
        conf.write_text("storePathCommitLog=/somewhere\n")
        ended = up(tmp_path, "--brokers", "2", "-c", str(conf))
        assert (ended.code, one_line(ended)) == (
            2, f"{conf}:1: storePathCommitLog: expected nothing, as 2 brokers cannot share it, got '/somewhere'"
        )  # fmt: skip

    def test_a_setting_that_is_none(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(rmqd, ("broker", "--set", "listenPort"))
        assert done.exit_code == 2
        assert "'listenPort' is not KEY=VALUE" in done.output
