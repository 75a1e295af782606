"""The name server's key-value configuration: small, rarely written, kept in `kvConfig.json`.

The file is the official one, `{"configTable":{"NAMESPACE":{"key":"value"}}}`, rewritten as a whole at each change.
Crash guarantee: once a change is answered with success it is on disk; see `StateFile`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from rmqd.protocol.broker.state_writer import StateWriter
from rmqd.store.errors import StoreError

if TYPE_CHECKING:
    from rmqd.protocol.broker.state_writer import RunInThread
    from rmqd.store.statefile import StateFile

_log = Logger()

ORDER_TOPIC_CONFIG = "ORDER_TOPIC_CONFIG"
"""Namespace of the ordered topics: topic -> `brokerA:4;brokerB:8`."""


class _File(msgspec.Struct, rename="camel"):
    config_table: dict[str, dict[str, str]] | None = None


_decode_file = msgspec.json.Decoder(_File, strict=False).decode


class KvConfig:
    """Namespaces of keys and values.

    Args:
        statefile: `kvConfig.json`.
        run_in_thread: Runs a save.
    """

    def __init__(self, statefile: StateFile, run_in_thread: RunInThread) -> None:
        self._statefile = statefile
        self._writer = StateWriter(statefile, self._encode, run_in_thread)
        self._table: dict[str, dict[str, str]] = {}
        self.on_changed: list[Callable[[], None]] = []

    def load(self) -> None:
        """Read the file; a damaged one is replaced by its backup.

        Raises:
            StoreError: Neither the file nor its backup can be read.
        """
        text = self._statefile.load()
        if text is None:
            return
        try:
            self._table = _parse(text)
        except msgspec.MsgspecError as cause:
            backup = self._statefile.load_backup()
            try:
                self._table = _parse(backup or b"")
            except msgspec.MsgspecError:
                raise StoreError(f"not a KV configuration: {cause}", file=self._statefile.path) from cause
            _log.warn("{path} is damaged ({cause}), took its backup", path=self._statefile.path, cause=cause)

    def get(self, namespace: str, key: str) -> str | None:
        """Give one value."""
        return self._table.get(namespace, {}).get(key)

    def values_of(self, namespace: str) -> dict[str, str] | None:
        """Give all values of a namespace; None when it was never written, not when it was emptied."""
        table = self._table.get(namespace)
        return None if table is None else dict(table)

    def put(self, namespace: str, key: str, value: str) -> Deferred[None]:
        """Set one value.

        Returns:
            Fires when it is on disk.

        Raises:
            StoreError: By the Deferred: the value is set, but could not be saved.
        """
        previous = self._table.setdefault(namespace, {}).get(key)
        self._table[namespace][key] = value
        _log.info(
            "KV {namespace}/{key}: {previous!r} -> {value!r}",
            namespace=namespace,
            key=key,
            previous=previous,
            value=value,
        )
        return self._changed()

    def delete(self, namespace: str, key: str) -> Deferred[None]:
        """Remove one value; the namespace stays, as in Java. Returns and raises as `put`."""
        if self._table.get(namespace, {}).pop(key, None) is None:
            return succeed(None)
        _log.info("KV {namespace}/{key} deleted", namespace=namespace, key=key)
        return self._changed()

    def saved(self) -> Deferred[None]:
        """Fire when all that was changed is on disk; fails with StoreError as `put`."""
        return self._writer.saved()

    def _changed(self) -> Deferred[None]:
        for callback in self.on_changed:
            callback()
        self._writer.changed()
        return self._writer.saved()

    def _encode(self) -> bytes:
        return msgspec.json.encode(_File(self._table))


def _parse(text: bytes) -> dict[str, dict[str, str]]:
    return _decode_file(text).config_table or {}
