"""CRC-32 of bodies: the compiled one where there is one, zlib's otherwise, which is the reference.

What it is for: one place decides. What it must not do: know what is summed.

Source: `UtilAll.crc32` (5.3.4).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from . import speed

crc32: Callable[[bytes | bytearray | memoryview], int] = speed.crc32 or zlib.crc32
"""CRC-32 (IEEE 802.3) of a buffer, 0 to 2^32 - 1; records store it without the top bit."""
