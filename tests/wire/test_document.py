"""`docs/requests.md` says what the code declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqwire.declare import Role
from rmqwire.document import main, render

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "requests.md"


def without_handlers(text: str) -> list[str]:
    """Drop the last cell of every request's row; the servers fill it."""
    return [line.rsplit("|", 2)[0] if line.count("|") == 9 else line for line in text.splitlines()]


def test_the_document_is_up_to_date() -> None:
    assert without_handlers(DOCUMENT.read_text()) == without_handlers(render()), "run `make docs`"


def test_handlers_have_a_column() -> None:
    text = render({(Role.BROKER, 11): "PullHandlers.pull", (Role.NAMESRV, 904): "Routes.beat"})
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.endswith("PullHandlers.pull |")}
    assert list(rows) == ["11"]
    assert "`proxyFrowardClientId str?`" in rows["11"]
    assert text.count("Routes.beat") == 1


def test_the_command_writes_a_file_or_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == render()
    main([str(tmp_path / "requests.md")])
    assert (tmp_path / "requests.md").read_text() == render()
