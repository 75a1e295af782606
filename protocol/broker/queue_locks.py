"""Locks of queues for orderly consumers. Source: `AdminBrokerProcessor.lockBatchMQ`, `unlockBatchMQ` (5.5.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody
from rmqwire.errors import RequestError
from rmqwire.requests import LockBatchMq, UnlockBatchMq

from .reading import body_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .locks import QueueLocks


class QueueLockHandlers:
    """Serves locks.

    Args:
        locks: The locks of this broker.
    """

    def __init__(self, locks: QueueLocks) -> None:
        self._locks = locks

    @handles(LockBatchMq)
    def lock(self, request: Request, header: LockBatchMq) -> Result:
        """Lock, or keep locked; the answer names the queues that are the client's."""
        body = body_of(request, LockBatchRequestBody)
        group, client_id = _who(body)
        granted = self._locks.lock(group, body.mq_set, client_id)
        return Reply(body=LockBatchResponseBody(lock_ok_mq_set=granted).encode())

    @handles(UnlockBatchMq)
    def unlock(self, request: Request, header: UnlockBatchMq) -> Result:
        """Give queues back."""
        body = body_of(request, UnlockBatchRequestBody)
        group, client_id = _who(body)
        self._locks.unlock(group, body.mq_set, client_id)
        return Reply()


def _who(body: LockBatchRequestBody) -> tuple[str, str]:
    if body.consumer_group is None or body.client_id is None:
        raise RequestError("consumerGroup and clientId are required to lock queues")
    return body.consumer_group, body.client_id
