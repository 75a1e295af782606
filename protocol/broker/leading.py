"""What a broker does only as master: deliver delayed messages, check transactions, bring popped messages back.

A slave that became master takes over where the state it copied says; a master that became a slave leaves all of it to
the new one. What it must not do: know why the role changed. Source: `BrokerController.changeSpecialServiceStatus`
(5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts import BrokerParts


class Leading:
    """The services of a master.

    Args:
        parts: Where they are.

    Attributes:
        running: Whether they run.
    """

    def __init__(self, parts: BrokerParts) -> None:
        self._parts = parts
        self.running = False

    def begin(self) -> None:
        """Do what a master does. Nothing changes when that is so already."""
        if not self.running:
            self.running = True
            self._parts.delayed.begin()
            self._parts.transactions.begin()
            self._parts.pops.begin_reviving()

    async def end(self) -> None:
        """Leave it to another broker; waits for the end of what is under way."""
        if self.running:
            self.running = False
            self._parts.delayed.stop()
            await self._parts.transactions.end()
            await self._parts.pops.end_reviving()
