"""The command lines of the official mqadmin that `cases/official_admin.py` runs, by version of the tool.

Every subcommand of a version stands here at least once, or in `EXCUSED` with the reason. Lines run from top to bottom on one
cluster, so those that change something come after those that look.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS = ("4.2.0", "4.7.0", "5.5.0")


@dataclass(frozen=True)
class Row:
    """One command line.

    Args:
        line: its words; `{name}` stands for something of the scene.
        since: the first version of the tool that runs it.
        before: the first version that does not.
        any_order: lines come out of a hash map.
        numbers: whether numbers are compared.
        mask: a pattern whose matches are not compared.
        keep: a pattern; only lines with a match are compared.
        leave: a pattern; lines with a match are not compared.
        reads: it changes nothing, and may be repeated until what was written before is told.
        limit_ms: it is interrupted after so long, since it would go on for ever.
        refused: the request code that our broker may still answer with "not supported" (`protocol/not_yet.py`).
        file: the file in the tool's folder that it writes, whose lines are compared as well.
    """

    line: str
    since: str = "4.2.0"
    before: str = "6"
    any_order: bool = False
    numbers: bool = True
    mask: str = ""
    keep: str = ""
    leave: str = ""
    reads: bool = True
    limit_ms: int = 0
    file: str = ""
    refused: int = 0

    @property
    def command(self) -> str:
        """The subcommand."""
        return self.line.split()[0]

    def of(self, version: str) -> bool:
        """Whether a version of the tool runs it."""
        return self.since <= version < self.before


def _sets(line: str, since: str = "4.2.0", before: str = "6", **more: object) -> Row:
    return Row(line, since, before, reads=False, **more)  # type: ignore[arg-type]


CONSUME_TPS = r"Consume TPS.*"
OLD_RATE = "NullPointerException"
"""clusterList of 4.x stumbles over the rates of a 5.5.0 broker, which ours also tells by their old name."""
RUNTIME = r"getTransferedTps|scheduleMessageOffset_|brokerVersion[\" ]"
"""Ours tells more: a rate by its old name, the version as a number, delay levels that nothing was delivered of."""
CONFIG = r"^(kvConfigPath|maped|mapped|rocketmqHome|haListenPort|bitMapLengthConsumeQueueExt)"
"""What follows from the installation, or from how a case sets a broker up; the last is computed at start, and not used here."""

LOOKS = [
    Row("topicList", any_order=True),
    Row("topicList -c", any_order=True),
    Row("topicRoute -t Orders"),
    Row("topicRoute -t Orders -l", "5.5.0"),
    Row("topicRoute -t Absent"),
    Row("topicStatus -t Orders", any_order=True),
    Row("topicStatus -t Absent"),
    Row("topicClusterList -t Orders"),
    Row("topicClusterList -t Absent"),
    Row("clusterList", numbers=False, leave=OLD_RATE),
    Row("clusterList -m", numbers=False),
    Row("clusterList -c DefaultCluster", "5.5.0", numbers=False),
    Row("brokerStatus -b {broker}", any_order=True, mask=r": .*", leave=RUNTIME),
    Row("brokerStatus -c DefaultCluster", any_order=True, mask=r": .*", leave=RUNTIME),
    Row("brokerStatus -c Absent"),
    Row("brokerStatus -b 127.0.0.1:1"),
    Row("haStatus -b {broker}", "5.5.0", numbers=False),
    Row("haStatus -c DefaultCluster", "5.5.0", numbers=False),
    Row("allocateMQ -t Orders -i 10.0.0.1,10.0.0.2"),
    Row("getNamesrvConfig", any_order=True, leave=CONFIG),
    Row("getBrokerConfig -b {broker}", any_order=True, leave=CONFIG),
    Row("getBrokerConfig -c DefaultCluster", any_order=True, leave=CONFIG),
    Row("getBrokerConfig -c Absent"),
    Row("getConsumerConfig -g CG_Orders", "5.5.0"),
    Row("getConsumerConfig -g Absent", "5.5.0"),
    Row("consumerProgress -g CG_Orders", any_order=True, mask=CONSUME_TPS),
    Row("consumerProgress -g CG_Orders -s true", "4.7.0", any_order=True, mask=CONSUME_TPS),
    Row("consumerProgress -g CG_Orders -t Orders", "5.5.0", any_order=True, mask=CONSUME_TPS),
    Row("consumerProgress", any_order=True),
    Row("consumerProgress -g Absent"),
    Row("brokerConsumeStats -b {broker}", any_order=True),
    Row("brokerConsumeStats -b {broker} -l 100", any_order=True),
    Row("consumerConnection -g CG_Orders", any_order=True),
    Row("consumerConnection -g CG_Orders -b {broker}", "5.5.0", any_order=True),
    Row("consumerConnection -g Absent"),
    Row("consumerStatus -g CG_Orders", numbers=False),
    Row("consumerStatus -g CG_Orders -i {client}", any_order=True, numbers=False, mask="@[0-9a-f]+"),
    Row("consumerStatus -g CG_Orders -i {client} -s", numbers=False, keep=r"ConsumeMessageThread_.*TID|#Consumer"),
    Row("consumerStatus -g CG_Orders -i absent"),
    Row("producerConnection -g PG_Orders -t Orders"),
    Row("producerConnection -g Absent -t Orders"),
    Row(
        "producer -b {broker}", "5.5.0", any_order=True, numbers=False, mask=r"producer group \((CLIENT_INNER|admin).*"
    ),
    Row("queryMsgById -i {offset_id}", before="5.5.0"),
    Row("queryMsgById -t Orders -i {offset_id}", "5.5.0"),
    Row("queryMsgById -t Orders -i {msg_id}", "5.5.0"),
    Row("queryMsgById -i {absent_id}", before="5.5.0"),
    Row("queryMsgById -t Orders -i {absent_id}", "5.5.0"),
    Row("queryMsgById -i {offset_id} -g CG_Orders -d {client}", before="5.5.0", numbers=False),
    Row("queryMsgById -t Orders -i {offset_id} -g CG_Orders -d {client}", "5.5.0", numbers=False),
    Row("queryMsgByKey -t Orders -k key-1"),
    Row("queryMsgByKey -t Orders -k absent"),
    Row("queryMsgByUniqueKey -t Orders -i {msg_id}"),
    Row("queryMsgByUniqueKey -t Orders -i 7F000001000000000000000000000000"),
    Row("queryMsgByOffset -t Orders -b broker-a -i 0 -o 1"),
    Row("queryMsgByOffset -t Orders -b broker-a -i 0 -o 99"),
    Row("queryMsgTraceById -i {msg_id}", "5.5.0"),
    Row("queryCq -t Orders -q 0 -i 0 -c 2"),
    Row("queryCq -t Orders -q 0 -i 0 -c 2 -g CG_Orders -b {broker}"),
    Row("queryCq -t Orders -q 9 -i 0 -c 2 -b {broker}"),
    Row("printMsg -t Orders", any_order=True),
    Row("printMsg -t Orders -s TagA -d false", any_order=True),
    Row("printMsgByQueue -t Orders -a broker-a -i 0 -p true -d true -f true"),
    Row("consumeMessage -t Orders -b broker-a -i 0 -o 1 -c 1", "4.7.0"),
    Row("consumeMessage -t Orders", "4.7.0", any_order=True),
]

CHANGES = [
    _sets(
        "exportMetadata -c DefaultCluster -f {folder}/metadata", "5.5.0", any_order=True, file="metadata/metadata.json"
    ),
    _sets(
        "exportMetadata -c DefaultCluster -t -f {folder}/metadata", "5.5.0", any_order=True, file="metadata/topic.json"
    ),
    _sets(
        "exportMetadata -b {broker} -g -f {folder}/metadata",
        "5.5.0",
        any_order=True,
        file="metadata/subscriptionGroup.json",
    ),
    _sets("exportConfigs -c DefaultCluster -f {folder}/configs", "5.5.0", any_order=True, file="configs/configs.json"),
    _sets(
        "exportMetrics -c DefaultCluster -f {folder}/metrics",
        "5.5.0",
        any_order=True,
        numbers=False,
        file="metrics/metrics.json",
    ),
    _sets("exportPopRecord -b {broker}", "5.5.0"),
    _sets("exportPopRecord -c DefaultCluster -d true", "5.5.0"),
    _sets("cloneGroupOffset -s CG_Orders -d CG_Absent -t Orders"),
    _sets("updateSubGroup -b {broker} -g CG_Cloned"),
    _sets("cloneGroupOffset -s CG_Orders -d CG_Cloned -t Orders"),
    Row("consumerProgress -g CG_Cloned -t Orders", "5.5.0", any_order=True, mask=CONSUME_TPS),
    Row("consumerProgress -g CG_Cloned", before="5.5.0", any_order=True, mask=CONSUME_TPS),
    _sets("resetOffsetByTime -g CG_Cloned -t Orders -s 0", any_order=True),
    Row("consumerProgress -g CG_Cloned -t Orders ", "5.5.0", any_order=True, mask=CONSUME_TPS),
    _sets("resetOffsetByTime -g CG_Orders -t Orders -s {now}", any_order=True),
    _sets("resetOffsetByTime -g CG_Cloned -t Orders -s now -b {broker} -q 0 -o 1", "5.5.0"),
    _sets("resetOffsetByTime -g CG_Orders -t Absent -s 0"),
    _sets("skipAccumulatedMessage -g CG_Cloned -t Orders", "5.5.0", any_order=True),
    _sets("updateTopic -b {broker} -t Made -r 2 -w 2"),
    Row("topicRoute -t Made"),
    _sets("updateTopic -b {broker} -t Made -r 3 -w 3 -p 6"),
    Row("topicRoute -t Made "),
    _sets("updateTopic -b {broker} -t Fifo -r 2 -w 2 -a +message.type=FIFO", "5.5.0"),
    _sets("updateTopic -b {broker} -t Fifo -r 2 -w 2 -a +absent=1", "5.5.0"),
    _sets("updateTopic -b {broker} -t a/b"),
    _sets("updateTopic -b {broker} -t TBW102"),
    _sets("updateTopic -c DefaultCluster -t Ordered -o true -r 4 -w 4"),
    _sets("updateTopic -c Absent -t Made"),
    Row("updateOrderConf -t Ordered -m get"),
    _sets("updateOrderConf -t Ordered -m put -v broker-a:4"),
    Row("updateOrderConf -t Ordered -m get "),
    _sets("updateOrderConf -t Ordered -m delete"),
    Row("updateOrderConf -t Ordered -m get  "),
    _sets("updateTopicPerm -b {broker} -t Made -p 4"),
    Row("topicRoute -t Made  "),
    _sets("updateTopicPerm -c DefaultCluster -t Made -p 6"),
    _sets("updateTopicPerm -b {broker} -t Absent -p 6"),
    _sets("updateTopicList -b {broker} -f {topics_file}", "5.5.0"),
    Row("topicRoute -t Listed", "5.5.0"),
    _sets("deleteTopic -c DefaultCluster -t Made"),
    Row("topicRoute -t Made   "),
    _sets("deleteTopic -c DefaultCluster -t Absent"),
    _sets("deleteTopic -c Absent -t Made"),
    _sets("updateSubGroup -b {broker} -g CG_Made -r 3 -q 2"),
    _sets("updateSubGroup -c DefaultCluster -g CG_Made -d true"),
    Row("getConsumerConfig -g CG_Made", "5.5.0"),
    _sets("updateSubGroup -b {broker} -g CG_Made -s false -w 1 -i 0 -m false -a false"),
    Row("getConsumerConfig -g CG_Made ", "5.5.0"),
    _sets("updateSubGroup -c Absent -g CG_Made"),
    _sets("updateSubGroup -b {broker} -g a/b"),
    _sets("updateSubGroupList -b {broker} -f {groups_file}", "5.5.0"),
    Row("getConsumerConfig -g CG_Listed", "5.5.0"),
    _sets("setConsumeMode -b {broker} -t Orders -g CG_Made -m POP -q 8", "5.5.0"),
    _sets("setConsumeMode -c DefaultCluster -t Orders -g CG_Made -m PULL", "5.5.0"),
    _sets("setConsumeMode -b {broker} -t Orders -g CG_Made -m ABSENT", "5.5.0"),
    _sets("deleteSubGroup -b {broker} -g CG_Made"),
    _sets("deleteSubGroup -c DefaultCluster -g CG_Cloned", any_order=True),
    _sets("updateKvConfig -s space -k key -v value"),
    _sets("deleteKvConfig -s space -k key"),
    _sets("deleteKvConfig -s absent -k key"),
    _sets("updateBrokerConfig -b {broker} -k fileReservedTime -v 71"),
    Row("getBrokerConfig -b {broker} ", keep="fileReservedTime"),
    _sets("updateBrokerConfig -c DefaultCluster -k fileReservedTime -v 72"),
    Row("getBrokerConfig -b {broker}  ", keep="fileReservedTime"),
    _sets("updateBrokerConfig -b {broker} -k absentKey -v 1"),
    _sets("updateBrokerConfig -b {broker} -k storePathRootDir -v /absent"),
    _sets("updateNamesrvConfig -k clusterTest -v false"),
    _sets("updateNamesrvConfig -k kvConfigPath -v /absent"),
    _sets("cleanExpiredCQ -b {broker}"),
    _sets("cleanExpiredCQ -c DefaultCluster"),
    _sets("cleanExpiredCQ"),
    _sets("cleanUnusedTopic -b {broker}"),
    _sets("cleanUnusedTopic -c DefaultCluster"),
    _sets("deleteExpiredCommitLog -b {broker}", "5.5.0"),
    _sets("deleteExpiredCommitLog -c DefaultCluster", "5.5.0"),
    _sets("sendMessage -t Spare -p hello -k k -c TagA -b broker-a -i 0", "4.7.0"),
    _sets("sendMessage -t Spare -p hello", "4.7.0", mask=r"queueId=\d|broker-a +\d"),
    _sets("sendMsgStatus -b broker-a -c 2", mask=r"rt[:=]\d+(ms)?|queueId=\d+"),
    _sets("checkMsgSendRT -t Spare -a 3 -s 64", numbers=False),
    _sets("clusterRT -a 2 -i 1 -s 64", numbers=False, keep="DefaultCluster|#Cluster", limit_ms=1500),
    _sets("updateStaticTopic -b broker-a -t Fixed -qn 2", "5.5.0"),
    _sets("updateStaticTopic -c DefaultCluster -t Fixed -qn 3", "5.5.0"),
    _sets("updateStaticTopic -b broker-a -t Fixed -qn 3", "5.5.0"),
    _sets("updateStaticTopic -b broker-a -t Fixed -qn 1", "5.5.0"),
    _sets("updateStaticTopic -b broker-a -t Fixed -qn many", "5.5.0"),
    _sets("updateStaticTopic -b broker-a -t Spare -qn 3", "5.5.0"),
    _sets("updateStaticTopic -b absent -t Absent -qn 2", "5.5.0"),
    _sets("updateStaticTopic -c Absent -t Absent -qn 2", "5.5.0"),
    Row("topicRoute -t Fixed", "5.5.0"),
    Row("topicStatus -t Fixed", "5.5.0"),
    _sets("remappingStaticTopic -b broker-a -t Fixed", "5.5.0"),
    _sets("remappingStaticTopic -c DefaultCluster -t Fixed", "5.5.0"),
    _sets("remappingStaticTopic -b absent -t Fixed", "5.5.0"),
    _sets("remappingStaticTopic -b broker-a -t Spare", "5.5.0"),
    _sets("remappingStaticTopic -b broker-a -t Absent", "5.5.0"),
    _sets("deleteTopic -c DefaultCluster -t Fixed", "5.5.0"),
    _sets("wipeWritePerm -b broker-a", numbers=False),
    Row("topicRoute -t Orders ", before="5.5.0"),
    _sets("addWritePerm -b broker-a", "5.5.0", numbers=False),
    _sets("wipeWritePerm -b absent"),
    _sets("addWritePerm -b absent", "5.5.0"),
]

REFUSED = [
    # What brokers of this installation refuse, here and there: the code and the words are the same.
    Row("updateAclConfig -b {broker} -a accessor -s 12345678", "4.7.0", "5.5.0"),
    Row("deleteAccessConfig -b {broker} -a accessor", "4.7.0", "5.5.0"),
    Row("clusterAclConfigVersion -b {broker}", "4.7.0", "5.5.0"),
    Row("updateGlobalWhiteAddr -b {broker} -g 10.0.0.1", "4.7.0", "5.5.0"),
    Row("getAccessConfigSubCommand -b {broker}", "4.7.0", "5.5.0"),
    Row("createUser -b {broker} -u user -p secret", "5.5.0", refused=3001),
    Row("updateUser -b {broker} -u user -p secret", "5.5.0", refused=3002),
    Row("deleteUser -b {broker} -u user", "5.5.0", refused=3003),
    Row("getUser -b {broker} -u user", "5.5.0", refused=3004),
    Row("listUser -b {broker}", "5.5.0", refused=3005),
    Row("copyUser -f {broker} -t {broker} -u user", "5.5.0", refused=3004),
    Row("createAcl -b {broker} -s User:user -r Topic:Orders -a Pub -d Allow", "5.5.0", refused=3006),
    Row("updateAcl -b {broker} -s User:user -r Topic:Orders -a Pub -d Allow", "5.5.0", refused=3007),
    Row("deleteAcl -b {broker} -s User:user", "5.5.0", refused=3008),
    Row("getAcl -b {broker} -s User:user", "5.5.0", refused=3009),
    Row("listAcl -b {broker}", "5.5.0", refused=3010),
    Row("copyAcl -f {broker} -t {broker} -s User:user", "5.5.0", refused=3009),
    Row("addBroker -c {broker} -b /absent/broker.conf", "5.5.0"),
    Row("removeBroker -c {broker} -b DefaultCluster:broker-b:0", "5.5.0"),
    Row("resetMasterFlushOffset -b {broker} -o 0", "5.5.0"),
    Row("getBrokerEpoch -b broker-a", "5.5.0", refused=1007),
    Row("getSyncStateSet -a {broker} -c DefaultCluster", "5.5.0"),
    Row("getControllerMetaData -a {broker}", "5.5.0"),
    Row("getControllerConfig -a {broker}", "5.5.0"),
    Row("updateControllerConfig -a {broker} -k key -v value", "5.5.0"),
    Row("electMaster -a {broker} -b 1 -bn broker-a -c DefaultCluster", "5.5.0"),
    Row("cleanBrokerMetadata -a {broker} -bn broker-a -c DefaultCluster", "5.5.0"),
    Row("getColdDataFlowCtrInfo -b {broker}", "5.5.0"),
    Row("updateColdDataFlowCtrGroupConfig -b {broker} -g CG_Orders -v 100", "5.5.0"),
    Row("removeColdDataFlowCtrGroupConfig -b {broker} -g CG_Orders", "5.5.0"),
    Row("setCommitLogReadAheadMode -b {broker} -m 0", "5.5.0"),
    Row("switchTimerEngine -b {broker} -e F", "5.5.0"),
    Row("checkRocksdbCqWriteProgress -c DefaultCluster", "5.5.0", refused=354),
    Row("rocksDBConfigToJson -b {broker} -t topics", "5.5.0"),
    Row("getBrokerLiteInfo -b {broker}", "5.5.0", refused=200074),
    Row("getParentTopicInfo -p Orders", "5.5.0"),
    Row("getLiteTopicInfo -p Orders -l lite", "5.5.0"),
    Row("getLiteClientInfo -p Orders -g CG_Orders -c client", "5.5.0"),
    Row("getLiteGroupInfo -p Orders -g CG_Orders -l lite", "5.5.0"),
    Row("triggerLiteDispatch -p Orders -g CG_Orders", "5.5.0"),
    # Counted in steps of ten seconds.
    Row("statsAll", any_order=True, mask=r"(?<= )\d+\.\d\d"),
    Row("statsAll -t Orders", mask=r"(?<= )\d+\.\d\d"),
]


def _call(line: str, since: str = "4.7.0", **more: object) -> Row:
    return Row(f"call {line}", since, any_order=True, **more)  # type: ignore[arg-type]


# What rocketmq-dashboard asks by methods of the admin client, where it is more or other than mqadmin does; as it sends it.
HOSTS = r"^(-?\d+|\"(array|port|address)\":.*)$"
"""The bytes of addresses."""
DASHBOARD = [
    _call("fetchAllTopicList"),
    _call("fetchTopicsByCLuster DefaultCluster"),
    _call("examineBrokerClusterInfo"),
    _call("examineTopicRouteInfo Orders"),
    _call("examineTopicStats Orders"),
    _call("examineTopicStats Absent"),
    _call("queryTopicConsumeByWho Orders"),
    _call("examineConsumerConnectionInfo CG_Orders", mask=r'"clientId":"[^"]*"'),
    _call("examineConsumerConnectionInfo Absent"),
    _call("examineProducerConnectionInfo PG_Orders Orders", mask=r'"clientId":"[^"]*"'),
    _call("examineConsumeStats CG_Orders", mask=r'"consumeTps":[\d.]+'),
    _call("examineConsumeStats CG_Orders Orders", mask=r'"consumeTps":[\d.]+'),
    _call("examineConsumeStats Absent"),
    _call("getConsumerRunningInfo CG_Orders {client} false", numbers=False, mask="@[0-9a-f]+"),
    _call("fetchBrokerRuntimeStats {broker}", mask=r':"?[^"]*"?', leave=RUNTIME),
    _call("viewBrokerStatsData {broker} TOPIC_PUT_NUMS Orders", numbers=False),
    _call("viewBrokerStatsData {broker} TOPIC_PUT_SIZE Orders", numbers=False),
    _call("viewBrokerStatsData {broker} GROUP_GET_NUMS Orders@CG_Orders", numbers=False),
    _call("viewBrokerStatsData {broker} GROUP_GET_SIZE Orders@CG_Orders", numbers=False),
    _call("viewBrokerStatsData {broker} BROKER_PUT_NUMS DefaultCluster", numbers=False),
    _call("viewBrokerStatsData {broker} BROKER_GET_NUMS DefaultCluster", numbers=False),
    _call("viewBrokerStatsData {broker} ABSENT Orders"),
    _call("viewBrokerStatsData {broker} TOPIC_PUT_NUMS Absent"),
    _call("getAllTopicConfig {broker} 5000", "5.5.0", mask=r'"(counter|timestamp|stateVersion)":\d+'),
    _call("getAllSubscriptionGroup {broker} 5000", mask=r'"(counter|timestamp|stateVersion)":\d+'),
    _call("getUserTopicConfig {broker} true 5000", "5.5.0", mask=r'"(counter|timestamp|stateVersion)":\d+'),
    _call("getUserSubscriptionGroup {broker} 5000", "5.5.0", mask=r'"(counter|timestamp|stateVersion)":\d+'),
    _call("examineTopicConfig {broker} Orders", "5.5.0"),
    _call("examineTopicConfig {broker} Absent", "5.5.0"),
    _call("examineSubscriptionGroupConfig {broker} CG_Orders"),
    _call("examineSubscriptionGroupConfig {broker} CG_New"),
    _call("viewMessage Orders {msg_id}", leave=HOSTS),
    _call("viewMessage Orders {offset_id}", leave=HOSTS),
    _call("viewMessage Orders {absent_id}"),
    _call("queryMessage Orders key-1 32 0 {now}", leave=HOSTS, mask=r'"indexLastUpdateTimestamp":\w+'),
    _call("queryMessage Orders absent 32 0 {now}"),
    _call("queryMessage %DLQ%CG_Orders key-1 32 0 {now}"),
    _call("consumeMessageDirectly CG_Orders {client} Orders {msg_id}", numbers=False),
    _call("consumeMessageDirectly CG_Orders absent Orders {msg_id}"),
    _call("queryConsumeTimeSpan Orders CG_Orders"),
    _call("getConsumeStatus Orders CG_Orders {client}"),
    _call(
        "fetchConsumeStatsInBroker {broker} false 5000",
        # The official broker leaves out how far was pulled, and counts messages in flight below zero.
        mask=r'"consumeTps":[\d.]+|"(pullOffset|totalInflightDiff)":-?\d+',
    ),
    _call("getTopicClusterList Orders"),
    _call("getClusterList Orders"),
    _call("getKVListByNamespace ORDER_TOPIC_CONFIG"),
    _call("queryTopicsByConsumer CG_Orders", "5.5.0"),
    _call("querySubscription CG_Orders Orders", "5.5.0"),
    _call("getBrokerHAStatus {broker}", "5.5.0", numbers=False),
]

ROWS = [*LOOKS, *DASHBOARD, *REFUSED, *CHANGES]

EXCUSED = {
    "startMonitoring": "never ends, and prints to a log file alone",
    "exportMetadataInRocksDB": "reads files of RocksDB and asks no server",
    "dumpCompactionLog": "reads a file and asks no server",
}
"""Subcommands without a row, and why."""
