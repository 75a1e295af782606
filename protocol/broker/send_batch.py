"""What a batch must satisfy before any of its messages is stored.

Source: `SendMessageProcessor.sendBatchMessage`, `CommitLog.asyncPutMessages`, `MessageExtEncoder` (5.5.0).
"""

from __future__ import annotations

from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.properties import parse_properties

from .delay import delay_level
from .send_checks import RETRY_PREFIX, illegal_message

_TOPIC_LENGTH_MAX = 127


def check_batch(topic: str, properties: str | None, size_max_bytes: int) -> dict[str, str]:
    """Refuse batches of kinds that there are not.

    The properties of the request count, not those of the messages in it: a message of a batch that asks for a delay
    is delivered at once.

    Args:
        topic: Where to.
        properties: Of the request.
        size_max_bytes: `maxMessageSize`, for the remark.

    Returns:
        The properties of the request, read.

    Raises:
        RequestError: To a retry topic, or with a delay.
    """
    if len(topic) > _TOPIC_LENGTH_MAX:
        raise RequestError(f"message topic length too long {len(topic)}", ResponseCode.MESSAGE_ILLEGAL)
    if topic.startswith(RETRY_PREFIX):
        raise RequestError(f"batch request does not support retry group {topic}", ResponseCode.MESSAGE_ILLEGAL)
    read = parse_properties(properties) if properties else {}
    if delay_level(read) > 0:
        raise RequestError(illegal_message(size_max_bytes, "a batch cannot be delayed"), ResponseCode.MESSAGE_ILLEGAL)
    return read


def check_batch_size(body: bytes, size_max_bytes: int) -> None:
    """Refuse a batch that is larger than one message may be.

    Raises:
        RequestError: SYSTEM_ERROR, as in Java, where it is an exception of the encoding code.
    """
    if len(body) > size_max_bytes:
        raise RequestError(f"message body size exceeded: {len(body)} bytes, the limit is {size_max_bytes}")
