"""Expressions and messages to compare filters on: a written part, and one made of random pieces from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

PROPERTIES: list[dict[str, str]] = [
    {},
    {"a": "5"},
    {"a": "x"},
    {"a": "", "b": ""},
    {"a": "5", "b": "5"},
    {"a": "10", "b": "9"},
    {"a": "5.0", "b": "5"},
    {"a": "-3", "b": "x", "c": "true"},
    {"a": "true", "b": "TRUE", "c": "yes"},
    {"a": "3000000000", "b": "-2147483648"},
    {"a": "9223372036854775807", "b": "9223372036854775808"},
    {"a": " 7 ", "b": "+7", "c": "7"},
    {"a": "NaN", "b": "Infinity", "c": "-Infinity"},
    {"a": "1e3", "b": "1000", "c": "0x1p3"},
    {"a": "5f", "b": "5D", "c": ".5"},
    {"a": "0.0", "b": "-0.0", "c": "0"},
    {"a": "it's", "b": "ab'c", "c": "abc"},
    {"a": "grün", "b": "世界", "c": "🎉 party"},
    {"a": "٣", "b": "1_0", "c": "00012"},
    {"TAGS": "TagA", "KEYS": "k1 k2", "a": "5", "$x": "1", "_y": "2"},
]
"""Properties of messages: names are texts, values are texts."""

WRITTEN: list[str] = [
    # comparisons, every operator and kind of operand
    "a = 5", "a = '5'", "a <> 5", "a <> '5'", "a > 4", "a >= 5", "a < 6", "a <= 5", "5 = a", "5 < a", "'5' = a",
    "6 >= a", "a = b", "a <> b", "a > b", "a >= b", "a < b", "a <= b", "a = 5.0", "a > 4.5", "4.5 < a",
    "a = 5l", "a > 2147483648", "a > -2147483648", "a > -2147483647", "a < 9223372036854775807", "a = -3",
    "a = - -5", "a = +5", "a = + +5", "a > -a", "a = TRUE", "TRUE = a", "a = FALSE", "a <> true", "c = TRUE",
    "TRUE = TRUE", "TRUE <> FALSE", "5 = TRUE", "TRUE = 5", "'true' = TRUE", "TRUE = 'true'", "5 = 5.0",
    "5 = '5'", "'5' = 5", "'x' = 5", "5 > 4", "4 > 5.5", "5.5 >= 5.5", "a = -TRUE", "a > -NULL", "a = -'x'",
    "b > 1e300", "c < -1e300", "a < 1e-300", "a = 1E3", "a = .5", "c = .5", "c = 8", "c = 8.0",
    # null
    "a IS NULL", "a IS NOT NULL", "a is null is null", "5 IS NULL", "NULL IS NULL", "(a = b) IS NULL",
    "a = NULL", "NULL = a", "a <> NULL", "a > NULL", "a = (b)", "zz = yy", "zz <> yy", "zz = a", "a = zz",
    "NOT zz", "NOT a", "zz", "a", "NULL", "NOT NULL",
    # logic
    "TRUE", "FALSE", "not false", "a = 5 AND b = 5", "a = 5 OR b = 5", "NOT a = 5", "NOT (a = 5)",
    "NOT NOT (a = 5)", "a = 5 AND zz = 1", "a <> 5 AND zz = 1", "a = 5 OR zz = 1", "zz = 1 OR a = 5",
    "a > 5 OR b = 'x'", "b = 'x' OR a > 5", "a AND b", "a OR TRUE", "a OR b AND c", "(a OR b) AND c",
    "a = 1 OR a = 5 AND b = 5 OR a = 10", "a = 5 = TRUE", "(a > 4) = (b > 4)", "(a = 5) = 'true'",
    "'true' = (a = 5)", "a=5AND b=5", "a = 5 and\tb\n=\r\n5 or\ffalse",
    # BETWEEN
    "a BETWEEN 1 AND 5", "a BETWEEN 5 AND 5", "a NOT BETWEEN 1 AND 5", "a BETWEEN 5 AND 1", "a BETWEEN b AND 9",
    "a BETWEEN 1.5 AND 9", "a BETWEEN 1 AND 9 AND b = 5", "5 BETWEEN a AND b", "a BETWEEN 'a' AND 'b'",
    "a BETWEEN 'b' AND 'a'", "a BETWEEN NULL AND 5", "a BETWEEN 5 AND NULL", "a BETWEEN TRUE AND FALSE",
    "a BETWEEN FALSE AND TRUE", "a BETWEEN TRUE AND 'x'", "a BETWEEN 'x' AND TRUE", "a BETWEEN 'x' AND 5",
    "a BETWEEN 5 AND 'x'", "a BETWEEN 5 AND '9999999999'", "a BETWEEN 5.5 AND ' x '", "a BETWEEN ' ' AND 5.5",
    "a BETWEEN '' AND 5", "a BETWEEN 5 AND TRUE", "a BETWEEN TRUE AND 5", "a BETWEEN 1e300 AND 5",
    "a BETWEEN 5 AND -3", "a NOT BETWEEN 5 AND 1", "a NOT BETWEEN 'x' AND 5", "(a = 5) BETWEEN 1 AND 2",
    # IN
    "a IN ('5')", "a IN ('5', 'x')", "a NOT IN ('5', 'x')", "a IN ('1','2','3','4','5')",
    "a IN ('5','5','5','5','5','6')", "a IN (5)", "a IN ()", "a IN ('x'", "a IN ('x',", "a IN 'x'",
    "5 IN ('5')", "(a) IN ('5')", "(a = 5) IN ('5')", "-a IN ('5')", "'a' IN ('a')",
    "a in ('x','y','z','u','v','w','long element','k1','k2','k3','k4','k5','k6') > 5", "a NOT IN ('x') >= 5",
    "zz NOT IN ('5')",
    # CONTAINS, STARTSWITH, ENDSWITH
    "a CONTAINS '5'", "a CONTAINS ''", "a NOT CONTAINS '5'", "a NOT CONTAINS ''", "zz NOT CONTAINS '5'",
    "a STARTSWITH 'it'", "a NOT STARTSWITH 'it'", "a ENDSWITH 's'", "a NOT ENDSWITH 's'", "a startswith ''",
    "a not endswith ''", "c CONTAINS '🎉'", "b CONTAINS '界'", "'abc' CONTAINS 'b'", "5 CONTAINS '5'",
    "(a = 5) CONTAINS 'true'", "-a CONTAINS '5'", "a CONTAINS 5", "a CONTAINS b", "a NOT CONTAINS 5",
    "a NOT STARTSWITH", "a ENDSWITH", "a CONTAINS '5' = TRUE", "(a CONTAINS '5') > 5",
    "(a NOT ENDSWITH '5') > 5",
    # literals, names, comments
    "a = 'it''s'", "b = 'ab''c'", "a = ''''", "a = ''", "a = 'grün'", "b='世界'", "a = 0", "a = 00", "a = 0l",
    "a = 012", "a = 9223372036854775807", "a = 9223372036854775808", "a = 99999999999999999999l", "a = 0.0",
    "a = 00.5", "a = 5.", "a = 5.e1", "a = 5e", "a = 1e400", "a = 1e-400", "a = 1.5.2", "a = 4.9E-324",
    "a = 1.7976931348623157E308", "TAGS = 'TagA'", "tags = 'TagA'", "$x = 1", "_y = 2", "a -- c\n = 5",
    "a /* c */ = /***/ 5", "a = 5 -- open", "a = 5 /* open", "a = 5 /* * / **", "/* c */", "-- c\n",
    "-- c\r\na = 5", "a =--5\n5", "a /",
    # what is no expression
    "", " ", "\t\n", "5", "'x'", "5.5", "-a", "- 5", "a b", "a = 5 whatever ( #", "a = 5 )", "a = 5 NOT x",
    "a NOT x", "a IS x", "a IS", "a IS NOT x", "a IS NOT", "a =", "= a", "a AND", "AND", "a OR", "NOT", "(",
    "()", "(a", "(a = 5", "(a = 5 b", "(a IS NULL", "(a IS NULL NOT x", "((a)", ")", "a BETWEEN", "a BETWEEN 1",
    "a BETWEEN 1 5", "a BETWEEN 1 AND", "a BETWEEN 1 OR 5", "a NOT BETWEEN 1 5", "a LIKE 'x'", "a = 1 + 2",
    "a * 2 = 4", "a == 5", "a != 5", "a => 5", "a > = 5", "a < > 5", "+", "+ )", "+(a = )", "+(a = #",
    "+(5 AND a)", "+((5 AND a) = )", "-(5 AND a)", "+a = 5", "+(a = 5)", "NOT +(a = 5)", "+(a BETWEEN 1 5)",
    "+(a NOT x)", "+(a IS 5)", "+(a IN ('x' 'y'))", "+(a > 5", "+ + + (", "(a = +)", "(a = +x)", "a > 'x'",
    "'x' < a", "a > TRUE", "a > (b = 5)", "(a = 5) > 5", "(NOT a) > 5", "(a AND b OR c) > 5", "(a <> b) > 1",
    "(a IS NULL) > 1", "-(a) > 5", "5 AND a", "a AND 5", "a OR 'it''s'", "NOT 5", "NOT 'x'", "NOT -5.5E3",
    "a AND 1.0E10", "a AND 123456789.0", "a AND 0.001", "a AND 1e-5", "a AND 1e7", "#", "# x", "a #", "a # x",
    "é = 5", "a = é x", "a.b = 5", "a.b", "a.", "a-b = 5", '"a" = 5', "a = \"x\" y", "a ! b", "'", "'abc",
    "a = 'abc", "a = 'ab\n", "a = 'x'''", "/", "/x", "/x y", ". x", ".", "a\t= #x", "a\r\n= #x", "a\r= #x",
    "a\n\n\t# x", "a = '🎉' AND #x", "🎉", "🎉 x", "\x00 x", "a = '\x00' #", "a = 'é\\\"' = '\t", "a\x0bb",
    "a = 'x' AND '🎉'", "?", "a = ?", "a; b", "a = 5;", "(a = 5;)",
]  # fmt: skip
"""Expressions whose meaning or whose error a user may meet."""

_WORDS = """
    NOT AND OR BETWEEN IN TRUE FALSE NULL IS CONTAINS STARTSWITH ENDSWITH not And or = <> > >= < <= ( ) ( ) , + -
    a b c zz TAGS 5 0 10 7l 5.5 .5 1e3 3000000000 'x' '5' 'true' '' 'a''b' # . ' /* */ -- 5. é
