"""A record as somebody is told it who shall see it elsewhere than where it is stored.

What it must not do: store anything; what is written here has no place of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.message import encode_record

if TYPE_CHECKING:
    from rmqwire.message import StoredMessage


def retold(
    message: StoredMessage, topic: str, queue_id: int, properties: bytes, *, queue_offset: int, physical_offset: int
) -> bytes:
    """Write a message under another topic, with other properties or offsets; the rest stays as it is stored."""
    return encode_record(
        topic=topic,
        queue_id=queue_id,
        body=message.body,
        properties=properties,
        queue_offset=queue_offset,
        physical_offset=physical_offset,
        flag=message.flag,
        sys_flag=message.sys_flag,
        born_timestamp=message.born_timestamp,
        born_host=message.born_host,
        store_timestamp=message.store_timestamp,
        store_host=message.store_host,
        reconsume_times=message.reconsume_times,
        prepared_transaction_offset=message.prepared_transaction_offset,
    )
