"""Headers and bodies: our codec against the official classes, in one Java process a release. Needs no servers."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from interop.case import CaseFailure, case, expect, expect_that, shown
from interop.codec_referee import GOLDEN, ask, decoded, encoded, golden
from rmqwire import bodies, requests
from rmqwire.bodies import Body, RegisterBrokerBody
from rmqwire.codes import Version
from rmqwire.command import RemotingCommand, decode_command, encode_command, new_request
from rmqwire.declare import Declaration, Role, declarations
from rmqwire.dialect import BeanMap, loads
from rmqwire.errors import RmqError
from rmqwire.frames import JSON, ROCKETMQ, FrameReader, encode_frame

NEWEST, OLDER = "5.5.0", "4.7.0"
GOLDEN_FOLDER = Path(__file__).parent.parent.parent / "tests" / "golden"


def sample(kind: Any, n: int = 1) -> Any:
    """Make a value of a field's type or of a struct: no member at its default, one element in each collection."""
    origin = get_origin(kind)
    if origin is Annotated:
        return 1000 + n
    if origin in (UnionType, Union):
        return sample(next(member for member in get_args(kind) if member is not type(None)), n)
    if origin is list:
        return [sample(get_args(kind)[0], n)]
    if origin is dict:
        key, value = get_args(kind)
        return {sample(key, n): sample(value, n)}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        names = [name for name in kind.__struct_fields__ if name not in getattr(kind, "WRITTEN_FROM", {})]
        members = {name: ENUMS.get((kind.__name__, name)) or sample(hints[name], at) for at, name in enumerate(names)}
        return kind(**members)
    return {str: f"grün-{n}\x01\"/'", bool: True, float: 0.25 + n, bytes: b"\x01\x02"}[kind]


ENUMS = {
    ("TopicConfig", "topic_filter_type"): "MULTI_TAG",
    ("TopicConfigAndQueueMapping", "topic_filter_type"): "MULTI_TAG",
    ("Connection", "language"): "GO",
    ("ProducerInfo", "language"): "CPP",
    ("GroupRetryPolicy", "type"): "EXPONENTIAL",
    ("MessageQueueAssignment", "mode"): "POP",
    ("SetMessageRequestModeRequestBody", "mode"): "POP",
    ("ConsumeMessageDirectlyResult", "consume_result"): "CR_LATER",
    ("LiteSubscriptionDTO", "action"): "PARTIAL_ADD",
    ("OffsetOption", "type"): "OFFSET",
    **{(name, "message_model"): "BROADCASTING" for name in ("ConsumerData", "ConsumerConnection")},
    ("QueryAssignmentRequestBody", "message_model"): "BROADCASTING",
    **{(name, "consume_type"): "CONSUME_ACTIVELY" for name in ("ConsumerData", "ConsumerConnection")},
    **{(name, "consume_from_where"): "CONSUME_FROM_TIMESTAMP" for name in ("ConsumerData", "ConsumerConnection")},
    ("SearchOffsetByTimestamp", "boundary_type"): "UPPER",
    ("UpdateAndCreateTopic", "topic_filter_type"): "MULTI_TAG",
    ("UpdateAndCreateStaticTopic", "topic_filter_type"): "MULTI_TAG",
    ("EndTransaction", "commit_or_rollback"): 8,
    ("PopCheckPoint", "count"): 5,
    ("PopCheckPoint", "revive_time"): 2010,
    ("QueueTimeSpan", "min_time_stamp_str"): "1970-01-01#00:00:01:001",
    ("QueueTimeSpan", "max_time_stamp_str"): "1970-01-01#00:00:01:002",
    ("QueueTimeSpan", "consume_time_stamp_str"): "1970-01-01#00:00:01:003",
}  # fmt: skip
"""Values that are names of constants in Java, checked there, of one byte, or made of other members."""

assert requests.UNSERVED  # importing the requests declares them
DECLARED = sorted(
    {id(entry): entry for role in Role for entry in declarations(role).values()}.values(), key=lambda entry: entry.code
)


def java_class(entry: Declaration) -> str:
    """Give the official header class of a request, "" when 5.5.0 has none."""
    return entry.source.split(" ")[0] if entry.source.endswith(f"Header {NEWEST}") or "HeaderV2" in entry.source else ""


def fields_of(command: RemotingCommand) -> list[str]:
    """Say of a command what the referee says."""
    remark = "-" if command.remark is None else encoded(command.remark.encode())
    ext = [f"{encoded(key.encode())}={encoded(text.encode())}" for key, text in sorted(command.ext.items())]
    numbers = [command.code, command.flag, command.opaque, command.version]
    return [*map(str, numbers), str(command.language).replace("None", "null"), remark, *ext]