""".split()  # noqa: SIM905  the list would be three times as long


def generated(seed: int, count: int) -> list[str]:
    """Make expressions: well-formed ones, ones with a token changed, and strings of tokens."""
    source = random.Random(seed)
    return [_one(source) for _ in range(count)]


def _one(source: random.Random) -> str:
    kind = source.random()
    if kind < 0.15:
        tokens = [source.choice(_WORDS) for _ in range(source.randrange(1, 12))]
    else:
        tokens = list(_condition(source, source.randrange(1, 4)))
        if kind < 0.45:
            at = source.randrange(len(tokens))
            change = source.randrange(3)
            if change == 0:
                del tokens[at]
            elif change == 1:
                tokens[at] = source.choice(_WORDS)
            else:
                tokens.insert(at, source.choice(_WORDS))
    return source.choice((" ", " ", " ", "\n", "\t", "  ")).join(tokens)


def _condition(source: random.Random, depth: int) -> Iterator[str]:
    kind = source.randrange(12 if depth else 8)
    if kind >= 10:
        yield from _condition(source, depth - 1)
        for _ in range(source.randrange(1, 3)):
            yield source.choice(("AND", "OR"))
            yield from _condition(source, depth - 1)
    elif kind >= 8:
        if source.random() < 0.5:
            yield source.choice(("NOT", "NOT", "+"))
        yield "("
        yield from _condition(source, depth - 1)
        yield ")"
    elif kind >= 5:
        yield from _operand(source, depth)
        yield source.choice(("=", "<>", ">", ">=", "<", "<="))
        yield from _operand(source, depth)
    elif kind == 4:
        yield from _operand(source, depth)
        yield from source.choice((("IS", "NULL"), ("IS", "NOT", "NULL")))
    else:
        yield from _negatable(source, kind, depth)


def _negatable(source: random.Random, kind: int, depth: int) -> Iterator[str]:
    yield from _operand(source, depth)
    if source.random() < 0.4:
        yield "NOT"
    if kind == 0:
        yield "BETWEEN"
        yield from _operand(source, 0)
        yield "AND"
        yield from _operand(source, 0)
    elif kind == 1:
        yield from ("IN", "(", _text(source))
        for _ in range(source.randrange(7)):
            yield from (",", _text(source))
        yield ")"
    else:
        yield source.choice(("CONTAINS", "STARTSWITH", "ENDSWITH"))
        yield _text(source)


def _operand(source: random.Random, depth: int) -> Iterator[str]:
    kind = source.randrange(20)
    if kind < 10:
        yield source.choice(("a", "a", "b", "c", "zz", "TAGS"))
    elif kind < 15:
        if source.random() < 0.2:
            yield source.choice("+-")
        yield source.choice(
            ("5", "5", "0", "10", "-3", "3000000000", "7L", "5.0", ".5", "1e3", "4.5E0", "9223372036854775807")
        )
    elif kind < 17:
        yield _text(source)
    elif kind == 17:
        yield source.choice(("TRUE", "FALSE", "NULL"))
    elif kind == 18 and depth:
        yield "("
        yield from _condition(source, depth - 1)
        yield ")"
    else:
        yield "-"
        yield from _operand(source, depth - 1 if depth else 0)


def _text(source: random.Random) -> str:
    return source.choice(("'x'", "'5'", "'true'", "''", "'10'", "'it''s'", "'世界'", "'NaN'", "'7'", "'b'", "'ab'"))
