"""`rmqd dump`: print what a store file holds."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import NoReturn

import msgspec

from rmqd.store.dump import dump_file
from rmqd.store.errors import StoreError

from .logs import say


def run_dump(path: Path, as_json: bool, limit: int | None, slots: int) -> None:
    """Print one line per entry: JSON, or `name=value` words."""
    try:
        for entry in islice(dump_file(str(path), slot_num=slots), limit):
            say(msgspec.json.encode(entry).decode() if as_json else " ".join(f"{key}={entry[key]}" for key in entry))
    except BrokenPipeError:
        sys.exit(0)  # whoever reads the output has seen enough
    except (StoreError, OSError) as cause:
        _fail(str(cause))


def _fail(text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    sys.exit(1)
