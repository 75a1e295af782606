"""What a case is made of: an address, a requirement, a source; and how it says what was expected and what came."""

from __future__ import annotations

import pprint
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

SHOWN = 1500


class CaseFailure(AssertionError):
    """The server did not do what the case requires."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}; actual {actual}")
        self.expected = expected
        self.actual = actual


Decorated = TypeVar("Decorated")


def case(address: str, requirement: str, *, source: str) -> pytest.MarkDecorator:
    """Mark a test function as the case `address` (`subject/number`).

    Args:
        address: what `--case` selects and what a report names.
        requirement: one sentence, true of the official servers.
        source: where the requirement is from: a Java class, or a document and its section.
    """
    return pytest.mark.case(address=address, requirement=requirement, source=source)


def shown(value: object) -> str:
    """Return a value as text of a bearable length."""
    text = value if isinstance(value, str) else pprint.pformat(value, width=120, compact=True)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def expect(actual: Any, expected: Any, what: str = "") -> None:
    """Fail unless the two are equal; `what` names the thing compared."""
    if actual != expected:
        label = f"{what}: " if what else ""
        raise CaseFailure(label + shown(expected), shown(actual))


def expect_that(condition: bool, expected: str, actual: object) -> None:
    """Fail unless the condition holds."""
    if not condition:
        raise CaseFailure(expected, shown(actual))


def expect_bodies(messages: Iterable[dict[str, Any]], bodies: Iterable[str], *, once: bool = True) -> None:
    """Fail unless the bodies of `messages` are `bodies`: each exactly (or at least) once, none foreign."""
    got = Counter(message["body"] for message in messages)
    want = Counter(bodies)
    lost = sorted((want - got).elements())
    foreign = sorted(set(got) - set(want))
    twice = sorted(body for body, count in got.items() if once and count > want[body] > 0)
    if lost or foreign or twice:
        raise CaseFailure(
            f"{sum(want.values())} messages, each {'exactly' if once else 'at least'} once",
            f"{sum(got.values())} messages; lost {shown(lost)}; repeated {shown(twice)}; foreign {shown(foreign)}",
        )
