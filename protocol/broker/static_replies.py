"""Answers of ordinary handlers, changed on their way out: physical queues and offsets become logical ones.

Only requests about static topics come here, so that an answer may be taken apart once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from rmqd.protocol.replies import Reply, Result, Staged
from rmqwire.frames import JSON, FrameReader, encode_frame

Ext = dict[str, str]
Change = Callable[[dict[str, Any], bytes], "bytes | None"]
"""Given the members of a header and the body; gives the frame to send, None when nothing is to be sent."""


def changed(result: Result, change: Change) -> Result:
    """Change the answer that a frame is, now or when it comes; a `Reply` is a refusal, which stays as it is."""
    if isinstance(result, Staged):
        finish = result.finish
        return Staged(lambda failed: changed(finish(failed), change))
    if isinstance(result, Deferred):
        return result.addCallback(_changed, change)
    return _changed(result, change)


def _changed(result: Reply | bytes | None, change: Change) -> Reply | bytes | None:
    if not isinstance(result, bytes):
        return result
    ((_, header, body),) = FrameReader().receive(result)
    return change(msgspec.json.decode(header), body)


def frame(members: dict[str, Any], body: bytes) -> bytes:
    """Write a changed answer."""
    return encode_frame(JSON, msgspec.json.encode(members), body)


def now_or_later(result: Result) -> Deferred[Reply]:
    """Give the `Reply` of a handler that makes one, whenever it comes."""
    done: Deferred[Reply] = Deferred()
    if isinstance(result, Deferred):
        result.addCallbacks(done.callback, done.errback)
    else:
        assert isinstance(result, Reply)
        done.callback(result)
    return done
