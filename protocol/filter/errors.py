"""What can be wrong with a filter expression, or with a message that it is asked about."""

from __future__ import annotations

from typing import ClassVar

from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError, RmqError

PARSE_EXCEPTION = "org.apache.rocketmq.filter.parser.ParseException"
LEXICAL_ERROR = "org.apache.rocketmq.filter.parser.TokenMgrError"
ILLEGAL = "java.lang.RuntimeException"
NOT_A_NUMBER = "java.lang.NumberFormatException"
CLASS_CAST = "java.lang.ClassCastException"


class FilterError(RequestError):
    """An expression that does not compile; the remark is the official broker's, to the letter.

    Args:
        kind: The Java class that the official remark begins with.
        message: What follows it.
    """

    response_code: ClassVar[int] = ResponseCode.SUBSCRIPTION_PARSE_FAILED

    def __init__(self, kind: str, message: str) -> None:
        # A lone surrogate has no bytes: Java writes a question mark for it.
        super().__init__(f"{kind}: {message}".encode("utf-8", "replace").decode())
        self._kind = kind
        self._message = message

    def again(self) -> FilterError:
        """Make the same error without a traceback or cause."""
        return FilterError(self._kind, self._message)


class ExpressionTooLarge(FilterError):
    """Longer or deeper than we take; the official broker's bound is its thread's stack."""

    def __init__(self, what: str) -> None:
        super().__init__("java.lang.StackOverflowError", what)


class Unevaluable(RmqError):
    """A message whose properties do not fit the expression, such as a text compared with a number.

    It passes over the whole expression, as an exception does in Java: the message does not match, even where another
    part of the expression would.
    """
