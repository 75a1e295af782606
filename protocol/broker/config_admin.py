"""The broker's properties, shown and changed while it runs. Source: `AdminBrokerProcessor` (5.5.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.conf import BlackListedKey, ConfError
from rmqd.conf.runtime import Changed, apply_properties, to_properties, write_back
from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import DataVersion
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import GetBrokerConfig, GetBrokerConfigReply, UpdateBrokerConfig

from .topics import next_version

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request

    from .state_writer import RunInThread

_log = Logger()


class ConfigAdminHandlers:
    """Shows and changes properties.

    Args:
        options: The live options.
        wall_clock_ms: Stamps the version.
        run_in_thread: Writes the file.
        changed: Called after the options have changed, to have them acted upon.
    """

    def __init__(
        self,
        options: BrokerOptions,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        changed: Callable[[Changed], None],
    ) -> None:
        self._options = options
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self._changed = changed
        self._version = DataVersion(timestamp=wall_clock_ms())
        self._last_write: Deferred[None] | None = None

    @handles(GetBrokerConfig)
    def show(self, request: Request, header: GetBrokerConfig) -> Result:
        """Give all properties, one a line."""
        version = self._version.encode().decode()
        return Reply(GetBrokerConfigReply(version=version), body=to_properties(self._options).encode())

    @handles(UpdateBrokerConfig)
    def update(self, request: Request, header: UpdateBrokerConfig) -> Result:
        """Change properties, have them acted upon, and write them to the file."""
        if not request.body:
            return Reply()
        text = request.body.decode("utf-8", "replace")
        try:
            changed = apply_properties(self._options, text)
        except BlackListedKey as refused:
            raise RequestError("Can not update config in black list.", ResponseCode.NO_PERMISSION) from refused
        except ConfError as refused:
            raise RequestError(str(refused)) from refused
        keys = ", ".join(sorted(changed.keys))
        _log.info("properties changed by {peer}: {keys}", peer=request.connection.peer, keys=keys)
        for notice in changed.notices:
            _log.warn("{notice}", notice=notice)
        self._version = next_version(self._version, self._wall_clock_ms())
        self._changed(changed)
        return Deferred.fromCoroutine(self._write(changed))

    async def _write(self, changed: Changed) -> Reply:
        # One write at a time: two updates that come together must both be in the file.
        before, mine = self._last_write, Deferred[None]()
        self._last_write = mine
        try:
            if before is not None:
                await before
            await self._run_in_thread(write_back, self._options, changed)
        except ConfError as cause:
            raise RequestError(f"changed, but not written to the file: {cause}") from cause
        finally:
            mine.callback(None)
            if self._last_write is mine:
                self._last_write = None
        return Reply()
