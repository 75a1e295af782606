"""The declared options against the fields of the official 5.5.0 classes, as reflection gave them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from rmqd.conf.keys.elsewhere import NOT_OURS
from rmqd.conf.load import BrokerOptions, NamesrvOptions
from rmqd.conf.option import Option, OptionGroup
from rmqd.conf.surroundings import Surroundings

FACTS = Path(__file__).parent / "official-5.5.0.tsv"
MACHINE = Surroundings({"HOME": "/HOME"}, cpu_count=7, host_name="vm", local_address="192.0.2.2")
GROUPS: dict[str, type[OptionGroup]] = {
    group.JAVA_CLASS.rpartition(".")[2]: group for group in (*BrokerOptions.GROUPS, *NamesrvOptions.GROUPS)
}
# what a start puts in the place of Java's default, or Java's getter in the place of null
REPLACED = {"haListenPort": "0", "storePathCommitLog": ""}


class Field(NamedTuple):
    java_class: str
    name: str
    java_type: str
    default: str
    important: str
    setter: str


FIELDS = [Field(*line.rstrip("\n").split("\t")) for line in FACTS.read_text().splitlines() if not line.startswith("#")]
REAL_FIELDS = [field for field in FIELDS if field.java_type != "setter"]


def _option(field: Field) -> Option:
    options = GROUPS[field.java_class].OPTIONS.values()
    return next(option for option in options if option.printed_key == field.name)


@pytest.mark.parametrize("name", GROUPS)
def test_every_field_is_declared_and_nothing_else(name: str) -> None:
    declared = sorted(option.printed_key for option in GROUPS[name].OPTIONS.values())
    assert declared == sorted(field.name for field in REAL_FIELDS if field.java_class == name)


@pytest.mark.parametrize("field", REAL_FIELDS, ids=lambda field: f"{field.java_class}.{field.name}")
def test_type_default_and_importance(field: Field) -> None:
    option = _option(field)
    assert option.kind.java_type == field.java_type
    default = option.compute_default(MACHINE)
    assert option.show(default) == REPLACED.get(field.name, field.default.replace("<null>", ""))
    assert option.important == (field.important == "I")


@pytest.mark.parametrize("field", REAL_FIELDS, ids=lambda field: f"{field.java_class}.{field.name}")
def test_the_key_is_that_of_the_setter(field: Field) -> None:
    option = _option(field)
    other_setters = {extra.name for extra in FIELDS if extra.java_class == field.java_class} - {field.name}
    if field.setter:
        assert option.key == field.name
    elif option.settable:
        assert option.key in other_setters


def test_every_default_is_allowed() -> None:
    """A file with all defaults written out, as an official server leaves behind after an update, can be read."""
    for group in GROUPS.values():
        for option in group.OPTIONS.values():
            default = option.compute_default(MACHINE)
            assert option.adjust is None or option.adjust(default) == default
            if default is not None:
                assert option.parse(option.show(default)) == default


def test_keys_of_other_servers_are_not_ours() -> None:
    ours = {
        key for group in GROUPS.values() for option in group.OPTIONS.values() for key in (option.key, *option.aliases)
    }
    assert not ours & NOT_OURS.keys()


def test_every_option_is_described_in_one_line() -> None:
    for group in GROUPS.values():
        for option in group.OPTIONS.values():
            assert option.description.endswith(".")
            assert "\n" not in option.description
            assert option.settable or not option.acted


def test_no_spelling_belongs_to_two_options_of_an_object() -> None:
    for group in GROUPS.values():
        spellings = [key for option in group.OPTIONS.values() for key in (option.key, *option.aliases)]
        assert len(spellings) == len(set(spellings))
