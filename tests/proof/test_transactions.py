"""Transactions over kills of the broker and of the producer: what was committed is delivered, nothing rolled back is.

A producer knows from a message's number what became of it. Of half of them it tells at once, of the others it says
nothing before it is asked; it is asked as well when what it told was lost with the broker or with itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmqwire.bodies import HeartbeatData, ProducerData
from rmqwire.codes import RequestCode
from rmqwire.command import RemotingCommand, new_request
from rmqwire.message import decode_message_id, decode_record
from rmqwire.requests import HeartBeat
from rmqwire.requests.transaction import CheckTransactionState, EndTransaction

from .broker import BrokerProcess
from .clients import cut, send_request, stored_messages
from .conftest import Say
from .load import QUEUES, Link
from .sizes import SEED, size, stated

KILLS = size(2, 10)
HALVES = size(80, 3000)
"""Opened; some of them are not acknowledged before the kill."""
TOPIC, GROUP = "transactions", "PG"
PREPARED, COMMIT, ROLLBACK = 4, 8, 12
DELIVERED_WITHIN_S = 60.0
QUIET_S = size(2, 5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(
        tmp_path,
        mappedFileSizeCommitLog=4 << 20,
        fileReservedTime=720,
        transactionTimeOut=500,
        transactionCheckInterval=500,
        transactionCheckMax=100_000,
        transactionOpBatchInterval=200,
    )
    yield process
    process.close()


def verdict(number: int) -> int:
    return ROLLBACK if number % 2 else COMMIT


def tells_at_once(number: int) -> bool:
    return number % 4 < 2


class TransactionProducer(threading.Thread):
    """Opens transactions, ends some of them, and answers what it is asked until the connection ends."""

    def __init__(self, port: int, numbers: range, acknowledged: set[int]) -> None:
        super().__init__(daemon=True)
        self.link = Link(port)
        self._numbers = numbers
        self._acknowledged = acknowledged
        self._opaque = 10_000_000
        self.asked = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        try:
            data = HeartbeatData(client_id=f"proof{id(self)}", producer_data_set=[ProducerData(group_name=GROUP)])
            self._send(new_request(RequestCode.HEART_BEAT, HeartBeat(), 1, body=data.encode()))
            for number in self._numbers:
                self._send(
                    send_request(
                        1000 + number,
                        TOPIC,
                        number % QUEUES,
                        b"%d" % number,
                        sys_flag=PREPARED,
                        TRAN_MSG="true",
                        PGROUP=GROUP,
                        UNIQ_KEY=f"X{number:08d}",
                    )
                )
                if number % 16 == 0:
                    self._take()
            while True:
                self._take()
        except OSError:
            pass  # one of the two was ended
        finally:
            self.link.close()

    def _send(self, command: RemotingCommand) -> None:
        self.link.send(command)

    def _take(self) -> None:
        for command in self.link.receive():
            if command.code == RequestCode.CHECK_TRANSACTION_STATE and not command.is_response:
                self._asked(command)
            elif command.is_response and 1000 <= command.opaque < 10_000_000:
                self._opened(command)

    def _opened(self, answer: RemotingCommand) -> None:
        number = answer.opaque - 1000
        if answer.code != 0:
            self.wrong.append(f"{number}: {answer.code} {answer.remark}")
            return
        self._acknowledged.add(number)
        if tells_at_once(number):
            message_id = answer.ext["msgId"]
            self._end(number, int(answer.ext["queueOffset"]), decode_message_id(message_id)[1], message_id, False)

    def _asked(self, command: RemotingCommand) -> None:
        header = command.header(CheckTransactionState)
        number = int(decode_record(command.body).body)
        self.asked += 1
        message_id = header.msg_id or ""
        self._end(number, header.tran_state_table_offset, header.commit_log_offset, message_id, True)

    def _end(self, number: int, queue_offset: int, physical_offset: int, message_id: str, checked: bool) -> None:
        self._opaque += 1
        header = EndTransaction(
            producer_group=GROUP,
            tran_state_table_offset=queue_offset,
            commit_log_offset=physical_offset,
            commit_or_rollback=verdict(number),
            msg_id=message_id,
            from_transaction_check=checked,
        )
        self._send(new_request(RequestCode.END_TRANSACTION, header, self._opaque, oneway=True))


def delivered(port: int) -> Counter[int]:
    """How often each message was delivered; none that was rolled back is among them."""
    times: Counter[int] = Counter(int(message.body) for message in stored_messages(port, TOPIC))
    back = [number for number in times if verdict(number) == ROLLBACK]
    assert not back, f"rolled back and delivered: {back[:5]}"
    return times


def test_transactions_over_kills_of_broker_and_producer(broker: BrokerProcess, say: Say) -> None:
    chance = random.Random(f"{SEED} transactions")
    acknowledged: set[int] = set()
    asked = 0
    lives = KILLS * 2
    for life in range(lives):
        with stated(life=life):
            if life % 2 == 0:
                broker.start()
            numbers = range(life * HALVES // lives, (life + 1) * HALVES // lives)
            producer = TransactionProducer(broker.port, numbers, acknowledged)
            producer.start()
            producer.join(chance.choice((0.02, 0.1, 0.7, 1.5)))
            if life % 2:
                broker.kill()
            else:
                cut(producer.link)
            producer.join(30)
            assert not producer.is_alive()
            assert producer.wrong == []
            asked += producer.asked
    broker.start()
    producer = TransactionProducer(broker.port, range(0), acknowledged)
    producer.start()
    committed = {number for number in acknowledged if verdict(number) == COMMIT}
    deadline = time.monotonic() + DELIVERED_WITHIN_S
    while missing := committed - set(delivered(broker.port)):
        assert time.monotonic() < deadline, f"seed {SEED}: {len(missing)} of {len(committed)} lost, as {min(missing)}"
        time.sleep(0.2)
    time.sleep(QUIET_S)  # what is still asked about is answered now
    times = delivered(broker.port)
    cut(producer.link)
    producer.join(30)
    say(
        f"{len(acknowledged)} transactions opened, {KILLS} kills of the broker and {KILLS} of producers:"
        f" {len(committed)} committed, 0 lost, 0 rolled back ones delivered,"
        f" {sum(count > 1 for count in times.values())} delivered more than once,"
        f" {asked + producer.asked} checks answered"
    )
