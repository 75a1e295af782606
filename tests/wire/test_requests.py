"""Every declared header survives the wire, and is the header class of the official release."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmqwire.codes import RequestCode
from rmqwire.command import decode_command, encode_command, ext_of, new_request
from rmqwire.declare import Declaration, Header, NoFields, Role, declaration_of, declarations, request
from rmqwire.fields import i32, i64
from rmqwire.frames import ROCKETMQ, FrameReader
from rmqwire.requests import UNSERVED, PullMessage, SendBatchMessage, SendMessage, SendMessageV2, SendReplyMessageV2

from .strategies import structs

GOLDEN = Path(__file__).parent.parent / "golden" / "headers-5.5.0.tsv"

DECLARATIONS = sorted(
    {id(entry): entry for role in Role for entry in declarations(role).values()}.values(), key=lambda entry: entry.code
)
HEADERS = sorted(
    {header for entry in DECLARATIONS for header in (entry.header, entry.reply)} - {NoFields},
    key=lambda header: header.__name__,
)

BESIDE_JAVA = {
    "GetRouteInfoRequestHeader": {"__ZONE_MODE", "__ZONE_NAME"},
    "RegisterBrokerRequestHeader": {"__ZONE_NAME"},
    "HeartbeatResponseHeader": {"IS_SUPPORT_HEART_BEAT_V2", "IS_SUB_CHANGE"},
    "SendMessageResponseHeader": {"MSG_REGION", "TRACE_ON"},
    "QueryMessageRequestHeader": {"_UNIQUE_KEY_QUERY"},
    "DeleteSubscriptionGroupRequestHeader": {"removeOffset"},
}
"""Ext fields that Java puts beside the fields of a header class, or that only 4.9 knows."""

OVERRIDDEN = {"SendMessageRequestHeaderV2": {"bname"}, "ConsumeMessageDirectlyResultRequestHeader": {"bname"}}
"""Inherited fields that a class replaces by one of its own with the same meaning."""


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.__name__)
@settings(max_examples=12)
@given(data=st.data())
def test_every_header_survives_both_serializations(header: type[Header], data: st.DataObject) -> None:
    value = data.draw(structs(header))
    command = new_request(1, value, 7)
    (frame,) = FrameReader().receive(encode_command(command))
    assert decode_command(frame).header(header) == value
    if all(ext_of(value).values()):  # an empty text is absent in the binary header
        command.serialization = ROCKETMQ
        (frame,) = FrameReader().receive(encode_command(command))
        assert decode_command(frame).header(header) == value


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.__name__)
def test_field_types_are_those_of_java(header: type[Header]) -> None:
    for field in msgspec.structs.fields(header):
        members = set(get_args(field.type)) if type(None) in get_args(field.type) else {field.type}
        assert members - {type(None)} <= {str, bool, i32, i64}, field.name


def official() -> dict[str, dict[str, tuple[str, bool]]]:
    """Give the fields of the official header classes, inherited ones included."""
    own: dict[str, dict[str, tuple[str, bool]]] = {}
    parents: dict[str, str] = {}
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("#"):
            continue
        name, kind, field, mark = [*line.split("\t"), "", ""][:4]
        own.setdefault(name, {})
        if kind == "extends":
            parents[name] = field
        else:
            own[name][field] = (kind, bool(mark))
    whole = {}
    for name, fields in own.items():
        parent = parents[name]
        while parent:
            fields = {**own[parent], **fields}
            parent = parents[parent]
        whole[name] = fields
    return whole


OFFICIAL = official()
JAVA_TYPES = {"String": str, "BoundaryType": str, "Integer": i32, "int": i32, "Long": i64, "long": i64}
JAVA_TYPES |= {"Boolean": bool, "boolean": bool}
IN_5_5 = [entry for entry in DECLARATIONS if entry.source.split()[0] in OFFICIAL]


def required(kind: str, marked: bool) -> bool:
    return marked and kind[0].isupper()  # a primitive has its default when the field is absent


@pytest.mark.parametrize("entry", IN_5_5, ids=lambda entry: entry.header.__name__)
def test_request_fields_are_those_of_the_official_class(entry: Declaration) -> None:
    java = entry.source.split()[0]
    want = {name: kind for name, kind in OFFICIAL[java].items() if name not in OVERRIDDEN.get(java, set())}
    ours = {field.encode_name: field for field in msgspec.structs.fields(entry.header)}
    assert set(ours) - BESIDE_JAVA.get(java, set()) == set(want)
    for name, (kind, marked) in want.items():
        field = ours[name]
        optional = [member for member in get_args(field.type) if member is not type(None)]
        declared = optional[0] if type(None) in get_args(field.type) else field.type
        assert declared == JAVA_TYPES[kind], name
        if field.required != required(kind, marked):
            assert (java, name) in NEVER_SENT_ABSENT, f"{name} is {'' if marked else 'not '}required in Java"


NEVER_SENT_ABSENT = {
    ("CreateTopicRequestHeader", "order"),  # has a default in Java
    ("GetAllTopicConfigRequestHeader", "topicSeq"),  # 4.x and Go send none of the class's fields
    ("GetAllSubscriptionGroupRequestHeader", "groupSeq"),
    ("UpdateConsumerOffsetRequestHeader", "queueId"),  # answered with a code of their own
    ("UpdateConsumerOffsetRequestHeader", "commitOffset"),
}
"""Fields marked CFNotNull that a request may well be without."""


OTHER_REPLIES = {
    "PeekMessageResponseHeader": "PopMessageResponseHeader",
    "CheckTransactionStateResponseHeader": "",  # nobody answers
    "QueryCorrectionOffsetHeader": "",
    "GetConsumeStatsInBrokerHeader": "",
    "ResetMasterFlushOffsetHeader": "",
}
"""Answers whose class is not named after the request's."""


