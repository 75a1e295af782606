"""The JSON dialect of fastjson, which the bodies and the `config/*.json` files of the protocol are written in."""

from __future__ import annotations

from .dialect_reader import BeanMap, loads
from .dialect_writer import dumps, java_double, pretty

__all__ = ["BeanMap", "dumps", "java_double", "loads", "pretty"]
