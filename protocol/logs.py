"""Log files under the names of the official server, and log lines of its shape.

`namesrv.log` and `broker.log` in `~/logs/rocketmqlogs` or `--log-dir`, rotated by size. Nothing is logged per message.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogBeginner,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile

if TYPE_CHECKING:
    from twisted.logger import LogEvent

ROTATE_SIZE_BYTES = 128 * 1024 * 1024
"""Size at which a log file is rotated, as in the official `rmq.broker.logback.xml`."""

ROTATED_FILES_MAX = 10


def default_log_dir() -> Path:
    """Where the official server logs to."""
    return Path.home() / "logs" / "rocketmqlogs"


def start_logging(name: str, directory: Path, *, beginner: LogBeginner = globalLogBeginner) -> Path:
    """Send the log of this process to `directory/name.log`.

    Errors that stop the server are printed by the commands as well; the log never goes to standard output.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.log"
    out: Any = LogFile(  # type: ignore[no-untyped-call]
        path.name, str(directory), rotateLength=ROTATE_SIZE_BYTES, maxRotatedFiles=ROTATED_FILES_MAX
    )
    observer = FilteringLogObserver(
        FileLogObserver(out, _line), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)]
    )
    beginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
    return path


def _line(event: LogEvent) -> str | None:
    text = formatEvent(event)
    if not text:
        return None
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}"
    level = event.get("log_level", LogLevel.info).name.upper()
    when = formatTime(event.get("log_time"), "%Y-%m-%d %H:%M:%S")
    namespace = str(event.get("log_namespace", "-")).rpartition(".")[2]
    return f"{when} {level} {namespace} - {text}\n"


def say(text: str, out: TextIO | None = None) -> None:
    """Print a line for whoever started the server, at once."""
    stream = out if out is not None else sys.stdout
    stream.write(text + "\n")
    stream.flush()
