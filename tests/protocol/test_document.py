"""What is served, what is not yet, and the page that says so, agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqd.protocol.document import handled, handlers_and_reasons
from rmqd.protocol.not_yet import NOT_OURS, NOT_YET
from rmqwire.codes import name_of_request
from rmqwire.declare import Role, declarations
from rmqwire.document import render

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("role", [Role.NAMESRV, Role.BROKER])
def test_every_declared_request_is_served_or_listed_with_a_reason(role: Role) -> None:
    served, declared = set(handled(role)), set(declarations(role))
    unserved = set(NOT_YET[role]) | (set(NOT_OURS) & declared)
    assert {name_of_request(code) for code in served & unserved} == set(), "served, take them off the list"
    assert {name_of_request(code) for code in declared - served - unserved} == set(), "say why they are not served"
    assert unserved <= declared


def test_the_page_of_requests_is_up_to_date() -> None:
    assert (ROOT / "docs" / "requests.md").read_text() == render(handlers_and_reasons()), "run make docs"
