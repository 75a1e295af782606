"""The data version that names the state of a table."""

from __future__ import annotations

from rmqwire.fields import i64

from .base import Body, written


class DataVersion(Body):
    """The state of a table of topics, groups or offsets; equal when all three members are."""

    counter: i64 = written(0)
    state_version: i64 = written(0)
    """Term of the master, 0 without a controller."""
    timestamp: i64 = written(0)
    """Milliseconds since 1970 of the last change."""
