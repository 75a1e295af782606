"""Configuration: typed options of brokers and name servers, read from the official properties files.

It imports nothing of ours and must stay cheap to import: every command pays for it before it serves.
"""

if __name__ != "rmqd.conf":  # a second copy of the same classes would be loaded from the checkout's root
    raise ImportError("import this package as rmqd.conf")

from .enums import BrokerRole, FlushDiskType
from .errors import BlackListedKey, ConfError
from .keys.auth import AuthConfig
from .keys.broker import BrokerConfig
from .keys.namesrv import NamesrvConfig
from .keys.netty import NettyClientConfig, NettyServerConfig
from .keys.store import MessageStoreConfig
from .load import BrokerOptions, NamesrvOptions, load_broker_options, load_namesrv_options

__all__ = [
    "AuthConfig",
    "BlackListedKey",
    "BrokerConfig",
    "BrokerOptions",
    "BrokerRole",
    "ConfError",
    "FlushDiskType",
    "MessageStoreConfig",
    "NamesrvConfig",
    "NamesrvOptions",
    "NettyClientConfig",
    "NettyServerConfig",
    "load_broker_options",
    "load_namesrv_options",
]
