"""Two things many handlers do: read a JSON body, and read the store without waiting for the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred, succeed

from rmqd.store.errors import ColdRead
from rmqwire.bodies import Body
from rmqwire.errors import MalformedBody, RequestError

if TYPE_CHECKING:
    from rmqwire.command import RemotingCommand

    from .state_writer import RunInThread

B = TypeVar("B", bound=Body)
T = TypeVar("T")


def body_of(request: RemotingCommand, kind: type[B]) -> B:
    """Read a request's body.

    Raises:
        RequestError: It is missing or damaged; answered SYSTEM_ERROR, as Java does, and the connection goes on.
    """
    try:
        return kind.decode(request.body)
    except MalformedBody as cause:
        raise RequestError(f"decode {kind.__name__} failed: {cause}") from cause


class ColdReads:
    """Runs reads of the store on the reactor thread while the pages are in memory, in a thread when they are not.

    Args:
        run_in_thread: Runs the blocking ones.
    """

    def __init__(self, run_in_thread: RunInThread) -> None:
        self._run_in_thread = run_in_thread

    def read(self, call: Callable[..., T], *args: object) -> T | Deferred[T]:
        """Call a reading method of the store that knows `allow_cold`."""
        try:
            return call(*args, allow_cold=False)
        except ColdRead:
            return self._run_in_thread(call, *args, allow_cold=True)

    def then(self, read: T | Deferred[T], use: Callable[[T], R]) -> R | Deferred[R]:
        """Use what was read, at once or later."""
        if isinstance(read, Deferred):
            return read.addCallback(use)
        return use(read)

    def later(self, call: Callable[..., T], *args: object) -> Deferred[T]:
        """As `read`, always a Deferred, for callers that read many times one after the other."""
        found = self.read(call, *args)
        return found if isinstance(found, Deferred) else succeed(found)


R = TypeVar("R")
