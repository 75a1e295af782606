"""Options of a running server: printed, updated, written back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmqd.conf import BlackListedKey, BrokerOptions, ConfError, load_broker_options, load_namesrv_options
from rmqd.conf.option import Option, OptionGroup
from rmqd.conf.properties import read_entries, write_entry
from rmqd.conf.runtime import apply_properties, to_properties, write_back
from rmqd.conf.surroundings import Surroundings

MACHINE = Surroundings({"HOME": "/HOME"}, cpu_count=3, host_name="vm", local_address="192.0.2.2")


def broker(tmp_path: Path, text: str) -> BrokerOptions:
    file = tmp_path / "broker.conf"
    file.write_text(text)
    return load_broker_options(file, surroundings=MACHINE)


def printed(options: BrokerOptions) -> dict[str, str]:
    return {entry.key: entry.value for entry in read_entries(to_properties(options), "printed")}


def test_every_key_is_printed_in_order_under_its_official_name(tmp_path: Path) -> None:
    options = broker(tmp_path, "listenPort=30911\nmyOwnKey=x\nmapedFileSizeCommitLog=8192\n")
    text = to_properties(options)
    keys = [line.partition("=")[0] for line in text.splitlines()]
    assert keys == sorted(set(keys))
    shown = printed(options)
    assert shown["listenPort"] == "30911"
    assert shown["mappedFileSizeCommitLog"] == "8192"
    assert shown["brokerRole"] == "ASYNC_MASTER"
    assert shown["autoCreateTopicEnable"] == "true"
    assert shown["isScanAvailableNameSrv"] == "true"
    assert shown["timerRocksDBRollMaxTps"] == "8000.0"
    assert shown["myOwnKey"] == "x"
    assert "haMasterAddress" not in shown, "as Java: null is left out"
    assert "initAuthenticationUser" not in shown, "credentials are not handed out"
    null = {
        fact.printed_key
        for group in options.live_groups
        for name, fact in group.OPTIONS.items()
        if getattr(group, name) is None
    }
    named = {fact.printed_key for group in options.live_groups for fact in group.OPTIONS.values()}
    assert set(shown) == named - null | {"myOwnKey"}


def test_what_is_printed_can_be_loaded(tmp_path: Path) -> None:
    """Also what an official server has written over its file: all keys, with the names it prints."""
    text = to_properties(broker(tmp_path, "brokerName=broker-é\nmessageDelayLevel=1s 1d\nstorePathRootDir=/a b\n"))
    again = broker(tmp_path, text)
    assert again.broker.broker_name == "broker-é"
    assert to_properties(again) == text
    assert again.notices == []


def test_an_update_changes_the_live_options(tmp_path: Path) -> None:
    options = broker(tmp_path, "brokerPermission=6\n")
    live = options.broker
    changed = apply_properties(options, "brokerPermission=4\nmapedFileSizeCommitLog=4096\nautoCreateTopicEnable=true\n")
    assert live.broker_permission == 4
    assert options.store.mapped_file_size_commit_log == 4096
    assert changed.keys == {"brokerPermission", "mappedFileSizeCommitLog", "autoCreateTopicEnable"}
    assert [(change.key, change.old, change.new) for change in changed.changes] == [
        ("brokerPermission", 6, 4),
        ("mappedFileSizeCommitLog", 1024**3, 4096),
    ]


def test_an_update_is_all_or_nothing(tmp_path: Path) -> None:
    options = broker(tmp_path, "")
    before = to_properties(options)
    with pytest.raises(ConfError) as caught:
        apply_properties(options, "brokerPermission=4\nfileReservedTime=long\n")
    assert str(caught.value) == "update request:2: fileReservedTime: expected a whole number, got 'long'"
    assert to_properties(options) == before


@pytest.mark.parametrize("key", ["configBlackList", "brokerConfigPath", "rocketmqHome", "deleteWhen", "myOwnKey"])
def test_black_listed_keys_are_refused(tmp_path: Path, key: str) -> None:
    options = broker(tmp_path, "configBlackList=deleteWhen;myOwnKey\nmyOwnKey=x\n")
    before = to_properties(options)
    with pytest.raises(BlackListedKey):
        apply_properties(options, f"brokerPermission=4\n{key}=05\n")
    assert to_properties(options) == before


def test_an_old_spelling_does_not_pass_the_black_list(tmp_path: Path) -> None:
    options = broker(tmp_path, "configBlackList=mappedFileSizeCommitLog\n")
    with pytest.raises(BlackListedKey):
        apply_properties(options, "mapedFileSizeCommitLog=4096\n")


@pytest.mark.parametrize("key", ["configStorePath", "kvConfigPath", "configBlackList"])
def test_black_listed_keys_of_a_name_server(tmp_path: Path, key: str) -> None:
    with pytest.raises(BlackListedKey):
        apply_properties(load_namesrv_options(surroundings=MACHINE), f"{key}=x")


def test_unknown_keys_change_nothing_unless_the_file_had_them(tmp_path: Path) -> None:
    options = broker(tmp_path, "myOwnKey=x\n")
    changed = apply_properties(options, "myOwnKey=y\nanotherKey=z\n")
    assert options.extra == {"myOwnKey": "y"}
    assert changed.written == {"myOwnKey": "y"}
    assert any("anotherKey" in notice for notice in changed.notices)


def test_a_key_without_a_setter_stays(tmp_path: Path) -> None:
    options = broker(tmp_path, "")
    assert apply_properties(options, "timerWarmEnable=true").changes == ()
    assert options.store.timer_warm_enable is False


FILE = """\
# The broker of the cellar

