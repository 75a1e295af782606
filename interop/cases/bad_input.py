"""Bytes that no client sends, on raw sockets, to the name server and to the broker."""

from __future__ import annotations

import random
import socket
import struct
import time

import pytest

from interop import raw, wire
from interop.api import Api
from interop.bad_requests import ROWS
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Kind, Servers, cluster_brokers
from interop.driver import until

REQUEST_CODE_NOT_SUPPORTED = 3
SYSTEM_ERROR = 1
GET_ROUTEINFO, GET_BROKER_CLUSTER_INFO = 105, 106
GET_MAX_OFFSET = 30
FRAME_MAX = 16_777_216
REFUSALS = (1, 2, 13, 14, 16, 17, 22, 23, 24, 25, 26, 29)
HEADER = b'{"code":105,"flag":0,"language":"JAVA","opaque":1,"version":353}'


@pytest.fixture(params=["name server", "broker"])
def address(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The address of each server in turn."""
    return cluster.namesrv if request.param == "name server" else cluster.broker.address


def still_serves(cluster: Cluster) -> None:
    """Fail unless name server and broker answer on other connections."""
    expect_that("broker-a" in cluster_brokers(cluster.namesrv), "the name server serves others", "no broker-a")
    header, _ = raw.request(cluster.broker.address, 99_999)
    expect(header["opaque"], 1, "the broker serves others")


BAD_FRAMES = {
    "length over the limit": struct.pack(">i", FRAME_MAX + 1) + b"x" * 64,
    "length of 2 GiB": struct.pack(">i", 0x7FFFFFFF) + b"x" * 64,
    "negative length": struct.pack(">i", -5) + b"x" * 64,
    "header longer than the frame": struct.pack(">ii", 40, 5000) + b"{" * 36,
    "header that is no JSON": raw.frame(b"\x00\x01 not json at all, really not"),
    "header that is a JSON list": raw.frame(b'[1, 2, 3, "and nothing that has a code"]'),
    "unknown serialize type": struct.pack(">iI", 4 + len(HEADER), 9 << 24 | len(HEADER)) + HEADER,
    "truncated binary header": struct.pack(">iI", 4 + 12, 1 << 24 | 12)
    + b"\x00\x69\x00\x01\x01\x00\x00\x00\x07\x00\x00\x00",
    "binary header with a field of 2 GiB": struct.pack(">iI", 4 + 21, 1 << 24 | 21)
    + struct.pack(">hbhiiii", 105, 0, 353, 7, 0, 0x7FFFFFFF, 0),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
}


@case(
    "bad_input/1",
    "a frame that cannot be one closes its connection, without an answer, and troubles no other",
    source="NettyDecoder, RemotingCommand.decode; remoting limits",
)
@pytest.mark.parametrize("data", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_bad_frame(data: bytes, address: str, cluster: Cluster) -> None:
    with raw.Connection(address) as connection:
        connection.send(data)
        expect(connection.is_closed(), True, "the connection is closed")
    still_serves(cluster)


@case(
    "bad_input/2",
    "random bytes on many connections close them or wait for more, and trouble no other",
    source="NettyDecoder",
)
def test_random_bytes(address: str, cluster: Cluster) -> None:
    chance = random.Random(7)
    open_ones = []
    try:
        for _ in range(100):
            connection = raw.Connection(address)
            open_ones.append(connection)
            try:
                connection.send(chance.randbytes(chance.randrange(1, 3000)))
            except ConnectionError:
                continue  # closed while we wrote: as it may
        still_serves(cluster)
    finally:
        for connection in open_ones:
            connection.socket.close()
    still_serves(cluster)


@case(
    "bad_input/3",
    "an unknown request code is answered 3 with a remark that names the code",
    source="NettyRemotingAbstract.processRequestCommand",
)
def test_unknown_code(address: str, kind: Kind, official_version: str) -> None:
    if kind == "official" and official_version < "5":
        pytest.skip("before 4.9.2 (broker) and 5.0 (name server) an unknown code was not answered at all")
    with raw.Connection(address) as connection:
        for code in (7777, -1, 32767):
            header, _ = connection.request(code)
            expect(header["code"], REQUEST_CODE_NOT_SUPPORTED, f"answer to {code}")
            expect_that(str(code) in header.get("remark", ""), f"a remark that names {code}", header)
            expect_that(header["flag"] & 1 == 1, "the response flag", header)


@case("bad_input/4", "a oneway request is not answered, whatever its code", source="RemotingCommand.isOnewayRPC")
def test_oneway(address: str) -> None:
    with raw.Connection(address) as connection:
        for code in (7777, GET_ROUTEINFO, GET_MAX_OFFSET):
            connection.send(raw.frame({"code": code, "flag": 2, "language": "JAVA", "opaque": 4242, "version": 353}))
        header, _ = connection.request(GET_ROUTEINFO, {"topic": "nothing-of-that-name"})
        expect(header["opaque"] == 4242, False, "an answer to a oneway request")


@case(
    "bad_input/5",
    "a request that lacks a required field, or has a number that is none, is answered with an error, and the connection serves on",
    source="RemotingCommand.decodeCommandCustomHeader",
)
@pytest.mark.parametrize("fields", [None, {}, {"topic": "TopicTest"}, {"topic": "TopicTest", "queueId": "seven"}])
def test_missing_field(fields: dict[str, str] | None, cluster: Cluster) -> None:
    with raw.Connection(cluster.broker.address) as connection:
        header, _ = connection.request(GET_MAX_OFFSET, fields)
        acceptable = {0, SYSTEM_ERROR} if fields and "topic" in fields else {SYSTEM_ERROR}
        if fields is not None:
            expect_that(header["code"] in acceptable, f"a code of {acceptable}", header)
        again, _ = connection.request(7777)
        expect(again["opaque"], 2, "the next answer on the connection")


@case(
    "bad_input/6", "a frame that comes byte by byte, and many in one segment, are each answered", source="NettyDecoder"
)
def test_splits(address: str) -> None:
    def frame(opaque: int) -> bytes:
        return raw.frame(
            {
                "code": GET_ROUTEINFO,
                "flag": 0,
                "language": "JAVA",
                "opaque": opaque,
                "version": 353,
                "extFields": {"topic": "absent"},
            }
        )

    with raw.Connection(address) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(900):
            connection.send(bytes([byte]))
        expect(connection.read_frame()[0]["opaque"], 900, "answer to the frame in pieces")
        connection.send(b"".join(frame(1000 + n) for n in range(50)))
        answered = {connection.read_frame()[0]["opaque"] for _ in range(50)}
        expect(answered, set(range(1000, 1050)), "answers to fifty frames in one write")


@case(
    "bad_input/7",
    "a frame of the largest size that is allowed is read whole and answered",
    source="com.rocketmq.remoting.frameMaxLength",
)
def test_largest_frame(address: str) -> None:
    header = {"code": 7777, "flag": 0, "language": "JAVA", "opaque": 3, "version": 353}
    overhead = len(raw.frame(header))
    with raw.Connection(address) as connection:
        connection.send(raw.frame(header, b"x" * (FRAME_MAX - overhead)))
        expect(connection.read_frame()[0]["opaque"], 3, "opaque of the answer")


@case(
    "bad_input/8",
    "a client that sends a response nobody waits for is ignored, and served on",
    source="NettyRemotingAbstract.processResponseCommand",
)
def test_stray_response(address: str) -> None:
    with raw.Connection(address) as connection:
        connection.send(raw.frame({"code": 0, "flag": 1, "language": "JAVA", "opaque": 77, "version": 353}))
        header, _ = connection.request(7777)
        expect(header["opaque"], 1, "opaque of the next answer")


@case(
    "bad_input/9",
    "connections that open and close without a word, or in the middle of a frame, trouble no other",
    source="NettyRemotingServer",
)
def test_hang_up(address: str, api: Api, cluster: Cluster) -> None:
    for number in range(60):
        with raw.Connection(address) as connection:
            if number % 2:
                connection.send(raw.frame(HEADER)[: number % 40])
    still_serves(cluster)
    topic = api.fresh("topic")
    expect(api.producer(cluster.namesrv).send(topic, ["x"])[0]["status"], "SEND_OK")


@case(
    "bad_input/10",
    "a malformed header, expression, handle, offset or group in any request of clients gets its code, and a remark when it is refused",
    source="the processors of 5.5.0; interop/bad_requests.py",
)  # fmt: skip
def test_bad_requests(api: Api, servers: Servers, kind: Kind, official_version: str) -> None:
    if kind == "official" and not official_version.startswith("5.5"):
        pytest.skip("the table is that of 5.5.0")
    address = servers.cluster({"enablePropertyFilter": "true"}).broker.address
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(address, topic, 4)
    wire.make_group(address, group)
    with raw.Connection(address) as connection:
        for _ in range(3):
            expect(wire.send(connection, topic)["code"], 0, "answer to a send")
        until(lambda: wire.told(wire.pull(connection, group, topic, 0, 0))[4] == 3, 10)
    named = {"{T}": topic, "{G}": group, "{long}": "x" * 300}

    def filled(text: str) -> str:
        for name, value in {**named, "{now}": str(int(time.time() * 1000))}.items():
            text = text.replace(name, value)
        return text

    wrong = []
    for code, fields, body, wanted in ROWS:
        for _ in range(5):  # a pop that was half a second on its way, as on a busy machine, is told so and nothing else
            asked = {name: filled(value) for name, value in fields.items()}
            answer, _ = raw.request(address, code, asked, filled(body).encode("latin-1"), version=477)
            if "{now}" not in fields.values() or "timeout too much" not in (answer.get("remark") or ""):
                break
        silent = answer["code"] in REFUSALS and not answer.get("remark")
        if answer["code"] != wanted or silent:
            wrong.append(f"{code} {fields} {body!r}: {answer['code']} {answer.get('remark')!r}, not {wanted}")
    expect(wrong, [], "answers that are not those of the official broker, or refusals without a remark")
