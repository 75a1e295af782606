"""The property text that is stored: the client's, with the broker's own behind it."""

from __future__ import annotations

import pytest

from rmqd.protocol.broker.send_properties import PropertyRules, without_property

ADDED = "MSG_REGION\x01R\x02TRACE_ON\x01true\x02CLUSTER\x01C\x02"
RULES = PropertyRules("R", True, "C")


@pytest.mark.parametrize(
    ("text", "properties", "kept"),
    [
        ("", {}, ""),
        ("a\x011\x02b\x012\x02", {"a": "1", "b": "2"}, "a\x011\x02b\x012\x02"),
        ("a\x011", {"a": "1"}, "a\x011\x02"),
        ("UNIQ_KEY\x01U\x02WAIT\x01true\x02", {"UNIQ_KEY": "U", "WAIT": "true"}, "UNIQ_KEY\x01U\x02WAIT\x01true\x02"),
        ("a\x01x\x01y\x02", {"a": "x\x01y"}, "a\x01x\x01y\x02"),
    ],
)
def test_text_is_kept(text: str, properties: dict[str, str], kept: str) -> None:
    assert RULES.apply(text) == (properties, kept + ADDED)


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("no separator", {}),
        ("a\x011\x02no value\x02", {"a": "1"}),
        ("\x011\x02a\x011\x02", {"a": "1"}),
        ("a\x01\x02b\x012\x02", {"b": "2"}),
        ("\x02\x02a\x011\x02", {"a": "1"}),
        ("a\x011\x02a\x012\x02", {"a": "2"}),
    ],
)
def test_what_is_no_property_is_dropped(text: str, properties: dict[str, str]) -> None:
    """What is stored is what was understood, as by the official broker, which writes the text anew each time."""
    found, stored = RULES.apply(text)
    assert found == properties
    assert stored == "".join(f"{name}\x01{value}\x02" for name, value in properties.items()) + ADDED


def test_the_broker_s_own_cannot_be_given() -> None:
    """A client's CLUSTER is replaced, and a receipt of a pop is left out."""
    found, stored = RULES.apply("CLUSTER\x01mine\x02POP_CK\x01p\x02a\x011\x02")
    assert found == {"CLUSTER": "mine", "a": "1"}
    assert "mine" not in stored
    assert "POP_CK" not in stored
    assert stored.count("CLUSTER") == 1


def test_one_name_is_taken_out() -> None:
    assert without_property("a\x011\x02DELAY\x013\x02DELAYED\x01x\x02", "DELAY") == "a\x011\x02DELAYED\x01x\x02"
