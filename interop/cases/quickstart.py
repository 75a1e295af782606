"""The official quickstart programs, started as `tools.sh` starts them."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from interop import jvm
from interop.case import case, expect, expect_that
from interop.cluster import Cluster
from interop.driver import until
from interop.jars import classpath
from interop.process import Process

TOOLS_SH = ["-server", "-Xms1g", "-Xmx1g", "-Xmn256m", "-XX:MetaspaceSize=128m", "-XX:MaxMetaspaceSize=128m"]
MESSAGES = 1000


def run(program: str, version: str, cluster: Cluster, folder: Path) -> Process:
    """Start a quickstart class with the options of tools.sh and NAMESRV_ADDR in the environment."""
    home = jvm.java_home_folder(folder / "home")
    argv = jvm.command(
        classpath(version), f"org.apache.rocketmq.example.quickstart.{program}", options=TOOLS_SH, user_home=home
    )
    return Process(
        argv, log=folder / f"{program}.out", env=jvm.environment(home, NAMESRV_ADDR=cluster.namesrv), cwd=folder
    )


@case(
    "quickstart/1",
    "the quickstart Producer sends 1,000 messages that are all stored, and the quickstart Consumer gets each of them",
    source="org.apache.rocketmq.example.quickstart.{Producer,Consumer}, bin/tools.sh",
)
@pytest.mark.parametrize("version", ["4.2.0", "4.7.0", "5.5.0"])
def test_producer_and_consumer(version: str, cluster: Cluster, tmp_path: Path) -> None:
    producer = run("Producer", version, cluster, tmp_path)
    try:
        expect(producer.wait(120), 0, "exit status of the Producer")
        sent = re.findall(r"SendResult \[sendStatus=(\w+), msgId=(\w+)", producer.output())
    finally:
        producer.kill()
    expect_that({status for status, _ in sent} == {"SEND_OK"}, "SEND_OK for every message", producer.tail())
    ids = {msg_id for _, msg_id in sent}
    expect(len(ids), MESSAGES, "distinct message ids that the Producer printed")

    consumer = run("Consumer", version, cluster, tmp_path)
    try:
        consumer.wait_for(r"Consumer Started")
        consumer.wait_for(r"Receive New Messages", 60)
        got = wait_for_ids(consumer, ids)
        expect_that(ids <= got, f"all {MESSAGES} messages consumed", f"{len(ids & got)} of them")
        consumer.end(signal.SIGTERM)
    finally:
        consumer.kill()


def wait_for_ids(consumer: Process, ids: set[str]) -> set[str]:
    """Wait until the Consumer has printed all ids, and return those that it printed."""
    got: set[str] = set()

    def all_here() -> bool:
        got.update(re.findall(r"UNIQ_KEY=(\w+)", consumer.output()))
        return ids <= got or not consumer.alive()

    until(all_here, 60, every_s=0.2)
    return got
