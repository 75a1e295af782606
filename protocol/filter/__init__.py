"""Filters over the properties of messages (SQL92), and which consumer groups use which."""

from __future__ import annotations

from .bloom import BloomLayout
from .consumer_filters import ConsumerFilters, FilterData
from .errors import FilterError
from .expression import SQL92, TAG_TYPES, Filter, compile_expression

__all__ = [
    "SQL92",
    "TAG_TYPES",
    "BloomLayout",
    "ConsumerFilters",
    "Filter",
    "FilterData",
    "FilterError",
    "compile_expression",
]
