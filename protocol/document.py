"""Writes `docs/requests.md`, who handles what filled in: `python -m rmqd.protocol.document [FILE]`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import rmqd.protocol.broker
import rmqd.protocol.namesrv
from rmqwire.declare import Role, declaration_of, declarations
from rmqwire.document import render

from .dispatch import marked
from .not_yet import NOT_OURS, NOT_YET

_PACKAGES = {Role.BROKER: rmqd.protocol.broker, Role.NAMESRV: rmqd.protocol.namesrv}


def handled(role: Role) -> dict[int, str]:
    """Give the request codes that a role's handler classes serve, with the method's name."""
    package = _PACKAGES[role]
    found: dict[int, str] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                for method, headers in marked(kind):
                    found.update((declaration_of(header).code, f"{name}.{method}") for header in headers)
    return found


def handlers_and_reasons() -> dict[tuple[Role, int], str]:
    """Give for every request either its handler or why there is none."""
    cells: dict[tuple[Role, int], str] = {}
    for role in _PACKAGES:
        served = handled(role)
        for code in declarations(role):
            if code in served:
                cells[role, code] = f"`{served[code]}`"
            elif code in NOT_YET.get(role, {}):
                cells[role, code] = f"not yet: {NOT_YET[role][code]}"
            elif code in NOT_OURS:
                cells[role, code] = f"no: {NOT_OURS[code]}"
    return cells


def main() -> None:
    """Write the file named on the command line, `docs/requests.md` by default."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/requests.md")
    target.write_text(render(handlers_and_reasons()))


if __name__ == "__main__":
    main()
