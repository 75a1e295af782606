"""Runs of usual batches, beside those of sends: read, stored and answered in three compiled calls.

What it is for: the batches in a row of one read that `speed.read_batches` understands, to a topic about which nothing
is special. What it must not do: differ from `SendHandlers`, the reference, which serves all others, those that are
malformed or break a limit, and everything where nothing is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.replies import Result, Staged, encode_reply
from rmqwire import speed

from .send_runs import SendRuns

if TYPE_CHECKING:
    from rmqd.protocol.remoting import RemotingConnection
    from rmqwire.frames import Frame


class BatchRuns(SendRuns):
    """Serves runs of batches, and runs of sends; arguments as `SendRuns`."""

    def take(self, connection: RemotingConnection, frames: list[Frame], first: int) -> tuple[int, int, Staged | None]:
        """Stage the batches, or else the sends, that begin with frame `first`; gives what `SendRuns` gives."""
        assert speed.read_batches is not None
        batches = speed.read_batches(frames, first)
        if not batches:
            return super().take(connection, frames, first)
        topic = batches[0][1]
        queue_count = self._queue_count(topic)
        if not queue_count:
            return 0, first + len(batches), None
        stage_batches, batch_max = self._store.stage_batches, self._settings.max_message_size
        places, messages, size, end, count = [], 0, 0, 0, 0
        while count < len(batches):
            run = stage_batches(topic, queue_count, batches, count, connection.born_host, batch_max)
            if run is None:
                break
            places.append(run.places)
            count += run.count
            messages += run.messages
            size += run.size
            end = run.end
        if not count:
            return 0, first + len(batches), None
        all_places = places[0] if len(places) == 1 else b"".join(places)

        def answers(told: int | BaseException) -> bytes:
            if isinstance(told, BaseException):
                reply = self._handlers.not_stored(told)
                return b"".join([encode_reply(batch[0], reply) for batch in batches[:count]])
            return self._replies.stored_batches(told, batches, count, all_places)

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return answers(failed)
            self._stats.put(topic, messages, size, count)
            if self._safe_runs is None:
                return answers(0)
            return self._safe_runs.answer(connection, end, count, answers)

        return count, first + len(batches), Staged(finish)
