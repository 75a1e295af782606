"""Options of a broker and of a name server: defaults, then the file, then the command line.

NAMESRV_ADDR and ROCKETMQ_HOME are defaults, as in Java: a file that sets the key wins over them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .enums import BrokerRole
from .errors import ConfError
from .keys.auth import AuthConfig
from .keys.broker import BrokerConfig
from .keys.namesrv import NamesrvConfig
from .keys.netty import NettyClientConfig, NettyServerConfig
from .keys.store import MessageStoreConfig
from .properties import decode, read_entries
from .reading import COMMAND_LINE, Given, Reading
from .surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .option import OptionGroup

BROKER_PORT = 10911
NAMESRV_PORT = 9876
MASTER_ID = 0

_NO_OVERRIDES: Mapping[str, str] = {}


class BrokerOptions:
    """Everything a broker is told: one attribute for each configuration object.

    Attributes:
        file: the properties file, if there is one.
        extra: unknown keys of the file, which the official servers keep and print.
        notices: what the person who wrote the configuration should know, one line each.
        source: where each value that is no default was written, by key: for what only turns out wrong when it is used.
    """

    GROUPS: tuple[type[OptionGroup], ...] = (
        BrokerConfig,
        NettyServerConfig,
        NettyClientConfig,
        MessageStoreConfig,
        AuthConfig,
    )

    def __init__(self, reading: Reading, file: Path | None) -> None:
        values, surroundings = reading.values, reading.surroundings
        self.broker = BrokerConfig(surroundings, values.get(BrokerConfig))
        self.server = NettyServerConfig(surroundings, values.get(NettyServerConfig))
        self.client = NettyClientConfig(surroundings, values.get(NettyClientConfig))
        self.store = MessageStoreConfig(surroundings, values.get(MessageStoreConfig))
        self.auth = AuthConfig(surroundings, values.get(AuthConfig))
        self.file = file
        self.source = reading.source
        self.extra = reading.extra
        self.notices = reading.notices
        self._adjust(reading)

    @property
    def groups(self) -> tuple[OptionGroup, ...]:
        return (*self.live_groups, self.auth)

    @property
    def live_groups(self) -> tuple[OptionGroup, ...]:
        """Those that requests print and change; not `auth`, as in Java: it holds credentials."""
        return (self.broker, self.server, self.client, self.store)

    @property
    def black_list(self) -> frozenset[str]:
        """Keys that no request may change."""
        return _black_list(self.broker.config_black_list, "brokerConfigPath", "rocketmqHome", "configBlackList")

    @property
    def update_file(self) -> str:
        """The file that an update at run time rewrites."""
        return str(self.file) if self.file else f"{self.store.store_path_root_dir}/config/broker.properties"

    def _adjust(self, reading: Reading) -> None:
        """What a broker makes of its options at its start.

        Source: `org.apache.rocketmq.broker.BrokerStartup`, 5.5.0.
        """
        given = reading.source
        if "listenPort" not in given:
            self.server.listen_port = BROKER_PORT
        self.broker.listen_port = self.server.listen_port  # Java leaves 6888 there and prints it
        if self.store.ha_listen_port == 0 and self.server.listen_port > 0:
            self.store.ha_listen_port = self.server.listen_port + 1
        root = self.store.store_path_root_dir
        self.store.store_path_commit_log = self.store.store_path_commit_log or f"{root}/commitlog"
        self.auth.config_name = self.broker.broker_name
        self.auth.cluster_name = self.broker.broker_cluster_name
        self.auth.auth_config_path = f"{root}/config"
        self.broker.in_broker_container = False
        self._adjust_identity(reading)

    def _adjust_identity(self, reading: Reading) -> None:
        given = reading.source
        role = self.store.broker_role
        dledger = self.store.enable_dleger_commit_log
        if dledger and self.broker.enable_controller_mode:
            raise given["enableControllerMode"].wrong("false, as enableDLegerCommitLog is true")
        if dledger:
            self.broker.broker_id = -1
        elif self.broker.enable_controller_mode:
            self._adjust_controlled(reading)
        elif role is not BrokerRole.SLAVE:
            if self.broker.broker_id != MASTER_ID:
                self.notices.append(f"{given['brokerId'].place}: brokerId 0 is used, as a master has no other")
            self.broker.broker_id = MASTER_ID
        elif self.broker.broker_id <= MASTER_ID:
            place = given.get("brokerId") or given["brokerRole"]
            shown = str(self.broker.broker_id)
            expected = "a number above 0, as brokerRole is SLAVE"
            raise ConfError(place.file, place.line, "brokerId", expected, shown)

    def _adjust_controlled(self, reading: Reading) -> None:
        """A controller decides the role: until it has, the broker is nobody's master."""
        given = reading.source
        if not self.broker.controller_addr.strip():
            raise given["enableControllerMode"].wrong("false, as controllerAddr names no controller")
        if self.broker.enable_slave_acting_master:
            place = given["enableSlaveActingMaster"].place
            self.notices.append(f"{place}: not acted upon, as enableControllerMode is true")
            self.broker.enable_slave_acting_master = False
        self.store.broker_role = BrokerRole.SLAVE
        self.broker.broker_id = -1


