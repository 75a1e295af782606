"""`mqshutdown`: ask the servers that this user runs here to stop, by SIGTERM.

As the official script, which looks for the processes by their command line; Linux `/proc` is read instead of `ps`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from .logs import say

_COMMANDS = {
    "namesrv": (("mqnamesrv",), ("rmqd", "namesrv")),
    "broker": (("mqbroker",), ("rmqd", "broker")),
}
NOTHING_RUNS = 255
"""Exit code of the official script when it finds nothing (-1)."""


def run_shutdown(role: str, proc: Path = Path("/proc")) -> int:
    """Stop every server of a role; print what was done as the official script does.

    Returns:
        0, or `NOTHING_RUNS`.
    """
    name = f"mq{role}"
    pids = list(find_servers(role, proc))
    if not pids:
        say(f"No {name} running.")
        return NOTHING_RUNS
    listed = " ".join(map(str, pids))
    say(f"The {name}({listed}) is running...")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    say(f"Send shutdown request to {name}({listed}) OK")
    return 0


def find_servers(role: str, proc: Path) -> Iterator[int]:
    """Give the process ids of this user's servers of a role."""
    me = os.getuid()
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid == me and is_server(role, (entry / "cmdline").read_bytes()):
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or is not ours to read


def is_server(role: str, command_line: bytes) -> bool:
    """Tell whether a NUL-separated command line is that of a server of `role`."""
    words = [word.decode("utf-8", "replace") for word in command_line.split(b"\0") if word]
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[1:]
    words[:1] = [Path(word).name for word in words[:1]]
    return any(tuple(words[: len(command)]) == command for command in _COMMANDS[role])