@case(
    "codec/1",
    "every declared request header, in both serializations, is read by the official class with the values we wrote",
    source="RemotingCommand.decodeCommandCustomHeader",
)
def test_headers_are_read() -> None:
    questions, wanted = [], []
    for entry in (entry for entry in DECLARED if java_class(entry)):
        header = sample(entry.header)
        for serialization in (JSON, ROCKETMQ):
            command = new_request(entry.code % 2**15, header, 7)
            command.serialization = serialization
            questions.append(f"H {java_class(entry)} {encoded(encode_command(command))}")
            wanted.append((entry, header, command.ext))
    different = []
    for (entry, header, ext), (*values, wire) in zip(wanted, ask(NEWEST, questions), strict=True):
        if values == ["error"]:
            different.append(f"{entry.header.__name__}: {wire}")
            continue
        read = {name: decoded(text).decode() for name, _, text in (value.partition("=") for value in values)}
        ours = {name: text for name, text in ext.items() if name in read}
        (frame,) = FrameReader().receive(decoded(wire))
        back = decode_command(frame).header(entry.header)
        unread = BESIDE | (NOT_DECODED if java_class(entry) == "SendMessageRequestHeaderV2" else frozenset())
        if read != {**read, **ours} or set(ext) - set(read) - unread or not same(back, header, unread):
            different.append(f"{entry.header.__name__}: read {read} of {ext}, wrote {back}")
    expect_that(not different, "the same fields", different[:3])


BESIDE = frozenset(["MSG_REGION", "TRACE_ON", "__ZONE_MODE", "__ZONE_NAME", "_UNIQUE_KEY_QUERY", "removeOffset"])
"""Ext fields that are in no header class of 5.5.0."""

NOT_DECODED = frozenset(["ns", "nsd", "oway", "lo"])
"""Inherited fields that the class with one-letter names, which decodes itself, leaves out."""


def same(read: msgspec.Struct, sent: msgspec.Struct, unread: frozenset[str]) -> bool:
    """Compare headers but for the fields that the official class does not read."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(type(sent))}
    return all(getattr(read, name) == getattr(sent, name) for name, wire in names.items() if wire not in unread)


HEADERS = [
    b'{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,"version":513}',
    b"{'code':105,'extFields':{'topic':'T'},'flag':0,'language':'GO','opaque':-7,'version':317}",
    b"{code:105,extFields:{topic:'T'},flag:0,language:'CPP',opaque:7,version:0}",
    b'{"code":"105","extFields":{"queueId":1,"committed":true,"x":null},"flag":"2","opaque":"7","version":"1"}',
    b'{ "code" : 105 ,\n"flag":1,"language":9,"opaque":7,"remark":"r\\u00e9\\n","version":1}',
    b'{"code":105,"extFields":null,"flag":0,"language":"ALIEN","opaque":7,"remark":null,"version":1}',
    b'{"code":105,"extFields":{"p":"a\\u0001b\\u0002"},"flag":0,"opaque":7,"version":1,"unknown":[{"x":1}]}',
    b'{"code":105,"extFields":{"p":"\xc3\xa9\\ud83d\\ude00"},"flag":0,"opaque":7,"version":1}',
    b'{"code":105,"extFields":{"p":"a\x01b\x02"},"flag":0,"opaque":7,"version":1}',
    b'{"code":105,"extFields":{},"flag":0,"opaque":7,"version":1,}',
    b'{"opaque":7}',
    b"",
    b"[]",
    b"null",
    b"{",
    b'{"code":}',
    b'{"code":"x"}',
    b'{"code":2147483648}',
    b'{"extFields":7}',
]


@case(
    "codec/2",
    "a JSON header that an official server reads is read by ours with the same values; one that both refuse is refused",
    source="RemotingSerializable.decode, fastjson 1.2.62 and fastjson2 2.0.59",
)
@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_json_headers(version: str) -> None:
    answers = ask(version, [f"F {encoded(encode_frame(JSON, header))}" for header in HEADERS])
    different = []
    for header, answer in zip(HEADERS, answers, strict=True):
        try:
            ours = fields_of(decode_command((JSON, header, b"")))
        except RmqError:
            ours = ["error"]
        if answer[0] != "error" and ours != answer:
            different.append((header, answer, ours))
    expect_that(not different, "the same fields", different[:3])


@case(
    "codec/3",
    "a binary header of any length and any text is read by the official class with the values we wrote",
    source="RocketMQSerializable",
)
@pytest.mark.parametrize("version", [OLDER, NEWEST])
def test_binary_headers(version: str) -> None:
    commands = [
        RemotingCommand(310, opaque=-1, flag=3, version=0, language="GO", serialization=ROCKETMQ),
        RemotingCommand(-1, remark="grün", ext={"k": "世界" * 9000, "": "x"}, serialization=ROCKETMQ),
        RemotingCommand(200050, opaque=2**31 - 1, version=513, ext={"a": "1"}, body=b"b", serialization=ROCKETMQ),
    ]
    frames = [encode_command(command) for command in commands]
    for frame, answer in zip(frames, ask(version, [f"F {encoded(frame)}" for frame in frames]), strict=True):
        ((serialization, header, body),) = FrameReader().receive(frame)
        if header.find(b"\x00\x00\x00\x00\x00\x01x") < 0:  # Java reads an empty name as null, which no map sorts
            expect(fields_of(decode_command((serialization, header, body))), answer)


KINDS = [getattr(bodies, name) for name in bodies.__all__ if name not in ("Body", "MessageQueue", "read_list")]
JAVA_BODIES = {
    "KvTable": "KVTable",
    "ConsumerOffsetTable": "ConsumerOffsetSerializeWrapper",
    "AclConfig": "GetBrokerClusterAclConfigResponseBody",
    "KvConfigTable": "KVConfigSerializeWrapper",
    "DelayOffsetTable": "DelayOffsetSerializeWrapper",
    "TimerMetrics": "TimerMetricsSerializeWrapper",
    "TimerMetric": "Metric",
    "PopAck": "BatchAckMsg",
    "PopOrder": "OrderInfo",
}


def bodies_of(version: str) -> list[tuple[type[Body], Body, list[str]]]:
    """Give samples of all bodies and what the referee makes of them, classes that it does not know left out."""
    values = [(kind, sample(kind)) for kind in KINDS]
    questions = [
        f"B {JAVA_BODIES.get(kind.__name__, kind.__name__)} {encoded(value.encode())}" for kind, value in values
    ]
    answers = ask(version, questions)
    return [
        (kind, value, answer) for (kind, value), answer in zip(values, answers, strict=True) if answer != ["unknown"]
    ]


@case(
    "codec/4",
    "every body is read by the official 5.5.0 class and written again with the same bytes",
    source="RemotingSerializable 5.5.0",
)
def test_bodies_byte_for_byte() -> None:
    different = []
    judged = bodies_of(NEWEST)
    expect({kind.__name__ for kind in KINDS} - {kind.__name__ for kind, _, _ in judged}, GONE, "unknown classes")
    for kind, value, answer in judged:
        ours = value.encode().replace(b'"topicSynFlag":1004,', b"")
        theirs = b"error" if answer[0] == "error" else decoded(answer[0])
        if theirs != ours:
            different.append(
                f"{kind.__name__}: wrote {ours!r}, official {answer if answer[0] == 'error' else theirs!r}"
            )
    expect_that(not different, "the same bytes", "\n".join(different))


@case(
    "codec/5",
    "what the official 4.7.0 class reads of a body has the values we wrote, and we read what it writes",
    source="RemotingSerializable 4.7.0",
)
def test_bodies_of_older_peers() -> None:
    different = []
    for kind, value, answer in bodies_of(OLDER):
        if answer[0] == "error" or not contains(loads(value.encode()), loads(decoded(answer[0]))):
            theirs = answer if answer[0] == "error" else decoded(answer[0])
            different.append(f"{kind.__name__}: wrote {value.encode()!r}, official {theirs!r}")
        else:
            kind.decode(decoded(answer[0]))
    expect_that(not different, "the same members", "\n".join(different))


GONE = {"AclConfig", "PlainAccessConfig"}
"""Bodies of ACL 1.0, which 5.5.0 has no more."""


def contains(ours: Any, theirs: Any) -> bool:
    """Say whether every member that they wrote is ours."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(name in ours and contains(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, BeanMap):
        return all(
            contains(key, their_key) and contains(value, their_value)
            for (key, value), (their_key, their_value) in zip(ours.pairs, theirs.pairs, strict=True)
        )
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(contains, ours, theirs))
    return bool(ours == theirs)


