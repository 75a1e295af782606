"""The shipped example files, what `-p` and `-m` print, and the generated documentation."""

from __future__ import annotations

from importlib.resources import as_file
from pathlib import Path

import pytest

from rmqd.conf import BrokerRole, load_broker_options, load_namesrv_options
from rmqd.conf.document import document
from rmqd.conf.examples import EXAMPLES, example
from rmqd.conf.show import show_options
from rmqd.conf.surroundings import Surroundings

ROOT = Path(__file__).resolve().parent.parent.parent
MACHINE = Surroundings({"HOME": "/HOME"}, cpu_count=3, host_name="vm", local_address="192.0.2.2")


OTHERS = [name for name in EXAMPLES if name != "namesrv.properties" and not name.startswith("controller/")]


@pytest.mark.parametrize("name", OTHERS)
def test_every_broker_example_loads(name: str) -> None:
    with as_file(example(name)) as file:
        options = load_broker_options(file, environ={})
    folder, _, last = name.rpartition("/")
    stem = last.partition(".")[0]
    slave = stem.endswith("-s")
    master = BrokerRole.SYNC_MASTER if folder == "2m-2s-sync" else BrokerRole.ASYNC_MASTER
    assert options.store.broker_role is (BrokerRole.SLAVE if slave else master)
    assert options.broker.broker_id == (1 if slave else 0)
    assert options.broker.broker_name == (stem.removesuffix("-s") if folder else "broker-a")
    assert (options.store.delete_when, options.store.file_reserved_time) == ("04", 48)
    assert options.notices == []


@pytest.mark.parametrize("number", [0, 1])
def test_the_brokers_of_a_controller_load(number: int) -> None:
    with as_file(example(f"controller/broker-n{number}.properties")) as file:
        options = load_broker_options(file, environ={})
    assert (options.broker.broker_name, options.broker.broker_id) == ("broker-a", -1)
    assert (options.broker.enable_controller_mode, options.store.all_ack_in_sync_state_set) == (True, True)
    assert options.notices == []


def test_the_name_server_example_loads_without_a_notice() -> None:
    with as_file(example("namesrv.properties")) as file:
        options = load_namesrv_options(file, environ={})
    assert options.notices == []
    assert options.server.listen_port == 9876


def test_every_file_is_listed_and_goes_into_the_wheel() -> None:
    import configparser

    folder = ROOT / "conf"
    present = {
        str(path.relative_to(folder)) for pattern in ("*.conf", "*.properties") for path in folder.rglob(pattern)
    }
    assert present == set(EXAMPLES)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["rmqd.conf"].split(",")]
    packed = {str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern)}
    assert present <= packed


def test_other_names_are_no_examples() -> None:
    with pytest.raises(KeyError):
        example("../setup.cfg")


def test_all_options_are_shown() -> None:
    lines = show_options(load_broker_options(surroundings=MACHINE)).splitlines()
    assert "brokerName=vm" in lines
    assert "listenPort=10911" in lines
    assert "namesrvAddr=" in lines, "null is empty"
    assert "flushDiskType=ASYNC_FLUSH" in lines
    assert len(lines) == sum(len(group.OPTIONS) for group in load_broker_options(surroundings=MACHINE).groups)
    assert "kvConfigPath=/HOME/namesrv/kvConfig.json" in show_options(load_namesrv_options(surroundings=MACHINE))


def test_important_options_are_those_that_java_marks() -> None:
    lines = show_options(load_broker_options(surroundings=MACHINE), important_only=True).splitlines()
    keys = {line.partition("=")[0] for line in lines}
    assert {"namesrvAddr", "brokerIP1", "autoCreateTopicEnable", "storePathRootDir", "brokerRole"} <= keys
    assert not {"brokerIP2", "brokerPermission", "haListenPort", "serverWorkerThreads"} & keys
    assert len(lines) == 55


def test_the_documentation_is_up_to_date() -> None:
    assert (ROOT / "docs" / "options.md").read_text() == document(), (
        "run: python -m rmqd.conf.document > docs/options.md"
    )
