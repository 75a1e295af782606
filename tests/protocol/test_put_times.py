"""How long puts took, as the exporter reads it."""

from __future__ import annotations

from rmqd.protocol.broker.put_times import PutTimes
from rmqd.protocol.broker.stats import BrokerStats


def test_the_first_minute_has_no_distribution() -> None:
    times = PutTimes()
    times.add(3, 10)
    assert times.distribution() == "null"
    assert (times.share_below(0.99), times.max_ms) == (0.0, 3)


def test_a_whole_minute_is_told_and_the_next_begins_with_nothing() -> None:
    times = PutTimes()
    for took_ms, count in ((0, 900), (9, 50), (10, 40), (999, 9), (10_000, 1)):
        times.add(took_ms, count)
    times.turn()
    assert times.distribution() == (
        "[<=0ms]:900 [0~10ms]:50 [10~50ms]:40 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 [500ms~1s]:9 "
        "[1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:1 "
    )
    assert (times.share_below(0.5), times.share_below(0.99), times.share_below(0.999)) == (0.0, 10.0, 999.0)
    times.turn()
    assert times.share_below(0.99) == 0.0
    assert times.max_ms == 10_000


def test_messages_take_as_long_as_the_commit_that_wrote_them() -> None:
    now_ms = 1_700_000_000_000
    stats = BrokerStats("C", lambda: now_ms)
    stats.put("T", 3, 300)
    stats.committed(0.025)
    stats.committed(5.0)  # a commit of nothing
    for _ in range(60):
        stats.sample()
    assert "[10~50ms]:3 " in stats.put_times.distribution()
    assert stats.put_times.max_ms == 25
    stats.read(0.04)
    stats.read(0.01)
    assert stats.get_time_max_ms == 40
