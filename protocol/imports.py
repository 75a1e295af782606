"""How servers import what they are made of: nearly all of the time of a start.

What it is for: Twisted imports an HTTP client with e-mail parsers and all of TLS, for names that it keeps for old
programs or for secure connections, and our servers use none of it. What it must not do: take anything away; who does
use such a module gets the whole of it, at that moment.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

FOR_TWISTED = ("http.cookiejar", "ssl", "asyncio.sslproto")
"""What Twisted, or what it imports, only names; about 30 modules stand behind these."""

COLLECTION_THRESHOLDS = (20_000, 20, 50)
"""Of a server: most objects of a request are gone with it, and few of them are tracked."""


class _StandIn(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # questions of the import system; the real module is not needed for them
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


@contextmanager
def server_imports() -> Iterator[None]:
    """Import Twisted and servers within this block."""
    # Some 100,000 objects are made that stay; at the usual thresholds all of them are walked again and again.
    gc.set_threshold(*COLLECTION_THRESHOLDS)
    with postponed(*FOR_TWISTED):
        yield


@contextmanager
def postponed(*names: str) -> Iterator[None]:
    """Import within this block with stand-ins for modules that are not imported yet.

    Whoever imports one of them after the block gets the module itself.
    """
    stand_ins = {name: _StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
