"""Who this broker is to the controllers: `brokerIdentity`, and `brokerIdentity-temp` while a number is asked for.

The text of each is `cluster#broker#id`, that of the second with `#` and the code that the number is claimed with. What
it must not do: take a file that cannot be read for one that is not there; the broker would get another number, and its
own would stay among the replicas.

Crash guarantee: a file holds all of its text or is not there.

Source: `BrokerMetadata`, `TempBrokerMetadata`, `MetadataFile` (5.5.0).
"""

from __future__ import annotations

import msgspec

from .errors import StoreDamaged, StoreError
from .files import Files, RealFiles, remove_file
from .statefile import StateFile

TEMPORARY = "-temp"
"""What the file's name has behind that of the other."""
_SEPARATOR = "#"


class Identity(msgspec.Struct, frozen=True):
    """What such a file says."""

    cluster: str
    name: str
    broker_id: int
    check_code: str | None = None
    """`brokerIP1:listenPort;milliseconds`: tells the controller that the same broker asks again. Of the second file."""

    def encode(self) -> bytes:
        """Give the text.

        Raises:
            ValueError: a name holds the separator.
        """
        parts = [self.cluster, self.name, str(self.broker_id)]
        if self.check_code is not None:
            parts.append(self.check_code)
        if any(_SEPARATOR in part for part in parts):
            raise ValueError(f"a {_SEPARATOR} in {parts}, which separates the parts of a broker's identity")
        return _SEPARATOR.join(parts).encode()


class IdentityFile:
    """One of the two files.

    Args:
        path: where it is.
        claims: whether it is the one with a check code.
    """

    def __init__(self, path: str, *, claims: bool = False, files: Files | None = None) -> None:
        self.path = path
        self._claims = claims
        self._files: Files = files or RealFiles()
        self._state = StateFile(path, files=self._files)

    def load(self) -> Identity | None:
        """What it says; None when it is not there.

        Raises:
            StoreDamaged: it says something else.
            StoreError: it cannot be read.
        """
        data = self._state.load()
        if data is None:
            return None
        parts = data.decode(errors="replace").strip().split(_SEPARATOR)
        if len(parts) != (4 if self._claims else 3) or not all(parts) or not parts[2].isdecimal():
            raise StoreDamaged(f"no identity of a broker: {data[:80]!r}", file=self.path)
        return Identity(parts[0], parts[1], int(parts[2]), parts[3] if self._claims else None)

    def save(self, identity: Identity) -> None:
        """Write it, durably; blocks for the disk.

        Raises:
            StoreError: it could not be written.
        """
        try:
            text = identity.encode()
        except ValueError as cause:
            raise StoreError(str(cause), file=self.path) from cause
        self._state.save(text)

    def clear(self) -> None:
        """Remove it; blocks for the disk.

        Raises:
            StoreError: it could not be removed.
        """
        try:
            for path in (self.path, f"{self.path}.bak"):
                remove_file(self._files, path)
        except OSError as cause:
            raise StoreError(f"cannot remove: {cause.strerror}", file=self.path) from cause
