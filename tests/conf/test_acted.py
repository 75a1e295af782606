"""`acted` tells the truth: an option acts if the servers read it. It decides about notices and the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rmqd.conf.load import BrokerOptions, NamesrvOptions
from rmqd.conf.option import OptionGroup

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = {
    word
    for path in (ROOT / "protocol").rglob("*.py")
    for word in re.findall(r"\.([a-z][a-z0-9_]*)\b", path.read_text())
}
# read by conf itself
BY_CONF = {"config_black_list", "config_store_path"}
# read, but what it promises is not done yet
NOT_YET: dict[str, str] = {}
# words of other things too, or a key whose other object is the one that is read
AMBIGUOUS = {("AuthConfig", "cluster_name"), ("BrokerConfig", "listen_port"), ("MessageStoreConfig", "store_type")}

GROUPS = dict.fromkeys((*BrokerOptions.GROUPS, *NamesrvOptions.GROUPS))


@pytest.mark.parametrize("group", GROUPS)
def test_options_act_if_and_only_if_they_are_read(group: type[OptionGroup]) -> None:
    read = (WORDS | BY_CONF) - NOT_YET.keys() - {name for owner, name in AMBIGUOUS if owner == group.__name__}
    options = group.OPTIONS
    silent = sorted(name for name, option in options.items() if name in read and not option.acted)
    idle = sorted(name for name, option in options.items() if option.acted and name not in read)
    flip = "flip `acted` in conf/keys/ and run: python -m rmqd.conf.document > docs/options.md"
    assert not silent, f"read by protocol/ without acted=True: {flip}"
    assert not idle, f"acted=True but not read by protocol/: {flip}"
