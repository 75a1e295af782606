"""How large the proof is: small with the unit tests, as large as it was promised with `RMQD_PROOF=soak`.

Every row takes its numbers from here, and says them with its seed when it fails. `RMQD_PROOF_SEED` picks another seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

LONG = os.environ.get("RMQD_PROOF") == "soak"
SEED = int(os.environ.get("RMQD_PROOF_SEED", "20260607"))


def size(ci: int, soak: int) -> int:
    """The number of this run."""
    return soak if LONG else ci


@contextmanager
def stated(**what: object) -> Iterator[None]:
    """Have whatever goes wrong within say what it happened to, beside the seed."""
    try:
        yield
    except Exception as wrong:
        numbers = ", ".join(f"{name} {value}" for name, value in {"seed": SEED, **what}.items())
        raise AssertionError(f"{numbers}: {type(wrong).__name__}: {wrong}") from wrong


def machine_is_busy() -> bool:
    """Whether others use the processors: what is measured then by the clock says nothing."""
    return os.getloadavg()[0] > 1.25 * (os.cpu_count() or 1)