@case(
    "codec/6",
    "a compressed registration written by us is read by the official class, and the other way round",
    source="RegisterBrokerBody.decode, encode",
)
@pytest.mark.parametrize(("version", "ordinal"), [(OLDER, Version.V4_7_0), (NEWEST, Version.V5_5_0)])
def test_compressed_registrations(version: str, ordinal: int) -> None:
    whole = RegisterBrokerBody(filter_server_list=["f:1"])
    wrapper = whole.topic_config_serialize_wrapper
    wrapper.data_version = bodies.DataVersion(counter=1, timestamp=2)
    wrapper.topic_config_table["T"] = bodies.TopicConfig(topic_name="T", read_queue_nums=3, write_queue_nums=4, perm=2)
    if ordinal >= Version.V5_0_0:
        wrapper.topic_config_table["T"].attributes = {"+k": "v"}
        wrapper.topic_queue_mapping_info_map["S"] = bodies.TopicQueueMappingInfo(topic="S", curr_id_map={0: 1})
    questions = [f"C {ordinal} {encoded(whole.compress(ordinal))}", f"X {ordinal} {encoded(whole.encode())}"]
    (read,), (written,) = ask(version, questions)
    for got in (RegisterBrokerBody.decode(decoded(read)), RegisterBrokerBody.read(decoded(written), ordinal)):
        got.topic_config_serialize_wrapper.mapping_data_version = wrapper.mapping_data_version
        if got != whole:
            raise CaseFailure(shown(whole), shown(got))


@case(
    "codec/7",
    "header classes, fresh bodies and version names are those that the unit tests compare with",
    source="rocketmq-remoting, rocketmq-common",
)
@pytest.mark.parametrize("version", GOLDEN)
def test_golden_files(version: str) -> None:
    for name, text in golden(version).items():
        if name.split("-")[0] in GOLDEN[version]:
            expect((GOLDEN_FOLDER / name).read_text() == text, True, f"tests/golden/{name} is up to date")
