"""A small file whose content is replaced as a whole: `config/*.json`.

Crash guarantee: after `save` returns, the new text is durable; a crash inside it leaves the old or the new text
under the name, never a part of one. The text before stays under `.bak`, where the official broker looks for it too.

Source: `ConfigManager.persist` (5.5.0), `MixAll.string2File` (4.7.0).
"""

from __future__ import annotations

from pathlib import Path

from .errors import StoreError
from .files import Files, RealFiles, remove_file, write_all


class StateFile:
    """One such file.

    Args:
        path: where it is; its folder is made on the first save.
    """

    def __init__(self, path: Path | str, *, files: Files | None = None) -> None:
        self.path = str(path)
        self._files: Files = files or RealFiles()
        self._folder = str(Path(self.path).parent)

    def load(self) -> bytes | None:
        """The content; that of `.bak` when the file is missing or empty; None when neither holds anything.

        Raises:
            StoreError: a file that is there cannot be read.
        """
        return self._read(self.path) or self._read(self.path + ".bak")

    def load_backup(self) -> bytes | None:
        """The content of `.bak`, for a caller that could not parse what `load` gave."""
        return self._read(self.path + ".bak")

    def _read(self, path: str) -> bytes | None:
        files = self._files
        try:
            fd = files.open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot open: {error.strerror}", file=path) from error
        try:
            return files.pread(fd, files.size(path), 0) or None
        except OSError as error:
            raise StoreError(f"cannot read: {error.strerror}", file=path) from error
        finally:
            files.close(fd)

    def save(self, text: bytes) -> None:
        """Replace the content, durably; blocks for the disk.

        Raises:
            StoreError: the file could not be written; the content before is still there.
        """
        files = self._files
        temporary, backup = self.path + ".tmp", self.path + ".bak"
        try:
            files.make_directories(self._folder)
            fd = files.open(temporary, create=True)
            try:
                files.truncate(fd, 0)
                write_all(files, fd, text, 0)
                files.data_sync(fd)
            finally:
                files.close(fd)
            # Of a crash between the two renames only `.bak` is left, which `load` takes.
            try:
                files.rename(self.path, backup)
            except FileNotFoundError:
                pass
            files.rename(temporary, self.path)
            files.sync_directory(self._folder)
        except OSError as error:
            raise StoreError(f"cannot save: {error.strerror}", file=self.path) from error

    def remove(self) -> None:
        """Delete the file and its backup."""
        remove_file(self._files, self.path)
        remove_file(self._files, self.path + ".bak")
