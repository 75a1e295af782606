"""Bodies are the official ones, member by member, and survive the way through both dialects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmqwire import bodies
from rmqwire.bodies import (
    BatchAck,
    BatchAckMessageRequestBody,
    Body,
    BrokerData,
    ConsumerConnection,
    ConsumerData,
    ConsumerOffsetTable,
    ConsumeStats,
    ConsumeStatsList,
    CustomizedRetryPolicy,
    DelayOffsetTable,
    GetConsumerListByGroupResponseBody,
    GetConsumerStatusBody,
    GroupRetryPolicy,
    HeartbeatData,
    KvConfigTable,
    LockBatchResponseBody,
    MessageQueue,
    OffsetWrapper,
    ProducerData,
    QueryCorrectionOffsetBody,
    QueueData,
    ResetOffsetBody,
    SubscriptionData,
    SubscriptionGroupConfig,
    TimerMetrics,
    TopicConfig,
    TopicConfigAndMappingSerializeWrapper,
    TopicRouteData,
    TopicStatsTable,
    UserInfo,
    read_list,
)
from rmqwire.dialect import dumps
from rmqwire.errors import MalformedBody

from .strategies import structs

GOLDEN = Path(__file__).parent.parent / "golden"
ALL = [getattr(bodies, name) for name in bodies.__all__ if name not in ("Body", "MessageQueue", "read_list")]
QUEUE = MessageQueue(broker_name="b", queue_id=0, topic="t")

TABLE: list[tuple[Body, bytes]] = [
    (
        TopicRouteData(
            queue_datas=[QueueData(broker_name="b", read_queue_nums=4, write_queue_nums=4, perm=6, topic_sys_flag=1)],
            broker_datas=[BrokerData(cluster="c", broker_name="b", broker_addrs={0: "h:1", 1: "h:2"})],
            order_topic_conf="b:4",
        ),
        b'{"brokerDatas":[{"brokerAddrs":{0:"h:1",1:"h:2"},"brokerName":"b","cluster":"c","enableActingMaster":false}],'
        b'"filterServerTable":{},"orderTopicConf":"b:4","queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,'
        b'"topicSynFlag":1,"topicSysFlag":1,"writeQueueNums":4}]}',
    ),
    (ResetOffsetBody(offset_table={QUEUE: 5}), b'{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5}}'),
    (
        TopicStatsTable(offset_table={}, topic_put_tps=0.5),
        b'{"offsetTable":{},"topicPutTps":0.5}',
    ),
    (
        GetConsumerStatusBody(message_queue_table={QUEUE: 1}, consumer_table={"id": {QUEUE: 2}}),
        b'{"consumerTable":{"id":{{"brokerName":"b","queueId":0,"topic":"t"}:2}},'
        b'"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"t"}:1}}',
    ),
    (
        ConsumeStatsList(
            consume_stats_list=[{"g": [ConsumeStats(offset_table={QUEUE: OffsetWrapper(broker_offset=3)})]}]
        ),
        b'{"consumeStatsList":[{"g":[{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:'
        b'{"brokerOffset":3,"consumerOffset":0,"lastTimestamp":0,"pullOffset":0}}}]}],"totalDiff":0,"totalInflightDiff":0}',
    ),
    (
        ConsumerOffsetTable(offset_table={"t@g": {0: 12, 1: 9}}),
        b'{"offsetTable":{"t@g":{0:12,1:9}}}',
    ),
    (DelayOffsetTable(offset_table={3: 120}), b'{"offsetTable":{3:120}}'),
    (QueryCorrectionOffsetBody(correction_offsets={0: 5}), b'{"correctionOffsets":{0:5}}'),
    (GetConsumerListByGroupResponseBody(consumer_id_list=["ip@1#2"]), b'{"consumerIdList":["ip@1#2"]}'),
    (
        LockBatchResponseBody(lock_ok_mq_set=[QUEUE]),
        b'{"lockOKMQSet":[{"brokerName":"b","queueId":0,"topic":"t"}]}',
    ),
    (
        BatchAckMessageRequestBody(broker_name="b", acks=[BatchAck(bit_set=b"\x01\x02", consumer_group="g")]),
        b'{"acks":[{"b":"AQI=","c":"g","it":0,"pt":0,"q":0,"rq":0,"so":0}],"brokerName":"b"}',
    ),
    (
        HeartbeatData(
            client_id="c",
            producer_data_set=[ProducerData(group_name="p")],
            consumer_data_set=[
                ConsumerData(
                    group_name="g",
                    consume_type="CONSUME_PASSIVELY",
                    message_model="CLUSTERING",
                    consume_from_where="CONSUME_FROM_LAST_OFFSET",
                    subscription_data_set=[SubscriptionData(topic="t", sub_string="*", sub_version=1)],
                )
            ],
        ),
        b'{"clientID":"c","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",'
        b'"consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":'
        b'[{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],'
        b'"topic":"t"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"p"}],'
        b'"withoutSub":false}',
    ),
]


@pytest.mark.parametrize(("value", "data"), TABLE)
def test_table_both_ways(value: Body, data: bytes) -> None:
    assert value.encode() == data
    assert type(value).decode(data) == value
    assert type(value).decode(value.pretty()) == value


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_every_body_survives(kind: type[Body], data: st.DataObject) -> None:
    value = data.draw(structs(kind))
    assert kind.decode(value.encode()) == value
    assert kind.decode(value.pretty()) == value
    assert kind.decode(value.encode(quoted_integer_keys=True)) == value


def golden(version: str) -> dict[str, Any]:
    lines = (GOLDEN / f"bodies-{version}.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {name: text.encode() for name, text in rows}


JAVA_NAMES = {
    "ConsumerOffsetSerializeWrapper": "ConsumerOffsetTable",
    "GetBrokerClusterAclConfigResponseBody": "AclConfig",
    "KVTable": "KvTable",
}
NOT_OURS = {
    "ClusterAclVersionInfo", "ConsumeByWho", "RollbackStats", "TopicQueueMappingSerializeWrapper",
    "TopicQueueMappingUtils", "TopicRemappingDetailWrapper",
}  # fmt: skip
"""Classes that no body of the protocol is made of, or that only the admin tool reads."""

DIFFERENT = {
    # We always write both names of the flag.
    "QueueData": b'{"perm":0,"readQueueNums":0,"topicSynFlag":0,"topicSysFlag":0,"writeQueueNums":0}',
    # Java leaves lists and maps out that were never set; we write them empty, which reads the same.
    "BrokerData": b'{"brokerAddrs":{},"enableActingMaster":false}',
    "CreateTopicListRequestBody": b'{"topicConfigList":[]}',
    "SubscriptionGroupList": b'{"groupConfigList":[]}',
    # Texts of times that the handler fills in.
    "QueueTimeSpan": b'{"consumeTimeStamp":0,"delayTime":0,"maxTimeStamp":0,"minTimeStamp":0}',
}


@pytest.mark.parametrize("name", sorted(golden("5.5.0")))
def test_a_fresh_body_is_written_as_5_5_0_writes_it(name: str) -> None:
    kind = getattr(bodies, JAVA_NAMES.get(name, name), None)
    if kind is None:
        assert name in NOT_OURS
        return
    assert kind().encode() == DIFFERENT.get(name, golden("5.5.0")[name])


@pytest.mark.parametrize("name", sorted(golden("4.7.0")))
def test_what_4_7_0_writes_is_read(name: str) -> None:
    """Older peers leave members out, and write no member that we would miss."""
    kind = getattr(bodies, JAVA_NAMES.get(name, name), None)
    if kind is None:
        assert name in NOT_OURS
        return
    data = golden("4.7.0")[name]
    assert kind.decode(data) == kind.decode(dumps(json.loads(data)))
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(json.loads(data)) <= known


def test_a_route_in_standard_json() -> None:
    """For clients since 4.9.4, and whoever sets `acceptStandardJsonOnly`."""
    route, _ = TABLE[0]
    data = route.encode(quoted_integer_keys=True)
    assert json.loads(data)["brokerDatas"][0]["brokerAddrs"] == {"0": "h:1", "1": "h:2"}
    assert TopicRouteData.decode(data) == route


def test_both_names_of_the_topic_flag() -> None:
    """Name servers before 4.9 send `topicSynFlag`; every client finds the name it knows."""
    assert QueueData.decode(b'{"topicSynFlag":3}').topic_sys_flag == 3
    assert QueueData.decode(b'{"topicSynFlag":0,"topicSysFlag":2}').topic_sys_flag == 2
    changed = msgspec.structs.replace(QueueData.decode(b'{"topicSynFlag":3}'), topic_sys_flag=1)
    assert changed.encode() == (b'{"perm":0,"readQueueNums":0,"topicSynFlag":1,"topicSysFlag":1,"writeQueueNums":0}')


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (b'{"topicName":"T","perm":"4","unknown":[1],"attributes":null}', TopicConfig(topic_name="T", perm=4)),
        (b"{'topicName':'T',order:true}", TopicConfig(topic_name="T", order=True)),
        (b'{"topicName":null}', TopicConfig()),
        (b'{"topicName":"\xff"}', TopicConfig(topic_name="�")),
        (b"{}", TopicConfig()),
    ],
)
def test_lenient_members(data: bytes, want: TopicConfig) -> None:
    assert TopicConfig.decode(data) == want


def test_nulls_in_lists_and_maps_are_left_out() -> None:
    text = b'{"consumerDataSet":[null,{"groupName":null}],"producerDataSet":null,"clientID":7,}'
    with pytest.raises(MalformedBody):
        HeartbeatData.decode(text)
    beat = HeartbeatData.decode(text.replace(b"7", b"'c'"))
    assert beat == HeartbeatData(client_id="c", consumer_data_set=[ConsumerData()])
    queue = b'{"offsetTable":{{"brokerName":"b","queueId":"0","topic":"t"}:null,{"topic":"u"}:"9"}}'
    assert ResetOffsetBody.decode(queue).offset_table == {MessageQueue(topic="u"): 9}


def test_a_reference_is_followed() -> None:
    """fastjson 1 writes the second occurrence of an object as a reference, which is standard JSON."""
    text = b'{"topicConfigTable":{"A":{"topicName":"A","attributes":{"k":"v"}},"B":{"topicName":"B","attributes":'
    body = TopicConfigAndMappingSerializeWrapper.decode(text + b'{"$ref":"$.topicConfigTable.A.attributes"}}}}')
    assert body.topic_config_table["B"].attributes == {"k": "v"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'{"producerDataSet":{}}',
        b'{"heartbeatFingerprint":2147483648}',
        b'{"clientID":{}}',
        b'{"x":' + b"[" * 100_000,
        b'{"x":{"$ref":"$"}}',
        b'{"consumerDataSet":' + b"[" * 600 + b"]" * 600 + b"}",
    ],
)
def test_malformed_bodies(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        HeartbeatData.decode(data)


@pytest.mark.parametrize("data", [b'{"offsetTable":{[1]:5}}', b'{"offsetTable":{"x":5}}', b'{"offsetTable":{{}:{}}}'])
def test_keys_that_are_no_queues(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        ResetOffsetBody.decode(data)


def test_arrays_of_bodies() -> None:
    assert read_list(UserInfo, b'[{"username":"a"},{"username":null},null]') == [UserInfo(user_name="a"), UserInfo()]
    assert read_list(str, b"['a']") == ["a"]
    for data in (b"{}", b"[1]", b"[", b"[" * 100_000, b"[" * 600 + b"]" * 600):
        with pytest.raises(MalformedBody):
            read_list(str, data)


@st.composite
def nearly_bodies(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from([data for _, data in TABLE]))
    cut = draw(st.integers(0, len(data)))
    return data[:cut] + draw(st.binary(max_size=3)) + data[cut + 1 :]


@given(st.binary(max_size=60) | nearly_bodies())
def test_any_bytes_give_a_body_or_malformed_body(data: bytes) -> None:
    for kind in (HeartbeatData, ResetOffsetBody, TopicRouteData, ConsumerConnection, ConsumerOffsetTable):
        try:
            body = kind.decode(data)
        except MalformedBody:
            continue
        assert kind.decode(body.encode()) == body


def test_defaults_that_only_some_releases_write() -> None:
    config = SubscriptionGroupConfig(
        group_name="g", group_retry_policy=GroupRetryPolicy(customized_retry_policy=CustomizedRetryPolicy())
    )
    assert b'"customizedRetryPolicy":{"next":[1000,5000,10000,30000,' in config.encode()
    assert KvConfigTable(config_table={"n": {"k": "v"}}).encode() == b'{"configTable":{"n":{"k":"v"}}}'
    assert TimerMetrics.decode(b'{"timingCount":{"t":{"count":1,"timeStamp":0}}}').timing_count["t"].count == 1
