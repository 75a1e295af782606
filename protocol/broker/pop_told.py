"""Records of a retry topic as consumers get them from a pop: under the topic they asked for.

Source: `PopMessageProcessor.getMessageContent`, `MessageDecoder` (5.5.0).
"""

from __future__ import annotations

from rmqwire.message import PROPERTIES_SIZE_MAX_BYTES, decode_properties, decode_record, encode_properties

from .pop_receipt import POP_CK, Receipt, write_receipt
from .retold import retold


def under_own_topic(
    records: list[bytes], topic: str, stored_topic: str, queue_id: int, receipt: Receipt
) -> list[bytes]:
    """Give records the topic that was asked for, and the receipt that their own place makes."""
    told = []
    for record in records:
        message = decode_record(record)
        properties = decode_properties(message.properties)
        properties.setdefault(POP_CK, write_receipt(receipt, stored_topic, queue_id, message.queue_offset))
        text = encode_properties(properties)
        if len(text) > PROPERTIES_SIZE_MAX_BYTES:  # the consumer makes the receipt of the reply's header
            text = message.properties
        told.append(
            retold(
                message,
                topic,
                message.queue_id,
                text,
                queue_offset=message.queue_offset,
                physical_offset=message.physical_offset,
            )
        )
    return told
