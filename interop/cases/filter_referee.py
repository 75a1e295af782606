"""Filter expressions: our compiler against the official classes, in one Java process. Needs no servers."""

from __future__ import annotations

from interop import filter_table
from interop.case import CaseFailure, case, expect, shown
from interop.filter_referee import BLOOMS, Verdict, judge
from rmqd.protocol.filter import BloomLayout, FilterError, compile_expression
from rmqd.protocol.filter.errors import Unevaluable
from rmqd.protocol.filter.parser import parse

SEED, COUNT = 20260, 10_000


def ours(expression: str) -> Verdict:
    """Say what we make of an expression."""
    try:
        compiled = compile_expression(expression)
    except FilterError as refused:
        return Verdict(False, refused.remark, "")
    letters = []
    for properties in filter_table.PROPERTIES:
        try:
            letters.append({True: "T", False: "F", None: "N"}[compiled.evaluate(properties)])
        except Unevaluable:
            letters.append("X")
    return Verdict(True, parse(expression).text(), "".join(letters))


def compare(expressions: list[str]) -> None:
    """Fail at the first expressions that are judged differently."""
    official, _ = judge(expressions, filter_table.PROPERTIES)
    different = [
        (expression, theirs, mine)
        for expression, theirs in zip(expressions, official, strict=True)
        if (mine := ours(expression)) != theirs
    ]
    if different:
        expression, theirs, mine = different[0]
        raise CaseFailure(f"{expression!r}: {shown(theirs)}", f"{shown(mine)}; {len(different)} expressions differ")


@case(
    "filter_referee/1",
    "what a user may write compiles or fails with the same message, and gives the same for every message",
    source="rocketmq-filter 5.5.0, SelectorParser, ComparisonExpression",
)
def test_written_expressions() -> None:
    compare(filter_table.WRITTEN)


@case(
    "filter_referee/2",
    "random expressions compile or fail with the same message, and give the same for every message",
    source="rocketmq-filter 5.5.0, SelectorParser, ComparisonExpression",
)
def test_generated_expressions() -> None:
    compare(filter_table.generated(SEED, COUNT))


@case(
    "filter_referee/3",
    "a consumer has the same bits of the bloom filter",
    source="rocketmq-filter 5.5.0, BloomFilter",
)
def test_bloom_bits() -> None:
    _, official = judge([], [], BLOOMS)
    mine = []
    for error_rate, consumers, text in BLOOMS:
        layout = BloomLayout(error_rate, consumers)
        mine.append([layout.bit_num, *layout.bit_positions(text)])
    expect(mine, official)
