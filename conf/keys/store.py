"""Options of the message store, put together from their subjects."""

from __future__ import annotations

from .store_clean import StoreClean
from .store_files import StoreFiles
from .store_flush import StoreFlush
from .store_ha import StoreHa
from .store_read import StoreRead
from .store_rocksdb import StoreRocksdb
from .store_timer import StoreTimer


class MessageStoreConfig(StoreFiles, StoreFlush, StoreClean, StoreRead, StoreHa, StoreTimer, StoreRocksdb):
    """Every key of the Java class."""

    JAVA_CLASS = "org.apache.rocketmq.store.config.MessageStoreConfig"
