"""Requests that are declared and not served, and why. They are answered 3, REQUEST_CODE_NOT_SUPPORTED, by the dispatcher.

A test holds: handled codes plus these are exactly the declared ones.
"""

from __future__ import annotations

from rmqwire.declare import Role

NOT_YET: dict[Role, dict[int, str]] = {Role.NAMESRV: {}, Role.BROKER: {}}
"""By role: code to what has to come first."""

NOT_OURS: dict[int, str] = {}
"""Codes that no installation of ours will serve."""
