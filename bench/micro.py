"""CPU time of the hot functions, in microseconds per message: `python bench/micro.py [WORD ...]`.

The best of several repeats of process time, so that other work on the machine hardly shows; `calibration` tells how
fast the machine itself is. The parts are put together as the broker does it, on a store in a temporary folder; what
is sent are the frames that the official 5.5.0 client sends, each with a unique key of its own.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock

from rmqd.conf import load_broker_options
from rmqd.protocol.broker.delay import DelayLevels
from rmqd.protocol.broker.parts import BrokerParts
from rmqd.protocol.broker.send_properties import PropertyRules
from rmqd.protocol.broker.send_replies import SendReplies
from rmqd.protocol.broker.store_options import store_options
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqd.store.messagestore import MessageStore
from rmqwire.command import decode_command
from rmqwire.declare import Role
from rmqwire.frames import JSON, ROCKETMQ, Frame, FrameReader, encode_frame
from rmqwire.hashing import IndexKeyHasher
from rmqwire.header_binary import encode_binary
from rmqwire.message import BatchEntry, encode_batch, encode_host, split_batch
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.send import SendMessageV2

REPEATS = 9
REPEAT_S = 0.08
TOPIC = "BenchMicro"
VARIANTS = 64
PER_READ = 64
BATCHES_PER_READ = 8
BATCH = 32
BODY = b"a" * 128
HOST = encode_host("127.0.0.1", 10911)

Call = Callable[[], object]


class _Connection:
    """Takes the place of a connection: counts what would be written."""

    peer = "127.0.0.1:50000"
    peer_host = ("127.0.0.1", 50000)
    born_host = HOST
    connected_now = True

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.on_lost: list[object] = []

    def send(self, data: bytes) -> None:
        """Count an answer."""
        self.sent_bytes += len(data)


def _unique_keys() -> Iterator[str]:
    for number in itertools.count():
        yield f"7F00000100002A139C55{number // 37:08X}{number & 0xFFFF:04X}"


_keys = _unique_keys()


def _send_frame(serialization: int, queue_id: int, opaque: int) -> bytes:
    properties = f"UNIQ_KEY\x01{next(_keys)}\x02WAIT\x01true\x02"
    ext = {"a": "bench", "b": TOPIC, "c": "TBW102", "d": "4", "e": str(queue_id), "f": "0", "g": str(wall_clock_ms())}
    ext |= {"h": "0", "i": properties, "j": "0", "k": "false", "m": "false", "n": "broker-a"}
    return _frame(serialization, 310, ext, opaque, BODY)


def _frame(serialization: int, code: int, ext: dict[str, str], opaque: int, body: bytes = b"") -> bytes:
    if serialization == ROCKETMQ:
        return encode_frame(ROCKETMQ, encode_binary(code, "JAVA", 513, opaque, 0, None, ext), body)
    fields = ",".join(f'"{key}":"{value}"' for key, value in ext.items())
    fields = fields.replace("\x01", "\\u0001").replace("\x02", "\\u0002")
    text = (
        f'{{"code":{code},"extFields":{{{fields}}},"flag":0,"language":"JAVA","opaque":{opaque},'
        '"serializeTypeCurrentRPC":"JSON","version":513}'
    )
    return encode_frame(JSON, text.encode(), body)


def _reads(serialization: int) -> list[bytes]:
    """Reads of 64 sends each, all with different keys."""
    return [
        b"".join(_send_frame(serialization, number % 4, 1_000_000 + number) for number in range(PER_READ))
        for _ in range(VARIANTS)
    ]


def _batch_frame(opaque: int) -> bytes:
    entries = [BatchEntry(0, BODY, f"UNIQ_KEY\x01{next(_keys)}\x02WAIT\x01true\x02".encode()) for _ in range(BATCH)]
    ext = {"a": "bench", "b": TOPIC, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": str(wall_clock_ms()), "h": "0"}
    ext |= {"i": "WAIT\x01true\x02", "j": "0", "k": "false", "m": "true", "n": "broker-a"}
    return _frame(JSON, 320, ext, opaque, encode_batch(entries))


def _pull_frame(opaque: int) -> bytes:
    ext = {"commitOffset": "0", "consumerGroup": "bench", "expressionType": "TAG", "maxMsgBytes": "262144"}
    ext |= {"maxMsgNums": str(BATCH), "queueId": "1", "queueOffset": "0", "subVersion": "0", "subscription": "*"}
    ext |= {"suspendTimeoutMillis": "15000", "sysFlag": "4", "topic": TOPIC}
    return _frame(JSON, 11, ext, opaque)


def frames_of(data: bytes) -> list[Frame]:
    """Cut one read."""
    return FrameReader().receive(data)


class Bed:
    """A broker without ports on a store in a folder."""

    def __init__(self, folder: Path) -> None:
        options = load_broker_options(None, {"storePathRootDir": str(folder / "store"), "brokerIP1": "127.0.0.1"})
        levels = DelayLevels(options.store.message_delay_level)
        self.store = MessageStore(store_options(options, HOST), wall_clock_ms=wall_clock_ms)
        self.store.open()
        reactor = MemoryReactorClock()  # type: ignore[no-untyped-call]
        self.parts = BrokerParts(options, self.store, reactor, self._at_once, "127.0.0.1:10911", levels)
        self.dispatcher = Dispatcher(Role.BROKER, self.parts.handlers, barrier=self.store, runs=self.parts.send_runs)
        self._peer = _Connection()
        self.connection = cast(RemotingConnection, self._peer)
        self.serve(_send_frame(JSON, 1, 1))
        if not self._peer.sent_bytes:
            raise RuntimeError("the broker does not answer a send")

    @staticmethod
    def _at_once(call: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        """Take the place of the threads that wait for the disk: state files are written when something new comes."""
        return maybeDeferred(call, *arguments, **named)

    def serve(self, data: bytes) -> None:
        """Take one read from the socket to the answers."""
        self.dispatcher.receive(self.connection, FrameReader().receive(data))

    def stage(self, count: int) -> None:
        """Put and commit a group of messages, without requests."""
        stage = self.store.stage
        for number in range(count):
            key = next(_keys)
            stage(
                TOPIC, number & 3, BODY, b"UNIQ_KEY\x01" + key.encode() + b"\x02WAIT\x01true\x02",
                tags_code=0, keys=(key,), flag=0, sys_flag=0, born_timestamp=1_700_000_000_000, born_host=HOST,
            )  # fmt: skip
        self.store.commit()


def operations(bed: Bed) -> dict[str, tuple[int, Call]]:
    """Name every operation, with the number of messages it handles in one call."""
    json_reads, binary_reads = itertools.cycle(_reads(JSON)), itertools.cycle(_reads(ROCKETMQ))
    one_read = _reads(JSON)[0]
    json_frames, binary_frames = frames_of(one_read), frames_of(_reads(ROCKETMQ)[0])
    singles = itertools.cycle([_send_frame(JSON, 1, number) for number in range(4096)])
    batches = itertools.cycle([_batch_frame(number) for number in range(VARIANTS)])
    several = itertools.cycle(
        [b"".join(_batch_frame(number) for number in range(BATCHES_PER_READ)) for _ in range(VARIANTS // 4)]
    )
    batch_body = frames_of(_batch_frame(1))[0][2]
    pull_frame = _pull_frame(1)
    pull = frames_of(pull_frame)[0]
    rules = PropertyRules("DefaultRegion", True, "DefaultCluster")
    texts = itertools.cycle([f"UNIQ_KEY\x01{next(_keys)}\x02WAIT\x01true\x02" for _ in range(4096)])
    hasher, hashed = IndexKeyHasher(TOPIC), itertools.cycle([next(_keys) for _ in range(4096)])
    replies, key = SendReplies(HOST, "DefaultRegion", True), next(_keys)
    reader = FrameReader()

    def decode_all(frames: list[Frame], declared: Any) -> None:
        for frame in frames:
            decode_command(frame).header(declared)

    def get() -> None:
        found = bed.store.get_messages(TOPIC, 1, 0, BATCH, tags=None, max_bytes=262_144)
        if found.count != BATCH:
            raise RuntimeError(f"a pull gave {found.count} messages")

    return {
        "calibration: a loop of 1000": (1, lambda: sum(number for number in range(1000))),
        "frame split, 64 in a read": (PER_READ, lambda: reader.receive(one_read)),
        "frame split, 1 in a read": (1, lambda it=singles: reader.receive(next(it))),  # type: ignore[misc]
        "header decode, JSON send": (PER_READ, lambda: decode_all(json_frames, SendMessageV2)),
        "header decode, binary send": (PER_READ, lambda: decode_all(binary_frames, SendMessageV2)),
        "header decode, JSON pull": (1, lambda: decode_all([pull], PullMessage)),
        "properties: read, add the broker's": (1, lambda: rules.apply(next(texts))),
        "index hash of a unique key": (1, lambda: hasher.index_hash(next(hashed))),
        "stage and commit, 64 in a group": (PER_READ, lambda: bed.stage(PER_READ)),
        "stage and commit, 1 in a group": (1, lambda: bed.stage(1)),
        "reply of a send": (1, lambda: replies.stored(1_000_000, 0, 123_456_789, 3, 1_234_567, key)),
        "batch split, per message": (BATCH, lambda: split_batch(batch_body)),
        "pull of 32: read, per message": (BATCH, get),
        "turn: 64 sends, JSON": (PER_READ, lambda: bed.serve(next(json_reads))),
        "turn: 64 sends, binary": (PER_READ, lambda: bed.serve(next(binary_reads))),
        "turn: 1 send, JSON": (1, lambda: bed.serve(next(singles))),
        "turn: batch of 32, per message": (BATCH, lambda: bed.serve(next(batches))),
        "turn: 8 batches of 32, per message": (BATCH * BATCHES_PER_READ, lambda: bed.serve(next(several))),
        "turn: pull of 32, per message": (BATCH, lambda: bed.serve(pull_frame)),
    }


def measure(call: Call) -> float:
    """Return the CPU seconds of one call: the best of the repeats."""
    calls = 1
    while (spent := _spent(call, calls)) < REPEAT_S / 4:
        calls *= 2
    calls = max(1, int(calls * REPEAT_S / spent))
    return min(_spent(call, calls) for _ in range(REPEATS)) / calls


def _spent(call: Call, calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began


def main(words: list[str]) -> int:
    """Print the table; with words, only the operations that hold one of them."""
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(Path(folder))
        bed.stage(256)
        for name, (messages, call) in operations(bed).items():
            if not words or any(word in name for word in words):
                print(f"{name:38} {measure(call) / messages * 1e6:8.3f} µs", flush=True)
        bed.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
