"""Transactions: their ends, the checks of those that stay open, and what becomes of both when a broker changes hands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from interop import raw
from interop.api import Api, TransactionProducer, steady, transaction
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import DriverError, until
from interop.server import wait_offsets_written

END_TRANSACTION = 37
GET_MAX_OFFSET = 30
RESUME_CHECK_HALF_MESSAGE = 323

COMMIT, ROLLBACK = "8", "12"
HALF_TOPIC, OP_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC"
GIVEN_UP_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC"

CHECK_MAX = 60
"""So many that a producer whose first heartbeat comes late, 30 s after its start, is still asked."""
IMPATIENT = {
    "transactionTimeOut": 2000, "transactionCheckInterval": 1000, "transactionOpBatchInterval": 300,
    "transactionCheckMax": CHECK_MAX,
}  # fmt: skip
PATIENT = {**IMPATIENT, "transactionTimeOut": 600_000}
"""For the first life of a broker that is to hand over what is open: nothing is asked for. (On a busy machine an official
broker also asks, after transactionTimeOut, for what it has noted as ended a moment ago.)"""
CLIENTS = ["3.2.6", "4.7.0", "5.5.0", "go"]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """Servers that check what is open after two seconds, every second."""
    servers = Servers(tmp_path_factory.mktemp("transactions"), kind, official_version)
    yield servers.cluster(IMPATIENT)
    servers.close()


def answers(producer: TransactionProducer) -> dict[str, list[str]]:
    """Return what the checks of each body were answered."""
    told: dict[str, list[str]] = {}
    for check in producer.checks():
        told.setdefault(check["body"], []).append(check["answer"])
    return told


def configure(api: Api, cluster: Cluster, key: str, value: object) -> None:
    printed = api.mqadmin(
        cluster.namesrv, "updateBrokerConfig", "-b", cluster.broker.address, "-k", key, "-v", str(value)
    )
    expect_that("success" in printed, "updateBrokerConfig prints success", printed)


@case(
    "transactions/1",
    "a commit delivers and a rollback does not, at once or by the answer to a check; unknown is asked again",
    source="EndTransactionProcessor, TransactionalMessageServiceImpl.check; codes 10, 37, 39",
)
@pytest.mark.parametrize("version", CLIENTS)
def test_ends(version: str, api: Api, impatient: Cluster, request: pytest.FixtureRequest) -> None:
    if version == "go":
        request.getfixturevalue("go")
    topic = api.fresh("topic")
    api.create_topic(impatient.namesrv, topic, 2)
    consumer = api.consumer(impatient.namesrv, topic)
    producer = api.transaction_producer(impatient.namesrv, version)
    results = producer.send(
        topic,
        [
            transaction("commit", "commit", tag="T", keys="k"),
            transaction("rollback", "rollback"),
            transaction("later commit", "unknown", "commit"),
            transaction("later rollback", "unknown", "rollback"),
            transaction("late commit", "unknown", "unknown,commit", tag="T", keys="k"),
        ],
    )
    expect({r["status"] for r in results}, {"SEND_OK"})
    consumer.wait_bodies(["commit", "later commit", "late commit"])
    until(lambda: "later rollback" in answers(producer), 10)
    steady(lambda: len(producer.checks()) + len(consumer.received()), 2.5)
    expect_bodies(consumer.received(), ["commit", "later commit", "late commit"])
    expect(
        answers(producer),
        {"later commit": ["commit"], "later rollback": ["rollback"], "late commit": ["unknown", "commit"]},
        "checks and their answers",
    )
    second = [check for check in producer.checks() if check["body"] == "late commit"][1]
    expect_that(
        second["topic"] == topic and second["queue_id"] in (0, 1),
        "a check of the message as it was sent",
        second,
    )
    told = {key: second["properties"].get(key) for key in ("TRAN_MSG", "TRANSACTION_CHECK_TIMES", "TAGS", "KEYS")}
    expect(
        told, {"TRAN_MSG": "true", "TRANSACTION_CHECK_TIMES": "2", "TAGS": "T", "KEYS": "k"}, "properties of a check"
    )
    got = {message["body"]: message for message in consumer.received()}
    for message in (got["commit"], got["late commit"]):
        expect(
            (message["tag"], message["keys"], message["sys_flag"] & 12, message["properties"].get("TRAN_MSG")),
            ("T", "k", 8, "true"),
            "what is delivered",
        )
        hidden = {"REAL_TOPIC", "REAL_QID"} & set(message["properties"])
        expect(hidden, set(), "properties of the half message that are not delivered")
    expect(got["late commit"]["properties"]["UNIQ_KEY"], second["properties"]["UNIQ_KEY"], "the unique key stays")


@case(
    "transactions/2",
    "a transaction that stays open is asked for transactionCheckMax times, then lies in TRANS_CHECK_MAX_TIME_TOPIC, "
    "from where resumeCheckHalfMessage has it asked for again",
    source="AbstractTransactionalMessageCheckListener, DefaultTransactionalMessageCheckListener; code 323",
)
def test_check_max(api: Api, impatient: Cluster, kind: Kind, official_version: str) -> None:
    topic = api.fresh("topic")
    api.create_topic(impatient.namesrv, topic, 1)
    configure(api, impatient, "transactionCheckMax", 2)
    try:
        consumer = api.consumer(impatient.namesrv, topic)
        producer = api.transaction_producer(impatient.namesrv)
        producer.send(topic, [transaction("open", "unknown", "unknown,unknown,commit")])
        impatient.wait_route(GIVEN_UP_TOPIC)
        reader = api.pull_consumer(impatient.namesrv)

        def given_up() -> list[dict[str, Any]]:
            found = reader.read_all(GIVEN_UP_TOPIC)
            return [message for message in found if message["properties"].get("REAL_TOPIC") == topic]

        expect(until(lambda: bool(given_up()), 30, 0.3), True, f"the message in {GIVEN_UP_TOPIC}")
        expect(answers(producer), {"open": ["unknown", "unknown"]}, "checks")
        [message] = given_up()
        expect((message["body"], message["properties"]["TRANSACTION_CHECK_TIMES"]), ("open", "2"), "what was given up")
        expect_bodies(consumer.received(), [])
        if kind == "ours" or official_version >= "5":
            asked = {"msgId": message["offset_msg_id"], "topic": topic}
            header, _ = raw.request(impatient.broker.address, RESUME_CHECK_HALF_MESSAGE, asked)
            expect(header["code"], 0, "resumeCheckHalfMessage")
            expect_bodies(consumer.wait(1), ["open"])
            expect(answers(producer), {"open": ["unknown", "unknown", "commit"]}, "checks after it was resumed")
    finally:
        configure(api, impatient, "transactionCheckMax", CHECK_MAX)


@case(
    "transactions/3",
    "when the sender is gone another live producer of its group is asked, of whatever version, and one that comes later too",
    source="ProducerManager.getAvailableChannel",
)
def test_other_producer(api: Api, impatient: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("PG")
    api.create_topic(impatient.namesrv, topic, 1)
    consumer = api.consumer(impatient.namesrv, topic)
    sender = api.transaction_producer(impatient.namesrv, "5.5.0", group=group)
    sender.send(topic, [transaction(body, "unknown", "commit") for body in ("a", "b")])
    sender.stop()
    seen = half_messages(impatient)
    expect(until(lambda: half_messages(impatient) >= seen + 2, 20), True, "checked although nobody can be asked")
    stranger = api.transaction_producer(impatient.namesrv, "5.5.0")
    other = api.transaction_producer(impatient.namesrv, "4.7.0", group=group)
    expect_bodies(consumer.wait_bodies(["a", "b"]), ["a", "b"])
    expect(set(answers(other)), {"a", "b"}, "asked: the producer of the group")
    expect(stranger.checks(), [], "asked: a producer of another group")


def half_messages(cluster: Cluster) -> int:
    return max_offset(cluster, HALF_TOPIC)


def stored_halves(api: Api, cluster: Cluster, topic: str) -> list[dict[str, Any]]:
    """Return what the half topic holds of a topic."""
    found = api.pull_consumer(cluster.namesrv).read_all(HALF_TOPIC)
    return [message for message in found if message["properties"].get("REAL_TOPIC") == topic]


def max_offset(cluster: Cluster, topic: str) -> int:
    header, _ = raw.request(cluster.broker.address, GET_MAX_OFFSET, {"topic": topic, "queueId": "0"})
    return int(header["extFields"]["offset"]) if header["code"] == 0 else 0


@case(
    "transactions/4",
    "a message that asks for immunity is not checked before its time is over; later its sender can no more end it unasked",
    source="MessageConst.PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS; EndTransactionProcessor.rejectCommitOrRollback",
)
def test_immunity(api: Api, impatient: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(impatient.namesrv, topic, 1)
    consumer = api.consumer(impatient.namesrv, topic)
    producer = api.transaction_producer(impatient.namesrv)
    begun_ms = time.time() * 1000
    immune = {"CHECK_IMMUNITY_TIME_IN_SECONDS": "7"}
    producer.send(topic, [transaction("immune", "unknown", "commit", properties=immune), transaction("other", "unknown", "commit")])  # fmt: skip
    came = consumer.wait_bodies(["other", "immune"])
    expect_bodies(came, ["other", "immune"])
    after_ms = {m["body"]: m["stored_at_ms"] - begun_ms for m in came}  # a message is stored when it is committed
    expect_that(after_ms["other"] < 7000 <= after_ms["immune"], "the immune message alone after its 7 s", after_ms)
    expect(answers(producer), {"immune": ["commit"], "other": ["commit"]}, "checks")


@case(
    "transactions/5",
    "with rejectTransactionMessage half messages are refused with code 16, others are not",
    source="SendMessageProcessor; BrokerConfig.rejectTransactionMessage",
)
def test_rejected(api: Api, impatient: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(impatient.namesrv, topic, 1)
    producer = api.transaction_producer(impatient.namesrv)
    configure(api, impatient, "rejectTransactionMessage", "true")
    try:
        with pytest.raises(DriverError) as caught:
            producer.send(topic, [transaction("m", "commit")])
        told = str(caught.value)
        refusal = f"the broker[{impatient.broker.address.split(':')[0]}] sending transaction message is forbidden"
        expect_that("CODE: 16" in told and refusal in told, f"CODE: 16 {refusal}", told)
        expect(api.producer(impatient.namesrv).send(topic, ["plain"])[0]["status"], "SEND_OK")
    finally:
        configure(api, impatient, "rejectTransactionMessage", "false")
    expect(producer.send(topic, [transaction("m", "commit")])[0]["status"], "SEND_OK")


@case(
    "transactions/6",
    "an end whose group or offsets are not those of the half message is refused, and changes nothing",
    source="EndTransactionProcessor.checkPrepareMessage; code 37",
)
def test_wrong_ends(api: Api, impatient: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("PG")
    api.create_topic(impatient.namesrv, topic, 1)
    consumer = api.consumer(impatient.namesrv, topic)
    producer = api.transaction_producer(impatient.namesrv, group=group)
    [sent] = producer.send(topic, [transaction("m", "unknown", "unknown,unknown,unknown,unknown,unknown,commit")])
    [half] = stored_halves(api, impatient, topic)
    at = int(half["offset_msg_id"][16:], 16)
    right = {
        "topic": topic, "producerGroup": group, "tranStateTableOffset": str(sent["queue_offset"]),
        "commitLogOffset": str(at), "commitOrRollback": ROLLBACK, "fromTransactionCheck": "false",
        "msgId": sent["msg_id"], "transactionId": sent["transaction_id"],
    }  # fmt: skip

    def end(**changed: str) -> tuple[int, str | None]:
        header, _ = raw.request(impatient.broker.address, END_TRANSACTION, {**right, **changed})
        return header["code"], header.get("remark")

    expect(end(producerGroup="other"), (1, "The producer group wrong"))
    expect(end(tranStateTableOffset="7777"), (1, "The transaction state table offset wrong"))
    missing = (1, "Find prepared transaction message failed")
    expect(end(commitLogOffset="999999999"), missing, "beyond the end of the log")
    expect(end(commitLogOffset="-1"), missing, "before the begin of the log")
    expect(end(commitOrRollback=COMMIT, commitLogOffset="999999999"), missing, "a commit beyond the end of the log")
    expect(end()[0], 0, "the right end")
    steady(lambda: len(consumer.received()), 2.5)
    expect_bodies(consumer.received(), [])


def open_and_ended(api: Api, cluster: Cluster, topic: str, group: str, version: str) -> None:
    """Send what ends at once and what stays open, and wait until the former is noted in the op topic."""
    api.create_topic(cluster.namesrv, topic, 2)
    consumer = api.consumer(cluster.namesrv, topic, group=f"{group}-consumer")
    noted = max_offset(cluster, OP_TOPIC)
    producer = api.transaction_producer(cluster.namesrv, version, group=group)
    producer.send(topic, [transaction("c", "commit", "commit"), transaction("r", "rollback", "commit")])
    expect(until(lambda: max_offset(cluster, OP_TOPIC) > noted, 20), True, "notes of what has ended")
    # The two may be noted one by one.
    steady(lambda: max_offset(cluster, OP_TOPIC), 1)
    producer.send(
        topic,
        [
            transaction("oc", "unknown", "commit", keys="k"),
            transaction("or", "unknown", "rollback"),
            transaction("oo", "unknown", "unknown,commit"),
        ],
    )
    expect_bodies(consumer.wait(1), ["c"])
    consumer.acknowledged(topic, 1)
    consumer.stop()
    producer.stop()


def ended_later(api: Api, cluster: Cluster, topic: str, group: str, version: str) -> None:
    """Have a producer of the group asked for what is open."""
    consumer = api.consumer(cluster.namesrv, topic, group=f"{group}-consumer")
    producer = api.transaction_producer(cluster.namesrv, version, group=group)
    # A producer is known to a broker by its heartbeats, and clients of 5.x know no broker before they send.
    producer.send(topic, [transaction("new", "commit")])
    consumer.wait_bodies(["oc", "oo", "new"])
    until(lambda: "or" in answers(producer), 20)
    steady(lambda: len(producer.checks()) + len(consumer.received()), 2.5)
    expect_bodies(consumer.received(), ["oc", "oo", "new"])
    expect(answers(producer), {"oc": ["commit"], "or": ["rollback"], "oo": ["unknown", "commit"]}, "checks")


@case(
    "transactions/7",
    "what is open when a broker stops or dies is asked for when it is back; what had ended is not, and is delivered once",
    source="RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC, consumerOffset.json",
)
@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_restart(end: str, api: Api, servers: Servers) -> None:
    cluster = servers.cluster(PATIENT)
    topic, group = api.fresh("topic"), api.fresh("PG")
    open_and_ended(api, cluster, topic, group, "4.7.0")
    if end == "killed":
        # Offsets are written every 5 s, and what was acknowledged after the last time comes again.
        wait_offsets_written(cluster.broker, topic, f"{group}-consumer", 1)
        cluster.broker.kill()
    else:
        cluster.broker.stop()
    cluster.broker.properties.update(IMPATIENT)
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    ended_later(api, cluster, topic, group, "5.5.0")


@case(
    "transactions/8",
    "transactions that an official broker left open or ended are so for the broker under test",
    source="half and op topics of 4.7.0 and 5.5.0",
)
@pytest.mark.parametrize("version", ["4.7.0", pytest.param("5.5.0", marks=pytest.mark.long)])
def test_from_official(version: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    topic, group = api.fresh("topic"), api.fresh("PG")
    old = servers.broker(name_server.address, PATIENT, kind="official", version=version)
    open_and_ended(api, Cluster(name_server, old), topic, group, "5.5.0")
    old.stop()
    new = servers.broker(name_server.address, IMPATIENT, like=old)
    ended_later(api, Cluster(name_server, new), topic, group, "5.5.0")


@case(
    "transactions/9",
    "transactions that the broker under test left open or ended are so for an official broker",
    source="half and op topics of 5.5.0 (4.7.0 reads no notes of several ends, of official brokers neither)",
)
def test_to_official(api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    topic, group = api.fresh("topic"), api.fresh("PG")
    old = servers.broker(name_server.address, PATIENT)
    open_and_ended(api, Cluster(name_server, old), topic, group, "5.5.0")
    old.stop()
    new = servers.broker(name_server.address, IMPATIENT, kind="official", version="5.5.0", like=old)
    ended_later(api, Cluster(name_server, new), topic, group, "5.5.0")


@case(
    "transactions/10",
    "the topics of half messages and of ends hold what the official broker writes to them",
    source="TransactionalMessageBridge.parseHalfMessageInner, TransactionalMessageServiceImpl.getOpMessage",
)
def test_topics(api: Api, impatient: Cluster, kind: Kind, official_version: str) -> None:
    topic, group = api.fresh("topic"), api.fresh("PG")
    api.create_topic(impatient.namesrv, topic, 2)
    noted = max_offset(impatient, OP_TOPIC)
    producer = api.transaction_producer(impatient.namesrv, group=group)
    [sent] = producer.send(topic, [transaction("m", "commit", keys="k", tag="T")])
    expect(until(lambda: max_offset(impatient, OP_TOPIC) > noted, 20), True, "a note of the end")
    reader = api.pull_consumer(impatient.namesrv)
    [half] = stored_halves(api, impatient, topic)
    expect((half["body"], half["queue_id"], half["sys_flag"]), ("m", 0, 0), "half message")
    expect(half["queue_offset"], sent["queue_offset"], "its place")
    wanted = {
        "KEYS": "k", "TAGS": "T", "local": "commit", "PGROUP": group, "TRAN_MSG": "true", "UNIQ_KEY": sent["msg_id"],
        "REAL_TOPIC": topic, "WAIT": "true",
    }  # fmt: skip
    got = Counter({key: half["properties"].get(key) == value for key, value in wanted.items()})
    expect([key for key in wanted if not got[key]], [], "properties of the half message that differ")
    expect_that(half["properties"]["REAL_QID"] in ("0", "1"), "the real queue", half["properties"])
    more = set(half["properties"]) - set(wanted)
    expected_more = {"REAL_QID", "CLUSTER", "MIN_OFFSET", "MAX_OFFSET"}
    if kind == "ours" or official_version >= "5":
        expected_more |= {"MSG_REGION", "TRACE_ON", "__transactionId__"}
    expect(more, expected_more, "other properties of the half message")
    notes = reader.read_all(OP_TOPIC)[noted:]
    named = [offset for note in notes for offset in note["body"].split(",") if offset]
    expect_that(str(sent["queue_offset"]) in named, "a note that names the half message", notes)
    expect({note["tag"] for note in notes}, {"d"}, "tag of notes")
