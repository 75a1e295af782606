"""The types that the fields of headers and bodies are declared with."""

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