class NamesrvOptions:
    """Everything a name server is told; attributes as those of `BrokerOptions`."""

    GROUPS: tuple[type[OptionGroup], ...] = (NamesrvConfig, NettyServerConfig, NettyClientConfig)

    def __init__(self, reading: Reading, file: Path | None) -> None:
        values, surroundings = reading.values, reading.surroundings
        self.namesrv = NamesrvConfig(surroundings, values.get(NamesrvConfig))
        self.server = NettyServerConfig(surroundings, values.get(NettyServerConfig))
        self.client = NettyClientConfig(surroundings, values.get(NettyClientConfig))
        self.file = file
        self.extra = reading.extra
        self.notices = reading.notices
        if "listenPort" not in reading.source:
            self.server.listen_port = NAMESRV_PORT
        if file is not None:  # as Java: NamesrvStartup, whatever the file itself says
            self.namesrv.config_store_path = str(file)

    @property
    def groups(self) -> tuple[OptionGroup, ...]:
        return (self.namesrv, self.server, self.client)

    @property
    def live_groups(self) -> tuple[OptionGroup, ...]:
        """Those that requests print and change; not `client`, as in Java."""
        return (self.namesrv, self.server)

    @property
    def black_list(self) -> frozenset[str]:
        """Keys that no request may change."""
        fixed = ("configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome")
        return _black_list(self.namesrv.config_black_list, *fixed)

    @property
    def update_file(self) -> str:
        """The file that an update at run time rewrites."""
        return self.namesrv.config_store_path


def _black_list(configured: str, *fixed: str) -> frozenset[str]:
    return frozenset(fixed) | frozenset(filter(None, configured.split(";")))


def load_broker_options(
    file: Path | None = None,
    overrides: Mapping[str, str] = _NO_OVERRIDES,
    environ: Mapping[str, str] = os.environ,
    *,
    surroundings: Surroundings | None = None,
) -> BrokerOptions:
    """The options of a broker.

    Args:
        file: a properties file, or None for the defaults.
        overrides: official keys given on the command line; they win over the file.
        environ: where NAMESRV_ADDR, ROCKETMQ_HOME and HOME are looked up.
        surroundings: the machine that computed defaults depend on; this one unless given.

    Raises:
        ConfError: for a file that cannot be read, a wrong value, or values that cannot be together.
    """
    return BrokerOptions(_read(BrokerOptions.GROUPS, file, overrides, surroundings or Surroundings(environ)), file)


def load_namesrv_options(
    file: Path | None = None,
    overrides: Mapping[str, str] = _NO_OVERRIDES,
    environ: Mapping[str, str] = os.environ,
    *,
    surroundings: Surroundings | None = None,
) -> NamesrvOptions:
    """The options of a name server; arguments and errors as those of `load_broker_options`."""
    return NamesrvOptions(_read(NamesrvOptions.GROUPS, file, overrides, surroundings or Surroundings(environ)), file)


def _read(
    groups: tuple[type[OptionGroup], ...],
    file: Path | None,
    overrides: Mapping[str, str],
    surroundings: Surroundings,
) -> Reading:
    reading = Reading(groups, surroundings)
    entries: list[Given] = []
    if file is not None:
        name = str(file)
        entries += [Given(entry.key, entry.value, name, entry.line) for entry in read_entries(_text(name), name)]
    # of a key both in the file and on the command line the latter counts, and that is no oversight worth a notice
    entries = [given for given in entries if given.key not in overrides]
    entries += [Given(key, text, COMMAND_LINE, None) for key, text in overrides.items()]
    reading.read(entries)
    return reading


def _text(name: str) -> str:
    try:
        with open(name, "rb") as stream:
            return decode(stream.read())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfError(name, None, None, "a readable properties file", reason) from error
