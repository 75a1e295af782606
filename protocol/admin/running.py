"""The state of a consumer as text, and what can be concluded from it.

Source: `ConsumerRunningInfo`, `ProcessQueueInfo`, `PopProcessQueueInfo` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import Columns, java
from .text import digits_time, queue_order, queue_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rmqwire.bodies.connection import ConsumerRunningInfo, PopProcessQueueInfo, ProcessQueueInfo

_START_PROPERTY = "PROP_CONSUMER_START_TIMESTAMP"
_TYPE_PROPERTY = "PROP_CONSUME_TYPE"
_ORDERLY_PROPERTY = "PROP_CONSUMEORDERLY"
_SETTLED_MS = 120_000
"""Consumers younger than this may not know all their subscriptions yet."""
_BLOCKED_MS = 60_000

_QUEUE_TITLES = ("#Topic", "#Broker Name", "#QID", "#ProcessQueueInfo")
_QUEUES = Columns("%-64s  %-32s  %-4s  %-20s", None, _QUEUE_TITLES, ())
_POPPED = Columns("%-32s  %-32s  %-4s  %-20s", None, _QUEUE_TITLES, ())
_RATE_TITLES = (
    "#Topic",
    "#Pull RT",
    "#Pull TPS",
    "#Consume RT",
    "#ConsumeOK TPS",
    "#ConsumeFailed TPS",
    "#ConsumeFailedMsgsInHour",
)
_RATES = Columns("%-64s  %14s %14s %14s %14s %18s %25s", None, _RATE_TITLES, ())


def is_push(info: ConsumerRunningInfo) -> bool:
    """Whether messages are pushed to it, so that it can be given one directly."""
    return info.properties.get(_TYPE_PROPERTY) == "CONSUME_PASSIVELY"


def same_subscriptions(infos: Mapping[str, ConsumerRunningInfo], now_ms: int) -> bool:
    """Whether all consumers that have settled subscribe to the same."""
    if not infos:
        return True
    last = infos[max(infos)]
    begun = last.properties.get(_START_PROPERTY, "")
    if not is_push(last) or not begun.isdigit() or now_ms - int(begun) <= _SETTLED_MS:
        return True

    def wanted(info: ConsumerRunningInfo) -> set[tuple[str | None, str | None, str]]:
        return {(one.topic, one.sub_string, one.expression_type) for one in info.subscription_set}

    return all(wanted(info) == wanted(last) for info in infos.values())


def analyze_queues(client_id: str, info: ConsumerRunningInfo, now_ms: int) -> str:
    """Say which queues a consumer is stuck at; empty when none."""
    if not is_push(info):
        return ""
    orderly = info.properties.get(_ORDERLY_PROPERTY) == "true"
    lines = []
    for queue, state in sorted(info.mq_table.items(), key=lambda item: queue_order(item[0])):
        where = f"{client_id} {queue_text(queue)}"
        idle_ms = now_ms - state.last_consume_timestamp
        if orderly and not state.locked:
            lines.append(f"{where} can't lock for a while, {now_ms - state.last_lock_timestamp}ms\n")
        elif orderly and state.droped and state.try_unlock_times > 0:
            lines.append(f"{where} unlock {state.try_unlock_times} times, still failed\n")
        elif not orderly and idle_ms > _BLOCKED_MS and state.cached_msg_count > 0:
            lines.append(f"{where} can't consume for a while, maybe blocked, {idle_ms}ms\n")
    return "".join(lines)


def running_text(info: ConsumerRunningInfo) -> str:
    """`ConsumerRunningInfo.formatString`."""
    return "".join(f"{line}\n" for line in _lines(info)) + (
        f"\n\n#Consumer jstack#\n{info.jstack}" if info.jstack is not None else ""
    )


def _lines(info: ConsumerRunningInfo) -> Iterator[str]:
    yield "#Consumer Properties#"
    yield from (f"{key:<40}: {value}" for key, value in info.properties.items())
    yield "\n\n#Consumer Subscription#"
    for index, one in enumerate(sorted(info.subscription_set, key=lambda one: one.topic or ""), 1):
        filtered = java(one.class_filter_mode)
        yield f"{index:03d} Topic: {one.topic:<40} ClassFilter: {filtered:<8} SubExpression: {one.sub_string}"
    queues = sorted(info.mq_table, key=queue_order)
    yield "\n\n#Consumer Offset#"
    yield _QUEUES.row(("#Topic", "#Broker Name", "#QID", "#Consumer Offset"))
    for queue in queues:
        offset = info.mq_table[queue].commit_offset
        yield f"{queue.topic:<32}  {queue.broker_name:<32}  {queue.queue_id:<4}  {offset:<20}"
    yield "\n\n#Consumer MQ Detail#"
    yield _QUEUES.head()
    for queue in queues:
        state = _queue_state(info.mq_table[queue])
        yield f"{queue.topic:<64}  {queue.broker_name:<32}  {queue.queue_id:<4}  {state}"
    yield "\n\n#Consumer Pop Detail#"
    yield _POPPED.head()
    for queue in sorted(info.mq_pop_table, key=queue_order):
        popped = _pop_state(info.mq_pop_table[queue])
        yield f"{queue.topic:<32}  {queue.broker_name:<32}  {queue.queue_id:<4}  {popped}"
    yield "\n\n#Consumer RT&TPS#"
    yield _RATES.head()
    for topic, rates in sorted(info.status_table.items()):
        yield (
            f"{topic:<32}  {rates.pull_rt:14.2f} {rates.pull_tps:14.2f} {rates.consume_rt:14.2f} "
            f"{rates.consume_ok_tps:14.2f} {rates.consume_failed_tps:18.2f} {rates.consume_failed_msgs:25d}"
        )
    yield "\n\n#User Consume Info#"
    yield from (f"{key:<40}: {value}" for key, value in sorted(info.user_consumer_info.items()))


def _queue_state(state: ProcessQueueInfo) -> str:
    return (
        f"ProcessQueueInfo [commitOffset={state.commit_offset}, cachedMsgMinOffset={state.cached_msg_min_offset}, "
        f"cachedMsgMaxOffset={state.cached_msg_max_offset}, cachedMsgCount={state.cached_msg_count}, "
        f"cachedMsgSizeInMiB={state.cached_msg_size_in_mib}, "
        f"transactionMsgMinOffset={state.transaction_msg_min_offset}, "
        f"transactionMsgMaxOffset={state.transaction_msg_max_offset}, "
        f"transactionMsgCount={state.transaction_msg_count}, locked={java(state.locked)}, "
        f"tryUnlockTimes={state.try_unlock_times}, lastLockTimestamp={digits_time(state.last_lock_timestamp)}, "
        f"droped={java(state.droped)}, lastPullTimestamp={digits_time(state.last_pull_timestamp)}, "
        f"lastConsumeTimestamp={digits_time(state.last_consume_timestamp)}]"
    )


def _pop_state(state: PopProcessQueueInfo) -> str:
    return (
        f"PopProcessQueueInfo [waitAckCount:{state.wait_ack_count}, droped:{java(state.droped)}, "
        f"lastPopTimestamp:{state.last_pop_timestamp}]"
    )
