"""What becomes of a message's properties on the way into the log.

The client's text is kept as it came and the broker's own properties are appended; only when one of them is there
already, or something that is no property, is the text written anew.
Source: `SendMessageProcessor`, `AbstractSendMessageProcessor` (5.5.0).
"""

from __future__ import annotations

from rmqwire.message import encode_properties
from rmqwire.properties import parse_properties

POP_CK = "POP_CK"
UNIQ_KEY = "UNIQ_KEY"
_PAIR_END = "\x02"
_UNIQUE_BEGIN = "UNIQ_KEY\x01"
_WAITS = "\x02WAIT\x01true\x02"


class PropertyRules:
    """The broker's additions to every single message.

    Args:
        region_id: Stored as MSG_REGION.
        trace_on: Stored as TRACE_ON.
        cluster: Stored as CLUSTER.
    """

    def __init__(self, region_id: str, trace_on: bool, cluster: str) -> None:
        self._added = {"MSG_REGION": region_id, "TRACE_ON": "true" if trace_on else "false", "CLUSTER": cluster}
        self._names = frozenset((*self._added, POP_CK))
        self.suffix = encode_properties(self._added)
        """What every usual message gets, as bytes."""
        self._suffix = self.suffix.decode()

    def apply(self, text: str) -> tuple[dict[str, str], str]:
        """Read a client's property text and add the broker's.

        Returns:
            The properties the client sent (POP_CK left out), and the text to store.
        """
        if text.startswith(_UNIQUE_BEGIN) and text.endswith(_WAITS) and text.count(_PAIR_END) == 2 and len(text) > 20:
            # What nearly every message has, and no more.
            return {UNIQ_KEY: text[9:-11], "WAIT": "true"}, text + self._suffix
        properties = parse_properties(text)
        if text and not text.endswith(_PAIR_END):
            text += _PAIR_END
        # Pieces without a name or a value, and all but the last of one name, are dropped, as by Java.
        if len(properties) == text.count(_PAIR_END) and self._names.isdisjoint(properties):
            return properties, text + self._suffix
        properties.pop(POP_CK, None)
        return properties, encode_properties({**properties, **self._added}).decode()


def without_property(text: str, name: str) -> str:
    """Give a property text without the pairs of one name."""
    begin = name + "\x01"
    return "".join([pair + _PAIR_END for pair in text.split(_PAIR_END) if pair and not pair.startswith(begin)])
