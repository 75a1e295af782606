"""How options are declared, and how values are shown as Java shows them."""

from __future__ import annotations

import pytest

from rmqd.conf.keys.netty import NettyServerConfig
from rmqd.conf.option import OptionGroup, boolean, float64, int32
from rmqd.conf.surroundings import Surroundings, choose_local_address

MACHINE = Surroundings({}, cpu_count=1, host_name="vm", local_address="192.0.2.2")


class Shape(OptionGroup):
    """A group for these tests."""

    edge_count = int32(4, "edges", "How many edges.", low=3)
    is_filled = boolean(False, "Whether it is filled.")
    area = float64(0.5, "m2", "Its area.")


class Named(Shape):
    """A group that is put together."""

    colour_nums = int32(1, "", "Colours.", key="colourNUMS")


def test_groups_take_the_options_of_their_parts() -> None:
    assert list(Named.OPTIONS) == ["edge_count", "is_filled", "area", "colour_nums"]
    assert [option.key for option in Named.OPTIONS.values()] == ["edgeCount", "isFilled", "area", "colourNUMS"]


def test_values_are_plain_attributes_of_each_instance() -> None:
    one, other = Named(MACHINE, {"edge_count": 5}), Named(MACHINE)
    assert (one.edge_count, other.edge_count, other.is_filled) == (5, 4, False)
    one.edge_count = 6
    assert other.edge_count == 4


def test_a_misspelled_attribute_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="NettyServerConfig has no listenPort"):
        NettyServerConfig(MACHINE, {"listenPort": 1})


# as Double.toString of JDK 17
DOUBLES = [
    (0.8, "0.8"),
    (8000.0, "8000.0"),
    (200000.0, "200000.0"),
    (9999999.0, "9999999.0"),
    (10000000.0, "1.0E7"),
    (123456789.0, "1.23456789E8"),
    (1e22, "1.0E22"),
    (1.5e300, "1.5E300"),
    (0.001, "0.001"),
    (0.00012, "1.2E-4"),
    (1e-05, "1.0E-5"),
    (-1e-300, "-1.0E-300"),
    (0.0, "0.0"),
    (-12345678.5, "-1.23456785E7"),
]


@pytest.mark.parametrize(("value", "text"), DOUBLES)
def test_doubles_are_shown_as_java_shows_them(value: float, text: str) -> None:
    option = Shape.OPTIONS["area"]
    assert option.show(value) == text
    assert option.parse(text) == value


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        ([], "127.0.0.1"),
        (["10.1.2.3"], "10.1.2.3"),
        (["10.1.2.3", "192.168.0.1"], "192.168.0.1"),
        (["10.1.2.3", "8.8.4.4", "192.168.0.1"], "8.8.4.4"),
        (["172.16.0.1", "172.32.0.1"], "172.32.0.1"),
        (["192.169.0.1", "1.2.3.4"], "192.169.0.1"),
    ],
)
def test_the_address_that_clients_are_told(addresses: list[str], chosen: str) -> None:
    """As NetworkUtil.getLocalInetAddress: the first public address, else the last private one."""
    assert choose_local_address(addresses) == chosen


def test_this_machine_has_an_address() -> None:
    parts = Surroundings({}).local_address.split(".")
    assert len(parts) == 4
    assert all(0 <= int(part) <= 255 for part in parts)


def test_the_home_comes_from_the_environment_or_the_user() -> None:
    assert Surroundings({"HOME": "/somewhere"}).user_home == "/somewhere"
    assert Surroundings({}).user_home.startswith("/")