brokerName = broker-a   # not a comment
! the old value stays as a comment
fileReservedTime=48
namesrvAddr = a:1;\\
              b:2
  mapedFileSizeCommitLog : 8192
# the end"""

REWRITTEN = """\
# The broker of the cellar

brokerName = broker-a   # not a comment
! the old value stays as a comment
fileReservedTime=24
namesrvAddr=c:3
mappedFileSizeCommitLog=4096
# the end
brokerPermission=4
"""


def test_the_persons_file_keeps_its_comments_and_order(tmp_path: Path) -> None:
    options = broker(tmp_path, FILE)
    update = "mappedFileSizeCommitLog=4096\nbrokerPermission=4\nfileReservedTime=24\nnamesrvAddr=c:3"
    assert write_back(options, apply_properties(options, update)) == str(tmp_path / "broker.conf")
    assert (tmp_path / "broker.conf").read_text() == REWRITTEN
    assert (tmp_path / "broker.conf.bak").read_text() == FILE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broker.conf", "broker.conf.bak"]
    again = load_broker_options(tmp_path / "broker.conf", surroundings=MACHINE)
    assert to_properties(again) == to_properties(options)


def test_of_two_entries_the_one_that_counts_is_replaced(tmp_path: Path) -> None:
    options = broker(tmp_path, "fileReservedTime=1\nfileReservedTime=2\n")
    write_back(options, apply_properties(options, "fileReservedTime=3"))
    assert (tmp_path / "broker.conf").read_text() == "fileReservedTime=1\nfileReservedTime=3\n"


def test_line_ends_and_mode_stay(tmp_path: Path) -> None:
    file = tmp_path / "broker.conf"
    file.write_bytes(b"# head\r\nfileReservedTime=1\r\n")
    file.chmod(0o600)
    options = load_broker_options(file, surroundings=MACHINE)
    write_back(options, apply_properties(options, "fileReservedTime=3"))
    assert file.read_bytes() == b"# head\r\nfileReservedTime=3\r\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "broker.conf.bak").stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.conf").write_text("fileReservedTime=1\n")
    link = tmp_path / "broker.conf"
    link.symlink_to("real.conf")
    options = load_broker_options(link, surroundings=MACHINE)
    write_back(options, apply_properties(options, "fileReservedTime=3"))
    assert link.is_symlink()
    assert (tmp_path / "real.conf").read_text() == "fileReservedTime=3\n"


def test_without_a_file_one_is_made_beside_the_state(tmp_path: Path) -> None:
    options = load_broker_options(overrides={"storePathRootDir": f"{tmp_path}/store"}, surroundings=MACHINE)
    path = write_back(options, apply_properties(options, "fileReservedTime=3"))
    assert path == f"{tmp_path}/store/config/broker.properties"
    assert Path(path).read_text() == "fileReservedTime=3\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    options = load_broker_options(overrides={"storePathRootDir": f"{tmp_path}/store"}, surroundings=MACHINE)
    with pytest.raises(ConfError, match=r"store/config/broker\.properties: expected a file that can be rewritten"):
        write_back(options, apply_properties(options, "fileReservedTime=3"))


def test_a_failure_leaves_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = broker(tmp_path, FILE)
    changed = apply_properties(options, "fileReservedTime=24")

    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfError, match="No space left on device"):
        write_back(options, changed)
    assert (tmp_path / "broker.conf").read_text() == FILE


def _text_of(option: Option) -> st.SearchStrategy[str]:
    low = -(2**31) if option.low is None else option.low
    high = 2**31 - 1 if option.high is None else option.high
    values: dict[str, st.SearchStrategy[str]] = {
        "boolean": st.sampled_from(["true", "false"]),
        "int": st.integers(low, high).map(str),
        "long": st.integers(low, high).map(str),
        "double": st.floats(allow_nan=False, allow_infinity=False).map(option.show),
    }
    if option.kind.java_type in values:
        return values[option.kind.java_type]
    if option.kind.java_type == "String" and option.check is None:
        return st.text(st.characters(blacklist_categories=["Cs"]), min_size=1).filter(
            lambda text: text == text.strip(" \t\r\n\f")
        )
    return st.just(option.show(option.compute_default(MACHINE)))


def _settable(group: type[OptionGroup]) -> list[Option]:
    return [option for option in group.OPTIONS.values() if option.settable and option.key not in ("listenPort",)]


UPDATES = st.sampled_from([option for group in BrokerOptions.GROUPS[:4] for option in _settable(group)]).flatmap(
    lambda option: st.tuples(st.just(option.key), _text_of(option))
)


@given(st.lists(UPDATES, max_size=8, unique_by=lambda update: update[0]))
@settings(max_examples=60)
def test_updates_print_load_and_print_alike(updates: list[tuple[str, str]]) -> None:
    """Whatever an update sets, a broker started from what is printed has the same options."""
    options = load_broker_options(surroundings=MACHINE)
    allowed = [update for update in updates if update[0] not in options.black_list]
    changed = apply_properties(options, "".join(write_entry(*update) + "\n" for update in allowed))
    assert changed.keys == {key for key, _ in allowed}
    shown = to_properties(options)
    again = load_broker_options(surroundings=MACHINE)
    apply_properties(
        again,
        "".join(
            write_entry(entry.key, entry.value) + "\n"
            for entry in read_entries(shown, "shown")
            if entry.key not in again.black_list
        ),
    )
    assert to_properties(again) == shown
