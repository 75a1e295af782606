"""Two minutes at half of the load that a broker can take: memory, file handles and latencies stay what they are."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rmqwire.command import new_request
from rmqwire.requests.offset import GetMaxOffset
from rmqwire.requests.pull import PullMessage

from .broker import BrokerProcess
from .clients import cut, send_request
from .conftest import Say
from .load import Link
from .sizes import LONG, SEED, machine_is_busy, size

SECONDS = size(6, 120)
PEAK_SECONDS = size(2, 10)
WARM_PART = 0.25
PART = size(1, 15)
"""Samples, one each second."""
TICK_S = 0.01
WINDOW = 128
SLOPE_LIMIT_MIB_PER_MINUTE = 0.5
HANDLES_LIMIT = 4
"""So many more at the end: a log file that was begun, a descriptor of the pool."""
P999_LIMIT_S = 0.05
TOPIC, QUEUES, BODY = "endurance", 4, b"x" * 200
IN_FLIGHT_MAX = 4096


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path)
    yield process
    process.close()


class Load:
    """Sends at a rate, or as fast as it can with a window, and notes how long each answer took."""

    def __init__(self, port: int) -> None:
        self._link = Link(port)
        self._sent_at: dict[int, float] = {}
        self._number = 0
        self._chance = random.Random(SEED)
        self.spent_s: list[float] = []
        self.refused: list[str] = []

    def close(self) -> None:
        self._link.close()

    def _send(self, count: int) -> None:
        requests = []
        for _ in range(count):
            self._number += 1
            key = f"{self._chance.getrandbits(128):032X}"  # all over the index's table, as of many clients
            requests.append(send_request(self._number, TOPIC, self._number % QUEUES, BODY, UNIQ_KEY=key))
        now = time.monotonic()
        for request in requests:
            self._sent_at[request.opaque] = now
        self._link.send(*requests)

    def _take(self, timeout_s: float) -> None:
        self._link._socket.settimeout(timeout_s)
        try:
            answers = self._link.receive()
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self._link._socket.settimeout(20)
        now = time.monotonic()
        for answer in answers:
            self.spent_s.append(now - self._sent_at.pop(answer.opaque))
            if answer.code != 0:
                self.refused.append(f"{answer.code} {answer.remark}")

    def peak(self, seconds: float) -> float:
        """Messages a second with a full window."""
        begun = time.monotonic()
        before = len(self.spent_s)
        while (passed_s := time.monotonic() - begun) < seconds:
            if len(self._sent_at) < WINDOW:
                self._send(WINDOW - len(self._sent_at))
            self._take(5)
        rate = (len(self.spent_s) - before) / passed_s
        while self._sent_at:
            self._take(5)
        return rate

    def steady(self, rate: float, seconds: float) -> None:
        """Send evenly; who falls behind does not catch up beyond `IN_FLIGHT_MAX`."""
        self.spent_s.clear()
        begun = time.monotonic()
        sent = 0
        while (passed_s := time.monotonic() - begun) < seconds:
            due = min(int(rate * passed_s) - sent, IN_FLIGHT_MAX - len(self._sent_at))
            if due > 0:
                self._send(due)
                sent += due
            self._take(max(TICK_S - (time.monotonic() - begun - passed_s), 0.001))
        while self._sent_at:
            self._take(5)


class Consumer(threading.Thread):
    """Reads one queue as it grows, by long polling."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.link = Link(port)
        self.pulled = 0

    def run(self) -> None:
        try:
            header = GetMaxOffset(topic=TOPIC, queue_id=0)
            offset = int(self.link.ask(new_request(30, header, 1)).ext["offset"])
            while True:
                pull = PullMessage(
                    consumer_group="endurance",
                    topic=TOPIC,
                    queue_id=0,
                    queue_offset=offset,
                    max_msg_nums=32,
                    sys_flag=2 | 4,
                    commit_offset=0,
                    suspend_timeout_millis=15_000,
                    subscription="*",
                    sub_version=0,
                )
                answer = self.link.ask(new_request(11, pull, 2))
                following = int(answer.ext["nextBeginOffset"])
                self.pulled += following - offset
                offset = following
        except OSError:
            pass  # the test is over
        finally:
            self.link.close()


class Watch(threading.Thread):
    """Looks at a process each second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.over = threading.Event()
        self.samples: list[tuple[float, float, int]] = []
        """Seconds, MiB of memory, file handles; of those of one file of the store only one is left out, as many are
        kept open while the store grows (`open_files_max`)."""

    def run(self) -> None:
        while not self.over.wait(1.0):
            pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
            handles = self._handles()
            self.samples.append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), handles))

    def _handles(self) -> int:
        folder = Path(f"/proc/{self._pid}/fd")
        names: list[str] = []
        for handle in folder.iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(os.readlink(handle))
        return len(names) - len({name for name in names if Path(name).name.isdigit()})


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line with the least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def least(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lowest point of each part: while a checkpoint is written, the table of the index is there twice."""
    return [min(points[at : at + PART], key=lambda point: point[1]) for at in range(0, len(points), PART)]


def test_half_of_peak_for_two_minutes(broker: BrokerProcess, say: Say) -> None:
    broker.start()
    load = Load(broker.port)
    load.peak(0.5)  # makes the topic
    consumer = Consumer(broker.port)
    consumer.start()
    peak = load.peak(PEAK_SECONDS)
    watch = Watch(broker.pid)
    watch.start()
    load.steady(peak / 2, SECONDS)
    busy = machine_is_busy()
    watch.over.set()
    watch.join(10)
    cut(consumer.link)
    consumer.join(30)
    load.close()
    assert load.refused == []
    assert consumer.pulled
    warm = watch.samples[int(len(watch.samples) * WARM_PART) :]
    grows = slope(least([(second, mib) for second, mib, _ in warm])) * 60
    handles = [count for _, _, count in warm]
    more_handles = min(handles[-PART:]) - min(handles[:PART])  # those of a checkpoint that is written come and go
    p999_s = sorted(load.spent_s)[int(len(load.spent_s) * 0.999)]
    say(
        f"{SECONDS} s at {peak / 2:.0f} messages/s, half of peak: memory {warm[-1][1]:.1f} MiB, growing by"
        f" {grows:.2f} MiB a minute; {warm[-1][2]} handles, {more_handles} more; p99.9 {p999_s * 1000:.1f} ms"
        + (", on a busy machine" if busy else "")
    )
    assert more_handles <= HANDLES_LIMIT
    if LONG:
        assert grows < SLOPE_LIMIT_MIB_PER_MINUTE
        assert busy or p999_s < P999_LIMIT_S


def test_the_slope_of_a_line() -> None:
    assert slope([(0, 1.0), (1, 3.0), (2, 5.0)]) == 2.0
