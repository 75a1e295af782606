"""What fastjson writes is read, what we write fastjson reads; no text costs more than its size."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rmqwire.dialect import BeanMap, dumps, java_double, loads, pretty
from rmqwire.dialect_reader import DEPTH_MAX
from rmqwire.errors import MalformedBody

QUEUE = {"brokerName": "b", "queueId": 0, "topic": "t"}

BOTH_WAYS: list[tuple[Any, bytes]] = [
    ({"a": 1, "b": [True, False, None, "x"]}, b'{"a":1,"b":[true,false,null,"x"]}'),
    ({}, b"{}"),
    ([], b"[]"),
    ([[], {}], b"[[],{}]"),
    ({"d": [0.0, 12.5, 1e-7, 1.23456789e27]}, b'{"d":[0.0,12.5,1.0E-7,1.23456789E27]}'),
    ('a"b\\c\n\x01é\u2028', b'"a\\"b\\\\c\\n\\u0001\xc3\xa9\xe2\x80\xa8"'),
    (
        {"offsetTable": BeanMap([(QUEUE, 5)])},
        b'{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5}}',
    ),
    (BeanMap([([1], {}), ({}, [])]), b"{[1]:{},{}:[]}"),
]

LENIENT: list[tuple[bytes, Any]] = [
    (b"{0:1,1:'x'}", {"0": 1, "1": "x"}),
    (b'{"t@g":{0:12,1:9}}', {"t@g": {"0": 12, "1": 9}}),
    (b'{"t":{ 0 :12 ,\n\t-1: 9}}', {"t": {"0": 12, "-1": 9}}),
    (b'{"a,1:":{7:"{8:9}"}}', {"a,1:": {"7": "{8:9}"}}),
    (rb'{"a\"1":{7:"\\"}}', {'a"1': {"7": "\\"}}),
    (b"{a:1,$b_2:2,'c d':3}", {"a": 1, "$b_2": 2, "c d": 3}),
    (b"{,,'a':[,1,,2,],}", {"a": [1, 2]}),
    (b"/*x*/{'a'/**/:// y\n1}//", {"a": 1}),
    (b"['\\u0041\\x42\\b\\t\\n\\f\\r\\v\\0\\/\\'\\\"\\q']", ["AB\b\t\n\f\r\v\0/'\"q"]),
    (b"'\\ud83d\\ude00\\ud83d'", "\U0001f600�"),
    (b'["\xff"]', ["�"]),
    (b"[1L,2.5D,1e3,+4,-5]", [1, 2.5, 1000.0, 4, -5]),
    (b"[NaN,undefined,null,true,false,'x']", [None, None, None, True, False, "x"]),
    (b"\xef\xbb\xbf{'a':1}", {"a": 1}),
    (b"[{'a':1},{'$ref':'$[0]'}]", [{"a": 1}, {"a": 1}]),
    (b'{"a":{"b":[1,2]},"c":{"$ref":"$.a.b[1]"}}', {"a": {"b": [1, 2]}, "c": 2}),
    (b'{"a.b":1,"c":{"$ref":"$[\'a.b\']"}}', {"a.b": 1, "c": 1}),
    (b'{"a":1,"c":[{"$ref":"$.x"},{"$ref":".."},{"$ref":"$a"}]}', {"a": 1, "c": [None] * 3}),
    (b'{"a":1,"c":[{"$ref":"$.a.b"},{"$ref":"$[3]"}]}', {"a": 1, "c": [None] * 2}),
    (b'{"a":[1],"c":[{"$ref":"$.a[9]"},{"$ref":"$.a[0]","x":1},{"$ref":5}]}',
     {"a": [1], "c": [None, {"$ref": "$.a[0]", "x": 1}, {"$ref": 5}]}),
    (b"{q:{{$ref:'$.k'}:1},k:{x:1}}", {"q": BeanMap([({"x": 1}, 1)]), "k": {"x": 1}}),
]  # fmt: skip

REFUSED = [
    b"",
    b" ",
    b"{",
    b"[",
    b"}",
    b"[1 2]",
    b"{'a' 1}",
    b"{'a':1 'b':2}",
    b"{'a':}",
    b"{:1}",
    b"{'a",
    b'"a\\',
    b"tru",
    b"1 2",
    b"1.2.3",
    b"12x",
    b"[.5]",
    b"/*",
    b"/",
    b"-",
    b"," + b"9" * 65,
    b"{" + b"'a':[" * 1000,
    b"[" * (DEPTH_MAX + 2) + b"]" * (DEPTH_MAX + 1) + b",]",
    b"[" * 100_000,
    b'{"a":{"$ref":"$"}}',
    b'{"a":{"$ref":"$.a"}}',
]


@pytest.mark.parametrize(("value", "data"), BOTH_WAYS)
def test_both_ways(value: Any, data: bytes) -> None:
    assert dumps(value) == data
    assert loads(data) == value
    assert loads(pretty(value)) == value


@pytest.mark.parametrize(("data", "value"), LENIENT)
def test_what_fastjson_accepts(data: bytes, value: Any) -> None:
    assert loads(data) == value


@pytest.mark.parametrize("data", REFUSED)
def test_what_nobody_accepts(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        loads(data)


def test_references_do_not_multiply() -> None:
    """Twenty lines of text that name each other twice would be a million values."""
    members = ['"a0":["x","x"]']
    members += [f'"a{n}":[{{"$ref":"$.a{n - 1}"}},{{"$ref":"$.a{n - 1}"}}]' for n in range(1, 25)]
    with pytest.raises(MalformedBody):
        loads(("{" + ",".join(members) + "}").encode())


def test_bare_integer_keys_are_read_fast() -> None:
    """The table of a broker with 20,000 queues is read without the character-wise reader."""
    text = "{" + ",".join(f'"T{n}@g":{{0:{n},1:{n}}}' for n in range(10_000)) + "}"
    tree = loads(text.encode())
    assert tree["T9999@g"] == {"0": 9999, "1": 9999}


def test_pretty_is_the_text_of_the_official_files() -> None:
    tree = {
        "offsetTable": {"T@g": {0: 5, 1: 6}, "e": {}},
        "list": [1, 2],
        "empty": [],
        "nested": [{"x": 1}],
        "beans": BeanMap([(QUEUE, 5)]),
    }
    assert pretty(tree).decode() == (
        '{\n\t"offsetTable":{\n\t\t"T@g":{\n\t\t\t0:5,\n\t\t\t1:6\n\t\t},\n\t\t"e":{}\n\t},\n\t"list":[\n\t\t1,\n\t\t2\n\t],'
        '\n\t"empty":[],\n\t"nested":[\n\t\t{\n\t\t\t"x":1\n\t\t}\n\t],\n\t"beans":{\n\t\t{\n\t\t\t"brokerName":"b",'
        '\n\t\t\t"queueId":0,\n\t\t\t"topic":"t"\n\t\t}:5\n\t}\n}'
    )


def test_standard_json_on_demand() -> None:
    tree = {"b": {1: "y", 0: "x"}, "a": {2: 1, 10: 2}, "c": {"z": 1, "y": 2}, "m": {1: 0, "k": 0}}
    data = dumps(tree, quoted_integer_keys=True)
    assert data == b'{"a":{"2":1,"10":2},"b":{"0":"x","1":"y"},"c":{"y":2,"z":1},"m":{"1":0,"k":0}}'
    assert dumps(tree) == b'{"b":{1:"y",0:"x"},"a":{2:1,10:2},"c":{"z":1,"y":2},"m":{1:0,"k":0}}'


def test_other_values() -> None:
    assert dumps((1, frozenset([2]), b"\x01\x02", {None: 1})) == b'[1,[2],"AQI=",{null:1}]'
    with pytest.raises(TypeError, match="object"):
        dumps(object())
    assert repr(BeanMap([(1, 2)])) == "BeanMap([(1, 2)])"
    assert BeanMap([]) != {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e-3, "0.001"),
        (9.999e-4, "9.999E-4"),
        (0.25, "0.25"),
        (100.0, "100.0"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-12345678.9, "-1.23456789E7"),
        (5e-324, "5.0E-324"),
        (math.nan, "null"),
        (math.inf, "null"),
    ],
)
def test_doubles_as_java_prints_them(value: float, text: str) -> None:
    assert java_double(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_survives(value: float) -> None:
    assert float(java_double(value)) == value


STANDARD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc 1:{", max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(STANDARD)
def test_standard_json_is_read_as_json(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(dumps(value)) == value
    assert json.loads(dumps(value)) == value
    assert json.loads(pretty(value)) == value


@given(STANDARD)
def test_the_lenient_reader_agrees_on_standard_json(value: Any) -> None:
    """A trailing comma keeps msgspec from reading the same text."""
    assert loads(b"[" + json.dumps(value).encode() + b",]") == [value]


TOKENS = st.lists(
    st.sampled_from(
        [*"{}[]:,\"'\\/*$.-+0e", "17", "abc", '"x"', "'y'", "null", " ", '"$ref"', '"$.a"', "\\u12", "//", "\n"]
    ),
    max_size=40,
).map(lambda parts: "".join(parts).encode())


@given(st.binary(max_size=60) | TOKENS)
@example(b'{"a":1e999}')
@example(b"['\\uD83D'")
def test_any_bytes_give_a_value_or_malformed_body(data: bytes) -> None:
    try:
        value = loads(data)
    except MalformedBody:
        return
    msgspec.json.encode(str(value))
    assert loads(dumps(value)) == value or b"." in data or b"e" in data or b"{" in data
