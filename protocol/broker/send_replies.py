"""The answers to sends, written from templates: they leave once per message.

The ext fields `MSG_REGION` and `TRACE_ON` stand in every answer to a send, errors included: Java clients read them
without looking whether they are there. Source: `AbstractSendMessageProcessor`, `SendMessageResponseHeader` (5.5.0).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from rmqd.protocol.replies import Reply
from rmqwire import speed
from rmqwire.codes import OUR_VERSION
from rmqwire.command import LANGUAGE
from rmqwire.frames import JSON, encode_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEMPLATES_MAX = 64
_quote = msgspec.json.encode
_words = Struct(">ii").pack


class SendReplies:
    """Writes the answers of one broker.

    Args:
        store_host: The broker's address as records store it: `ip | port i32`.
        region_id: `regionId`.
        trace_on: `traceOn`.
    """

    def __init__(self, store_host: bytes, region_id: str, trace_on: bool) -> None:
        self._host_hex = store_host.hex().upper()
        self.ext = {"MSG_REGION": region_id, "TRACE_ON": "true" if trace_on else "false"}
        region = _quote(region_id).decode()
        trace = self.ext["TRACE_ON"]
        pieces = (
            '{"code":',
            f',"extFields":{{"MSG_REGION":{region},"TRACE_ON":"{trace}","msgId":"{self._host_hex}',
            '","queueId":"',
            '","queueOffset":"',
            '","transactionId":"',
            f'"}},"flag":1,"language":"{LANGUAGE}","opaque":',
            f',"serializeTypeCurrentRPC":"JSON","version":{OUR_VERSION}}}',
        )
        self._pieces = tuple(piece.encode() for piece in pieces)
        self._host = self._host_hex.encode()
        begins = self._pieces[1].removesuffix(self._host)
        self._batch_pieces = (self._pieces[0], begins, *self._pieces[2:4], *self._pieces[5:])
        begin, first_id, queue, offset, key, opaque, end = (piece.replace("%", "%%") for piece in pieces)
        self._one = f"{begin}%d{first_id}%016X{queue}%d{offset}%d{key[:-1]}%s{opaque[1:]}%d{end}"
        self._batch = f"{begin}%d{first_id[: -len(self._host_hex)]}%s{queue}%d{offset}%d{opaque}%d{end}"
        self._ids_of: dict[int, str] = {}

    def message_id(self, physical_offset: int) -> str:
        """Give the offset message id: upper-case hex of the store host and the physical offset."""
        return f"{self._host_hex}{physical_offset:016X}"

    def stored(
        self, opaque: int, code: int, physical_offset: int, queue_id: int, queue_offset: int, unique_key: str,
        recall_handle: str = "",
    ) -> bytes:  # fmt: skip
        """Answer a message that is in the log. `code` is SUCCESS or one of the codes that mean "stored, but".

        `recall_handle` is base64, or "" for a message that cannot be taken back.
        """
        quoted = f'"{unique_key}"' if unique_key.isalnum() and unique_key.isascii() else _quote(unique_key).decode()
        if recall_handle:
            quoted += f',"recallHandle":"{recall_handle}"'
        header = (self._one % (code, physical_offset, queue_id, queue_offset, quoted, opaque)).encode()
        size = len(header)
        return _words(size + 4, size) + header  # the serialization byte of JSON is 0

    def stored_run(self, code: int, puts: list[speed.Put], first: int, places: bytes) -> bytes:
        """Answer what was sent in a run from `first` on, as many as have places: `stored` for each of them."""
        assert speed.send_answers is not None
        return speed.send_answers(self._pieces, code, puts, first, places)

    def stored_batch(
        self, opaque: int, code: int, physical_offsets: Sequence[int], queue_id: int, queue_offset: int
    ) -> bytes:
        """Answer a batch: the ids joined by commas, the queue offset of the first."""
        ids = self._ids(len(physical_offsets)) % tuple(physical_offsets)
        return encode_frame(JSON, (self._batch % (code, ids, queue_id, queue_offset, opaque)).encode())

    def stored_batches(self, code: int, batches: list[speed.Batch], count: int, places: bytes) -> bytes:
        """Answer the first `count` batches of a run: `stored_batch` for each of them."""
        assert speed.batch_answers is not None
        return speed.batch_answers(self._batch_pieces, self._host, code, batches, 0, count, places)

    def _ids(self, count: int) -> str:
        ids = self._ids_of.get(count)
        if ids is None:
            if len(self._ids_of) > _TEMPLATES_MAX:
                self._ids_of.clear()
            self._ids_of[count] = ids = ",".join([f"{self._host_hex}%016X"] * count)
        return ids

    def refused(self, code: int, remark: str) -> Reply:
        """Answer a message that is not in the log."""
        return Reply(code=code, remark=remark, ext=self.ext)
