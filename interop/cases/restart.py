"""Servers that stop, die and come back."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from interop.api import Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Kind, Servers
from interop.driver import DriverError, until
from interop.ours import OurBroker, program


@case(
    "restart/1",
    "a broker stopped by SIGTERM ends well (ours: exit 0, and no abort file), and its messages, keys and offsets are there again",
    source="BrokerStartup shutdown hook, DefaultMessageStore.shutdown",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_graceful(version: str, api: Api, servers: Servers, kind: Kind) -> None:
    cluster = servers.cluster()
    broker = cluster.broker
    topic, group = api.fresh("topic"), api.fresh("CG")
    producer = api.producer(cluster.namesrv, version)
    sent = [{"body": b, "keys": f"key-{b}", "tag": "T"} for b in bodies(200)]
    producer.send(topic, sent)
    cluster.wait_route(topic)
    first = api.consumer(cluster.namesrv, topic, version, group=group)
    expect_bodies(first.wait(200), bodies(200))
    first.acknowledged(topic, 200)
    first.stop()
    producer.send(topic, bodies(100, "later"))
    producer.stop()

    expect_that(broker.abort_file.exists(), "an abort file while the broker runs", sorted(broker.store.iterdir()))
    status = broker.stop()
    expect_that(status == 0 or (kind == "official" and status == 143), "exit status 0", status)
    expect(broker.abort_file.exists(), False, "abort file after a graceful stop")
    broker.start()
    servers.wait_registered(broker)

    second = api.consumer(cluster.namesrv, topic, version, group=group)
    second.wait(100)
    expect_bodies(second.received(), bodies(100, "later"))
    reader = api.pull_consumer(cluster.namesrv, version)
    expect_bodies(reader.read_all(topic), bodies(200) + bodies(100, "later"))
    expect_bodies(reader.query(topic, "key-m-77"), ["m-77"])
    fresh = api.producer(cluster.namesrv, version)
    results = fresh.send(topic, bodies(4, "new"))
    expect({r["status"] for r in results}, {"SEND_OK"}, "sends after the restart")
    expect_bodies(reader.read_all(topic), bodies(200) + bodies(100, "later") + bodies(4, "new"))


@case(
    "restart/2",
    "a broker killed while producers send loses no message that it acknowledged, leaves its abort file, and serves on",
    source="CommitLog.recoverAbnormally",
)
@pytest.mark.parametrize("rounds", [2])
def test_kill_9(rounds: int, api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    broker = cluster.broker
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    acknowledged: dict[str, str] = {}
    for number in range(rounds):
        producer = api.producer(cluster.namesrv, retries=0, timeout_ms=3000)
        wanted = bodies(4000, f"r{number}")
        results: list[dict[str, object]] = []

        def send(
            producer: object = producer, wanted: list[str] = wanted, results: list[dict[str, object]] = results
        ) -> None:
            for at in range(0, len(wanted), 250):  # so that some have been answered when the others meet the kill
                try:
                    told = producer.send(topic, wanted[at : at + 250], "async")  # type: ignore[attr-defined]
                except DriverError:
                    return
                results += told
                if any(result.get("status") != "SEND_OK" for result in told):
                    return

        sending = threading.Thread(target=send)
        reader = api.pull_consumer(cluster.namesrv)
        before = sum(reader.offsets(topic, q)["max"] for q in range(4))
        sending.start()
        until(
            lambda reader=reader, before=before: sum(reader.offsets(topic, q)["max"] for q in range(4)) > before + 300,
            20,
            0.01,
        )
        broker.kill()
        sending.join(120)
        expect(broker.abort_file.exists(), True, "abort file after SIGKILL")
        acknowledged.update(
            {body: str(r["msg_id"]) for body, r in zip(wanted, results, strict=False) if r.get("status") == "SEND_OK"}
        )
        broker.start()
        servers.wait_registered(broker)
        reader = api.pull_consumer(cluster.namesrv)
        got = reader.read_all(topic)
        lost = set(acknowledged) - {m["body"] for m in got}
        expect_that(
            not lost, "every acknowledged message", f"{len(lost)} of {len(acknowledged)} lost: {sorted(lost)[:5]}"
        )
        for queue_id in range(4):
            offsets = [m["queue_offset"] for m in got if m["queue_id"] == queue_id]
            expect(offsets, list(range(len(offsets))), f"queue offsets of queue {queue_id}")
    expect_that(len(acknowledged) > 0, "some acknowledged messages", len(acknowledged))
    results = api.producer(cluster.namesrv).send(topic, bodies(8, "new"))
    expect({r["status"] for r in results}, {"SEND_OK"}, "sends after the restart")


@case(
    "restart/3",
    "producers and consumers that stay connect again by themselves when the broker is back, and nothing is lost",
    source="NettyRemotingClient, MQClientInstance",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_clients_reconnect(version: str, api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    producer = api.producer(cluster.namesrv, version)
    consumer = api.consumer(cluster.namesrv, topic, version)
    producer.send(topic, bodies(20, "before"))
    consumer.wait(20)
    cluster.broker.stop()
    cluster.broker.start()
    servers.wait_registered(cluster.broker)

    def sends() -> bool:
        try:
            producer.send(topic, ["again"])
        except DriverError:
            return False
        return True

    expect(until(sends, 60), True, "the producer sends again")
    producer.send(topic, bodies(20, "after"))
    # All of them: a consumer runs the messages of one pull in many threads, so "again" may well come out last.
    sent = [*bodies(20, "before"), "again", *bodies(20, "after")]
    expect_bodies(consumer.wait_bodies(sent, 90), sent, once=False)


@case(
    "restart/4",
    "a name server that comes back without its memory is told again by the broker within the registration period",
    source="BrokerConfig.registerNameServerPeriod (10 to 60 s)",
)
def test_name_server_restart(api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    broker = servers.broker(name_server.address, {"registerNameServerPeriod": 10_000})
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 2)
    name_server.stop()
    name_server.start()
    servers.wait_registered(broker)
    results = api.producer(name_server.address).send(topic, bodies(4))
    expect({r["status"] for r in results}, {"SEND_OK"}, "sends")
    expect_bodies(api.consumer(name_server.address, topic).wait(4), bodies(4))


@case(
    "restart/5",
    "mqshutdown broker stops a running broker gracefully, and says so when there is none",
    source="bin/mqshutdown",
)
def test_mqshutdown(servers: Servers, kind: Kind, tmp_path: Path) -> None:
    if kind == "official":
        pytest.skip("the official mqshutdown is a script of the binary distribution, which has no Maven artifact")
    # In a process namespace of its own: mqshutdown stops every broker that it sees.
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("process namespaces cannot be made here, and mqshutdown would stop foreign brokers")
    broker = OurBroker(tmp_path / "alone", servers.name_server().address)
    file = broker.write_configuration()
    script = (
        f"{program('mqbroker')} -n {broker.name_servers} -c {file} >broker.out 2>&1 & pid=$!\n"
        "for i in $(seq 600); do grep -q 'boot success' broker.out && break; sleep 0.1; done\n"
        f"{program('mqshutdown')} broker; echo told $?\n"
        "wait $pid; echo broker $?\n"
        f"{program('mqshutdown')} broker; echo none $?\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*alone, "sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = dict(line.split() for line in done.stdout.splitlines() if line.split()[0] in ("told", "broker", "none"))
    expect(
        (told.get("told"), told.get("broker")),
        ("0", "0"),
        f"exit status of mqshutdown and of the broker; {done.stdout}{done.stderr}",
    )
    expect_that(told.get("none") not in (None, "0"), "another exit status when nothing runs", done.stdout)
    expect(broker.abort_file.exists(), False, "abort file after mqshutdown")
