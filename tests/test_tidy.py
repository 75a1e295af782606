"""What the linters cannot see: the package list, module sizes, words that do not belong here."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ("rmqwire", "store", "conf", "protocol")
MODULE_LINES_MAX = 420

MODULES = sorted(path for folder in PACKAGED for path in (ROOT / folder).rglob("*.py"))
TEXTS = sorted(
    path
    for pattern in ("*.py", "*.md", "*.cfg", "*.toml", "Makefile", "*.go", "*.java", ".ci/run")
    for path in ROOT.rglob(pattern)
    if not {".venv", ".cache", ".links", ".git", "build", "dist"} & set(path.relative_to(ROOT).parts)
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_folder_with_modules_is_in_the_wheel() -> None:
    """A package missing from setup.cfg works in an editable install and is missing from the wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    mapping = {
        folder.strip(): name.strip()
        for name, _, folder in (
            line.partition("=") for line in config["options"]["package_dir"].splitlines() if line.strip()
        )
    }
    wanted = set()
    for path in MODULES:
        first, *rest = path.parent.relative_to(ROOT).parts
        wanted.add(".".join([mapping[first], *rest]))
    assert set(config["options"]["packages"].split()) == wanted


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_has_one_subject(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MODULE_LINES_MAX, f"{len(lines)} lines: what is the second subject?"
    if len(lines) > 10:
        assert ast.get_docstring(ast.parse("\n".join(lines))), "say what the module is for"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_map_is_flushed_on_the_reactor(path: Path) -> None:
    """`mmap.flush` holds the GIL for the whole sync; `os.fdatasync` in a thread does not."""
    assert not re.search(r"\b\w*map\w*\.flush\(", path.read_text())


@pytest.mark.parametrize("path", TEXTS, ids=_name)
def test_no_path_of_one_machine(path: Path) -> None:
    if path == Path(__file__).resolve():
        return
    for word in re.findall(r"/(?:work|root|home/\w+)/[\w./-]+", path.read_text(errors="replace")):
        pytest.fail(f"names a path of one machine: {word}")
