"""The example files that are shipped with the package, as they are in an official distribution's `conf/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Traversable

EXAMPLES = (
    "broker.conf",
    "namesrv.properties",
    "2m-noslave/broker-a.properties",
    "2m-noslave/broker-b.properties",
    "2m-noslave/broker-trace.properties",
    "2m-2s-async/broker-a.properties",
    "2m-2s-async/broker-a-s.properties",
    "2m-2s-async/broker-b.properties",
    "2m-2s-async/broker-b-s.properties",
    "2m-2s-sync/broker-a.properties",
    "2m-2s-sync/broker-a-s.properties",
    "2m-2s-sync/broker-b.properties",
    "2m-2s-sync/broker-b-s.properties",
    "controller/broker-n0.properties",
    "controller/broker-n1.properties",
)


def example(name: str) -> Traversable:
    """The file of one of `EXAMPLES`; it may lie in an archive: `importlib.resources.as_file` gives it a path.

    Raises:
        KeyError: for another name.
    """
    if name not in EXAMPLES:
        raise KeyError(name)
    from importlib.resources import files

    return files("rmqd.conf").joinpath(name)
