"""Keys that official servers read and that belong to no object of ours: setting one is noted, not unknown."""

from __future__ import annotations

_CONTROLLER = "the controller reads it, which is not served here"
_TIERED_STORE = "the tiered store plug-in reads it, which cannot be loaded here"
_UNTIL_4 = "brokers of version 4 read it, version 5 no longer does"
_ADDRESS_SERVER = "it names an HTTP server of name server addresses, which is not asked here"
_NOBODY = "it stands in many sample files, but brokers of versions 4 and 5 do not read it"

NOT_OURS: dict[str, str] = {
    "rmqAddressServerDomain": _ADDRESS_SERVER,
    "rmqAddressServerSubGroup": _ADDRESS_SERVER,
    **dict.fromkeys(
        (
            "abortFile",
            "checkTransactionMessageEnable",
            "storeCheckpoint",
            "storePathConsumeQueue",
            "storePathIndex",
        ),
        _NOBODY,
    ),
    **dict.fromkeys(
        (
            "commercialBigCount",
            "commercialEnable",
            "commercialTimerCount",
            "commercialTransCount",
            "filterServerNums",
            "maxDelayTime",
        ),
        _UNTIL_4,
    ),
    **dict.fromkeys(
        (
            "controllerDLegerGroup",
            "controllerDLegerPeers",
            "controllerDLegerSelfId",
            "controllerRequestThreadPoolQueueCapacity",
            "controllerStorePath",
            "controllerThreadPoolNums",
            "controllerType",
            "electMasterMaxRetryCount",
            "enableElectUncleanMaster",
            "jRaftControllerRPCAddr",
            "jRaftElectionTimeoutMs",
            "jRaftGroupId",
            "jRaftInitConf",
            "jRaftScanWaitTimeoutMs",
            "jRaftServerId",
            "jRaftSnapshotIntervalSecs",
            "mappedFileSize",
            "notifyBrokerRoleChanged",
            "processReadEvent",
            "scanInactiveMasterInterval",
        ),
        _CONTROLLER,
    ),
    **dict.fromkeys(
        (
            "commitLogRollingInterval",
            "commitLogRollingMinimumSize",
            "objectStoreAccessKey",
            "objectStoreBucket",
            "objectStoreEndpoint",
            "objectStoreSecretKey",
            "readAheadCacheEnable",
            "readAheadCacheExpireDuration",
            "readAheadCacheSizeThresholdRate",
            "readAheadMessageCountThreshold",
            "readAheadMessageSizeThreshold",
            "recordGetMessageResult",
            "tieredBackendServiceProvider",
            "tieredMetadataServiceProvider",
            "tieredStorageLevel",
            "tieredStoreCommitLogMaxSize",
            "tieredStoreConsumeQueueMaxSize",
            "tieredStoreCrcCheckEnable",
            "tieredStoreDeleteFileEnable",
            "tieredStoreDeleteFileInterval",
            "tieredStoreFilePath",
            "tieredStoreFileReservedTime",
            "tieredStoreGroupCommit",
            "tieredStoreGroupCommitCount",
            "tieredStoreGroupCommitSize",
            "tieredStoreGroupCommitTimeout",
            "tieredStoreIndexFileMaxHashSlotNum",
            "tieredStoreIndexFileMaxIndexNum",
            "tieredStoreMaxGroupCommitCount",
            "tieredStoreMaxPendingLimit",
        ),
        _TIERED_STORE,
    ),
}
