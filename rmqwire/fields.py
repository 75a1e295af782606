"""The types that header fields are declared with, and how Java writes and reads them.

Source: `RemotingCommand.makeCustomHeaderToNet` / `decodeCommandCustomHeader`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

I32_MIN, I32_MAX = -(2**31), 2**31 - 1
I64_MIN, I64_MAX = -(2**63), 2**63 - 1

i32 = Annotated[int, msgspec.Meta(ge=I32_MIN, le=I32_MAX)]
"""Java int."""
# msgspec takes bounds up to a signed 64-bit integer and reads larger numbers as floats or errors of its own.
i64 = Annotated[int, msgspec.Meta(ge=I64_MIN, le=I64_MAX)]
"""Java long."""


def to_wire(value: object) -> str:
    """Write one field as Java's `toString` does: `true`/`false`, decimal numbers, text as it is."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    return str(value)
