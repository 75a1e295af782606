"""What a command of `mqadmin` can fail with: one line that names the cause and the next step, never a traceback."""

from __future__ import annotations

from rmqwire.codes import ResponseCode, name_of_response

_TOPICS = "`mqadmin topicList` lists the topics there are"
_GROUPS = "`mqadmin consumerProgress` lists the groups there are"
_NEXT_STEPS = {
    ResponseCode.TOPIC_NOT_EXIST: _TOPICS,
    ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST: _GROUPS,
    ResponseCode.CONSUMER_NOT_ONLINE: "start a consumer of the group, or see `mqadmin consumerProgress`",
    ResponseCode.NO_PERMISSION: "see the permission by `mqadmin topicRoute -t TOPIC`, change it by updateTopicPerm",
    ResponseCode.REQUEST_CODE_NOT_SUPPORTED: "this server lacks the request; `mqadmin clusterList` shows its version",
    ResponseCode.QUERY_NOT_FOUND: "check the name or the key, and the name server given by -n",
}


class AdminError(Exception):
    """A command cannot go on. Its text is the cause; `next_step` says what to try, and may be empty."""

    exit_code = 1

    def __init__(self, cause: str, next_step: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.next_step = next_step

    @property
    def line(self) -> str:
        """The one line that is printed."""
        text = f"{self.cause}: {self.next_step}" if self.next_step else self.cause
        return " ".join(text.split())


class BadUsage(AdminError):
    """An argument is missing or wrong; nothing was sent."""

    exit_code = 2


class Unreachable(AdminError):
    """Nobody answered at an address."""


class NotFound(AdminError):
    """A name that no server knows."""


class Refused(AdminError):
    """A server answered, and not with success.

    Args:
        address: Who answered.
        code: Its response code.
        remark: Its text; the first line is shown.
    """

    def __init__(self, address: str, code: int, remark: str | None) -> None:
        first = (remark or "").strip().partition("\n")[0].partition(" See https://")[0].rstrip(", .")
        reason = f"{code} {name_of_response(code)}" + (f", {first}" if first else "")
        super().__init__(f"{address} answered {reason}", _NEXT_STEPS.get(code, ""))
        self.code = code
        self.remark = remark or ""


def unknown_cluster(name: str, known: list[str]) -> NotFound:
    """Say that no name server knows a cluster, and which ones it knows."""
    return NotFound(f"no cluster {name!r} at the name server", f"it knows {', '.join(known) or 'none'}")


def unknown_broker(name: str, known: list[str]) -> NotFound:
    """The same for a broker name."""
    return NotFound(f"no broker {name!r} at the name server", f"it knows {', '.join(known) or 'none'}")