@pytest.mark.parametrize("entry", IN_5_5, ids=lambda entry: entry.header.__name__)
def test_reply_fields_are_those_of_the_official_class(entry: Declaration) -> None:
    java = entry.source.split()[0].replace("RequestHeaderV2", "RequestHeader").replace("Request", "Response")
    java = OTHER_REPLIES.get(java, java)
    want = set(OFFICIAL.get(java, {}))
    if entry.header is SendBatchMessage:
        want = set(OFFICIAL["SendMessageResponseHeader"])
    ours = {field.encode_name for field in msgspec.structs.fields(entry.reply)}
    assert ours - BESIDE_JAVA.get(java, set()) == want


def test_every_code_is_declared_or_said_to_be_served_by_nobody() -> None:
    codes = {value for value in vars(RequestCode).values() if isinstance(value, int)}
    declared = {entry.code for entry in DECLARATIONS}
    assert declared | set(UNSERVED) == codes
    assert not declared & set(UNSERVED)


def test_how_many_requests_each_role_serves() -> None:
    """The counts of 5.5.0; the broker has the five codes of ACL 1.0 besides."""
    counts = {role: len(declarations(role)) for role in Role}
    assert counts == {Role.NAMESRV: 23, Role.BROKER: 113, Role.CLIENT: 8, Role.CONTROLLER: 12, Role.CONTAINER: 4}


def test_a_code_is_declared_once_for_a_role() -> None:
    class Again(Header):
        topic: str

    declare: Any = request(RequestCode.PULL_MESSAGE, served_by=Role.CLIENT | Role.BROKER, source="test")
    with pytest.raises(ValueError, match="11 is declared twice for BROKER"):
        declare(Again)
    with pytest.raises(KeyError):
        declaration_of(NoFields)
    assert declaration_of(PullMessage).code == 11


def test_one_handler_can_serve_all_forms_of_a_send() -> None:
    attributes = set(SendMessage.__struct_fields__)
    for header in (SendMessageV2, SendBatchMessage, SendReplyMessageV2):
        assert set(header.__struct_fields__) == attributes
