"""Requests on the name server's own settings: key-value configuration and properties.

Source: `DefaultRequestProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.conf.errors import BlackListedKey, ConfError
from rmqd.conf.runtime import apply_properties, to_properties, write_back
from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import KvTable
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.config import GetNamesrvConfig, UpdateNamesrvConfig
from rmqwire.requests.kv import DeleteKvConfig, GetKvConfig, GetKvConfigReply, GetKvListByNamespace, PutKvConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from rmqd.conf import NamesrvOptions
    from rmqd.protocol.broker.state_writer import RunInThread
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.replies import Result

    from .kv import KvConfig

_log = Logger()


class KvHandlers:
    """Serves the key-value configuration.

    Args:
        kv: Holds it.
    """

    def __init__(self, kv: KvConfig) -> None:
        self._kv = kv

    @handles(PutKvConfig)
    def put(self, request: Request, header: PutKvConfig) -> Result:
        """Set a value; answered when it is on disk."""
        return _done(self._kv.put(header.namespace, header.key, header.value))

    @handles(GetKvConfig)
    def get(self, request: Request, header: GetKvConfig) -> Result:
        """Give a value."""
        value = self._kv.get(header.namespace, header.key)
        if value is None:
            remark = f"No config item, Namespace: {header.namespace} Key: {header.key}"
            return Reply(code=ResponseCode.QUERY_NOT_FOUND, remark=remark)
        return Reply(GetKvConfigReply(value=value))

    @handles(DeleteKvConfig)
    def delete(self, request: Request, header: DeleteKvConfig) -> Result:
        """Remove a value; answered when that is on disk. One that is not there is no error."""
        return _done(self._kv.delete(header.namespace, header.key))

    @handles(GetKvListByNamespace)
    def values_of(self, request: Request, header: GetKvListByNamespace) -> Result:
        """Give all values of a namespace."""
        values = self._kv.values_of(header.namespace)
        if values is None:
            remark = f"No config item, Namespace: {header.namespace}"
            return Reply(code=ResponseCode.QUERY_NOT_FOUND, remark=remark)
        return Reply(body=KvTable(table=values).encode())


class ConfigHandlers:
    """Shows and changes the properties of the running name server.

    Args:
        options: The live options.
        run_in_thread: Runs the writing of the file.
        changed: Called after a change, before it is written.
    """

    def __init__(self, options: NamesrvOptions, run_in_thread: RunInThread, changed: Callable[[], None]) -> None:
        self._options = options
        self._run_in_thread = run_in_thread
        self._changed = changed

    @handles(GetNamesrvConfig)
    def show(self, request: Request, header: GetNamesrvConfig) -> Result:
        """Give all properties."""
        return Reply(body=to_properties(self._options).encode())

    @handles(UpdateNamesrvConfig)
    def update(self, request: Request, header: UpdateNamesrvConfig) -> Result:
        """Change properties, all of the request's or none; answered when the file holds them."""
        if not request.body:
            return Reply()
        try:
            changed = apply_properties(self._options, request.body.decode("utf-8", "replace"))
        except BlackListedKey as cause:
            raise RequestError("Can not update config in black list.", ResponseCode.NO_PERMISSION) from cause
        except ConfError as cause:
            raise RequestError(str(cause)) from cause
        self._changed()
        for change in changed.changes:
            _log.info(
                "{peer} set {key}: {old!r} -> {new!r}",
                peer=request.connection.peer,
                key=change.key,
                old=change.old,
                new=change.new,
            )
        for notice in changed.notices:
            _log.warn("{notice}", notice=notice)
        if not changed.written:
            return Reply()
        written: Deferred[object] = self._run_in_thread(write_back, self._options, changed)
        return _done(written)


def _done(saved: Deferred[Any]) -> Deferred[Reply | bytes | None]:
    def failed(failure: Failure) -> None:
        raise RequestError(f"set, but not saved: {failure.getErrorMessage()}")

    return saved.addErrback(failed).addCallback(lambda _: Reply())
