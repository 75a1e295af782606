"""Filter expressions as consumers write them, compiled."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from .errors import FilterError, Unevaluable

if TYPE_CHECKING:
    from .evaluate import Properties

SQL92 = "SQL92"
TAG_TYPES = (None, "", "TAG")
"""Expression types of plain tag filters."""

_CACHED_MAX = 100
_CACHED_LENGTH_MAX = 4096
"""Longer expressions are compiled anew each time, so that the cache stays small."""


class Filter:
    """One compiled SQL92 expression.

    Attributes:
        text: The expression.
    """

    __slots__ = ("_evaluate", "text")

    def __init__(self, text: str) -> None:
        from .evaluate import evaluator  # the first expression pays for these, not each start
        from .parser import parse

        self.text = text
        self._evaluate = evaluator(parse(text))

    def __repr__(self) -> str:
        return f"<Filter {self.text}>"

    def matches(self, properties: Properties) -> bool:
        """Say whether a message with these properties is wanted; what cannot be evaluated is not."""
        try:
            return self._evaluate(properties) is True
        except Unevaluable:
            return False

    def evaluate(self, properties: Properties) -> bool | None:
        """Give the three-valued result; None is unknown.

        Raises:
            Unevaluable: The properties do not fit the expression.
        """
        result = self._evaluate(properties)
        assert result is None or isinstance(result, bool)
        return result


def compile_expression(text: str) -> Filter:
    """Compile an SQL92 expression.

    Raises:
        FilterError: It is none; the remark is the official broker's.
    """
    if len(text) > _CACHED_LENGTH_MAX:
        return Filter(text)
    result = _compiled(text)
    if isinstance(result, FilterError):
        # Not the cached error itself: that would gather the tracebacks of all who raise it.
        raise result.again()
    return result


@lru_cache(_CACHED_MAX)
def _compiled(text: str) -> Filter | FilterError:
    try:
        return Filter(text)
    except FilterError as error:
        return error.again()
