"""Syncs of the commit log outside the interpreter, where there is a compiled part.

What it is for: a Python thread that comes back from a sync waits until the reactor's lets go of the interpreter, under
load several times as long as the sync took. The compiled thread tells the reactor by a descriptor. What it must not do:
run two syncs at once, or any for which more is to do than `fdatasync`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from zope.interface import implementer

from rmqwire import speed

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.store.syncjob import SyncJob
    from rmqwire._speed import Syncs

    from .durability import RunSync

_DESCRIPTORS_MAX = 64
"""What the compiled part takes at a time."""


@implementer(IReadDescriptor)
class DiskSyncs:
    """Runs the syncs of one log.

    Args:
        reactor: Told which descriptor to watch.
        syncs: Makes the compiled thread, given an eventfd.
        otherwise: Runs what it cannot.
    """

    prompt = True
    """Called at once by our reactor."""

    def __init__(self, reactor: IReactorFDSet, syncs: type[Syncs], otherwise: RunSync) -> None:
        self._reactor = reactor
        self._otherwise = otherwise
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._syncs = syncs(self._event)
        self._running: tuple[SyncJob, Deferred[int]] | None = None
        reactor.addReader(self)

    def run(self, job: SyncJob) -> Deferred[int]:
        """Run a sync; gives what it gives."""
        descriptors = job.descriptors()
        if descriptors is None or len(descriptors) > _DESCRIPTORS_MAX:
            return self._otherwise(job)
        self._syncs.begin(descriptors)
        done: Deferred[int] = Deferred()
        self._running = job, done
        return done

    def close(self) -> None:
        """End the thread; nothing may be running."""
        if self._event >= 0:
            self._reactor.removeReader(self)
            self._syncs.close()
            os.close(self._event)
            self._event = -1

    def fileno(self) -> int:
        """What becomes readable when a sync has ended."""
        return self._event

    def doRead(self) -> None:
        """Tell how the sync ended."""
        os.eventfd_read(self._event)
        told, running = self._syncs.ended(), self._running
        assert told is not None
        assert running is not None
        self._running = None
        (place, code), (job, done) = told, running
        if place < 0:
            done.callback(job.end)
        else:
            done.errback(job.failed(place, code))

    def connectionLost(self, reason: Failure) -> None:
        """Fail the sync that nobody would be told of any more: the reactor watches this no longer."""
        running, self._running = self._running, None
        if running is not None:
            running[1].errback(reason)

    def logPrefix(self) -> str:
        """For Twisted's log lines."""
        return "disk"


def disk_syncs(reactor: Any, otherwise: RunSync) -> DiskSyncs | None:
    """Make one where the compiled part was built and the reactor watches descriptors; None elsewhere."""
    if speed.Syncs is None or not IReactorFDSet.providedBy(reactor):
        return None
    return DiskSyncs(reactor, speed.Syncs, otherwise)
