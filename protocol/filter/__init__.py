"""Filters over the properties of messages (SQL92), and which consumer groups use which."""

from __future__ import annotations

from .errors import FilterError
from .expression import SQL92, TAG_TYPES, Filter, compile_expression

__all__ = ["SQL92", "TAG_TYPES", "Filter", "FilterError", "compile_expression"]
