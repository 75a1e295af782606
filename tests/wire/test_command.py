"""Headers as official peers write them are read, and ours are what official peers write."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rmqwire.codes import OUR_VERSION, RequestCode
from rmqwire.command import RemotingCommand, decode_command, encode_command, ext_of, new_request
from rmqwire.declare import Header, NoFields
from rmqwire.errors import MalformedHeader, MissingField, UnknownSerialization, WireError
from rmqwire.frames import JSON, ROCKETMQ, FrameReader
from rmqwire.requests.maintenance import CheckRocksdbCqWriteProgress
from rmqwire.requests.offset import GetMaxOffset, InvokeBrokerToResetOffset
from rmqwire.requests.route import GetRouteInfoByTopic
from rmqwire.requests.send import SendMessageV2

from .strategies import TEXT
from .test_frames import BINARY_REQUEST, ROUTE_REQUEST

RESPONSE = b'{"code":0,"flag":1,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":0}'


def read(header: bytes, serialization: int = JSON, body: bytes = b"") -> RemotingCommand:
    return decode_command((serialization, header, body))


def of(command: RemotingCommand) -> tuple[object, ...]:
    return (
        command.code,
        command.flag,
        command.opaque,
        command.version,
        command.language,
        command.remark,
        command.ext,
        command.body,
        command.serialization,
    )


def test_json_request_both_ways() -> None:
    command = read(ROUTE_REQUEST)
    assert of(command) == (105, 0, 7, 513, "JAVA", None, {"topic": "T"}, b"", JSON)
    assert command.header(GetRouteInfoByTopic) == GetRouteInfoByTopic(topic="T")
    assert encode_command(command)[8:] == ROUTE_REQUEST
    ours = new_request(105, GetRouteInfoByTopic(topic="T"), 7)
    assert encode_command(ours)[8:] == ROUTE_REQUEST
    assert "code=105 opaque=7" in repr(ours)


def test_json_response_both_ways() -> None:
    command = read(RESPONSE)
    assert of(command) == (0, 1, 7, 0, "JAVA", None, {}, b"", JSON)
    assert command.is_response
    assert not command.is_oneway
    assert encode_command(command)[8:] == RESPONSE


def test_binary_request_both_ways() -> None:
    command = read(BINARY_REQUEST, ROCKETMQ)
    assert of(command) == (105, 0, 7, 513, "JAVA", None, {"topic": "T"}, b"", ROCKETMQ)
    assert command.header(GetRouteInfoByTopic) == GetRouteInfoByTopic(topic="T")
    assert encode_command(command)[8:] == BINARY_REQUEST


def test_a_request_without_fields_has_no_ext() -> None:
    assert b"extFields" not in encode_command(new_request(106, NoFields(), 1))
    assert b"extFields" not in encode_command(new_request(106, None, 1))
    oneway = new_request(15, None, 1, oneway=True)
    assert oneway.is_oneway
    assert not oneway.is_response


COMMANDS = st.builds(
    RemotingCommand,
    st.integers(-(2**15), 2**15 - 1),
    flag=st.integers(-(2**31), 2**31 - 1),
    opaque=st.integers(-(2**31), 2**31 - 1),
    version=st.integers(0, 2**15 - 1),
    language=st.sampled_from(["JAVA", "GO", "CPP", "NODE_JS", "RUST"]),
    remark=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
    ext=st.dictionaries(TEXT, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=4),
    body=st.binary(max_size=9),
    serialization=st.sampled_from([JSON, ROCKETMQ]),
)


@given(COMMANDS)
def test_every_command_survives_both_headers(command: RemotingCommand) -> None:
    (frame,) = FrameReader().receive(encode_command(command))
    assert of(decode_command(frame)) == of(command)


def test_java_text_in_the_binary_header() -> None:
    """Codes above 32767 do not fit; official peers cut them, and so do we. Empty values read back as absent."""
    command = RemotingCommand(
        200050, language="ALIEN", version=70000, ext={"a": "", "b": "ü"}, remark="", serialization=ROCKETMQ
    )
    (frame,) = FrameReader().receive(encode_command(command))
    back = decode_command(frame)
    assert (back.code, back.language, back.version, back.ext, back.remark) == (3442, "OTHER", 4464, {"b": "ü"}, None)


def test_languages() -> None:
    assert read(b'{"language":9}').language == "GO"
    assert read(b'{"language":99}').language is None
    assert read(b'{"language":-1}').language is None
    assert read(b'{"language":"ALIEN"}').language is None
    assert read(b'{"language":null}').language is None
    assert read(b"{}").language == "JAVA"
    assert read(BINARY_REQUEST[:2] + b"\x63" + BINARY_REQUEST[3:], ROCKETMQ).language is None
    assert b'"language":"OTHER"' in encode_command(RemotingCommand(1, language=None))


@pytest.mark.parametrize(
    "header",
    [
        b"{'code':105,'extFields':{'topic':'T'},'flag':0,'language':'JAVA','opaque':7,'version':513}",
        b"{code:105,extFields:{topic:'T'},flag:0,language:'JAVA',opaque:7,version:513}",
        b'{"code":105,"extFields":{"topic":"T",},"flag":0,,"language":"JAVA","opaque":7,"version":513,}',
        b'{"code":105,/*x*/"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,"version":513}//',
        b'{"code":"105","extFields":{"topic":"T","x":null},"flag":"0","language":"JAVA","opaque":"7","version":"513"}',
        b'{"code":105,"extFields":{"topic":"T"},"flag":null,"language":"JAVA","opaque":7,"remark":null,"version":513}',
        b'{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,"version":513,"x":[{"y":1}]}',
    ],
)
def test_what_fastjson_reads_is_read(header: bytes) -> None:
    command = read(header)
    assert of(command) == (105, 0, 7, 513, "JAVA", None, {"topic": "T"}, b"", JSON)
    assert command.header(GetRouteInfoByTopic) == GetRouteInfoByTopic(topic="T")


def test_text_that_json_forbids() -> None:
    """Properties hold 0x01 and 0x02; a peer that does not escape them is read as fastjson reads it."""
    assert read(b'{"extFields":{"topic":"a\x01b\x02"}}').ext == {"topic": "a\x01b\x02"}
    assert read(b'{"extFields":{"topic":"a\xff"}}').ext == {"topic": "a�"}
    assert read(b'{"extFields":{"topic":"a\xff"}}').header(GetRouteInfoByTopic).topic == "a�"
    assert read(b'{"remark":"\xff"}').remark == "�"
    assert read(rb'{"extFields":{"topic":"\ud83d\ude00 \ud83d"}}').ext == {"topic": "\U0001f600 �"}
    raw = BINARY_REQUEST[:-1] + b"\xff"
    assert read(raw, ROCKETMQ).ext == {"topic": "�"}


def test_ext_fields_of_other_types() -> None:
    """Java turns numbers, booleans and objects into text; null is absent."""
    command = read(b'{"extFields":{"topic":12,"queueId":3,"committed":false,"x":{"a":[1]},"y":null,"z":1.5}}')
    assert command.ext == {"topic": "12", "queueId": "3", "committed": "false", "x": '{"a":[1]}', "z": "1.5"}
    assert command.header(GetMaxOffset) == GetMaxOffset(topic="12", queue_id=3, committed=False)
    assert read(b'{"extFields":null}').ext == {}
    assert read(b"{}").ext == {}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("TRUE", True), ("yes", False), ("", False)])
def test_only_true_is_true(text: str, value: bool) -> None:
    command = RemotingCommand(30, ext={"topic": "T", "queueId": "1", "committed": text, "lo": text})
    (frame,) = FrameReader().receive(encode_command(command))
    header = decode_command(frame).header(GetMaxOffset)
    assert (header.committed, header.logical) == (value, value)
    assert command.header(GetMaxOffset) == header


def test_a_number_that_does_not_parse_leaves_the_default() -> None:
    ext = {"topic": "T", "group": "g", "queueId": "x", "offset": "99999999999999999999", "timestamp": " 1"}
    header = RemotingCommand(222, ext=ext).header(InvokeBrokerToResetOffset)
    assert (header.queue_id, header.offset, header.timestamp) == (-1, None, 0)


@pytest.mark.parametrize(
    "ext", [{"topic": "T"}, {"topic": "T", "queueId": "x"}, {"topic": "T", "queueId": str(2**31)}, {}, None]
)
def test_a_required_field_must_be_there(ext: dict[str, str] | None) -> None:
    (frame,) = FrameReader().receive(encode_command(RemotingCommand(30, ext=ext)))
    with pytest.raises(MissingField, match=r"queueId|topic") as caught:
        decode_command(frame).header(GetMaxOffset)
    assert caught.value.code == 1
    with pytest.raises(MissingField):
        RemotingCommand(30, ext=ext).header(GetMaxOffset)


def test_ext_of_leaves_absent_fields_out() -> None:
    header = CheckRocksdbCqWriteProgress(topic="T")
    assert ext_of(header) == {"topic": "T", "checkStoreTime": "0"}
    assert ext_of(GetMaxOffset(topic="T", queue_id=-1)) == {"topic": "T", "queueId": "-1", "committed": "true"}


def test_one_handler_serves_both_send_headers() -> None:
    ext = {"a": "g", "b": "T", "c": "TBW102", "d": "4", "e": "-1", "f": "0", "g": "1", "h": "2", "m": "true", "n": "b"}
    header = RemotingCommand(310, ext=ext).header(SendMessageV2)
    assert (header.producer_group, header.topic, header.queue_id, header.batch) == ("g", "T", -1, True)
    assert (header.broker_name, header.reconsume_times, header.max_reconsume_times) == ("b", 0, None)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"{'code':}",
        b'{"code":"x"}',
        b'{"code":1e99}',
        b'{"code":2147483648}',
        b'{"opaque":{}}',
        b'{"language":[]}',
        b'{"extFields":' + b"[" * 100_000,
        b"{" * 100_000,
        b'{"x":{"$ref":"$"},1:2',
    ],
)
def test_a_header_that_fastjson_refuses_ends_the_connection(header: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read(header)


@pytest.mark.parametrize("ext", [b"[]", b"7", b'"x"', b'"\xff"'])
def test_ext_fields_must_be_an_object(ext: bytes) -> None:
    command = read(b'{"extFields":' + ext + b"}")
    with pytest.raises(MalformedHeader):
        command.header(GetRouteInfoByTopic)


def test_ext_fields_that_even_the_lenient_reader_refuses() -> None:
    command = RemotingCommand(1)
    command._ext, command._raw = None, b"{"
    with pytest.raises(MalformedHeader):
        _ = command.ext


@pytest.mark.parametrize("levels", [200, 600, 900, 980])
def test_ext_fields_of_many_levels_end_the_connection_or_are_text(levels: int) -> None:
    for header in (b'{"extFields":{"x":%b}}', b"{'extFields':{'x':%b}}"):
        try:
            assert read(header % (b"[" * levels + b"]" * levels)).ext == {"x": "[" * levels + "]" * levels}
        except MalformedHeader:
            pass


def test_a_lenient_header_keeps_its_reference() -> None:
    assert read(b"{a:{b:'T'},extFields:{topic:{$ref:'$.a.b'}}}").ext == {"topic": "T"}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        BINARY_REQUEST[:16],
        BINARY_REQUEST[:-1],
        BINARY_REQUEST[:13] + b"\x7f\xff\xff\xff" + BINARY_REQUEST[17:],
        BINARY_REQUEST[:13] + b"\xff\xff\xff\xff" + BINARY_REQUEST[17:],
        BINARY_REQUEST[:17] + b"\xff\xff\xff\xff" + BINARY_REQUEST[21:],
        BINARY_REQUEST[:21] + b"\xff\xff" + BINARY_REQUEST[23:],
        BINARY_REQUEST[:21] + b"\x7f\xff" + BINARY_REQUEST[23:],
        BINARY_REQUEST[:28] + b"\x00\x00\x00\x02" + BINARY_REQUEST[32:],
        BINARY_REQUEST[:28] + b"\xff\xff\xff\xff" + BINARY_REQUEST[32:],
    ],
)
def test_a_binary_header_whose_lengths_lie_ends_the_connection(header: bytes) -> None:
    with pytest.raises(MalformedHeader):
        read(header, ROCKETMQ)


def test_an_unknown_serialization_ends_the_connection() -> None:
    with pytest.raises(UnknownSerialization):
        read(b"{}", 2)


def read_all(frame: tuple[int, bytes, bytes]) -> None:
    try:
        command = decode_command(frame)
        for declared in (GetRouteInfoByTopic, SendMessageV2, InvokeBrokerToResetOffset):
            try:
                header: Header = command.header(declared)
            except MissingField:
                continue
            ext_of(header)
        encode_command(command)
    except WireError:
        pass


JSON_LIKE = st.lists(
    st.sampled_from(
        [
            *"{}[]:,\"'\\/*0.e-",
            *['"code":', '"extFields":{', '"topic":', "opaque:", "language:", '"T"', "7", "null", "true"],
            *['"$ref"', '"$.a"', "\\u", "d83d", "\x01", "\xff", " ", "//"],
        ]
    ),
    max_size=30,
).map(lambda parts: "".join(parts).encode("latin-1"))


@given(st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=80), st.binary(max_size=4)))
@example((0, b'{"extFields":{"a":1e999}}', b""))
@example((0, b"{code:" + b"9" * 5000 + b"}", b""))
def test_any_header_gives_a_command_or_a_wire_error(frame: tuple[int, bytes, bytes]) -> None:
    read_all(frame)


@given(JSON_LIKE)
def test_anything_like_json_gives_a_command_or_a_wire_error(header: bytes) -> None:
    read_all((JSON, header, b""))


@given(st.data())
def test_a_broken_binary_header_gives_a_command_or_a_wire_error(data: st.DataObject) -> None:
    header = bytearray(BINARY_REQUEST + data.draw(st.binary(max_size=9)))
    for _ in range(data.draw(st.integers(1, 4))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    read_all((ROCKETMQ, bytes(header), b""))


def test_ours_is_the_newest_version() -> None:
    assert RemotingCommand(RequestCode.HEART_BEAT).version == OUR_VERSION
