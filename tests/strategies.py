"""Hypothesis strategies for messages, shared by the tests of the codec and of the store."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
BODIES = st.binary(max_size=300)
HOSTS = st.one_of(st.binary(min_size=8, max_size=8), st.binary(min_size=20, max_size=20))
TOPIC_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%|"
TOPICS = st.text(TOPIC_LETTERS, min_size=1, max_size=40)
LONG_TOPICS = st.text(TOPIC_LETTERS, min_size=100, max_size=255)
_PROPERTY_TEXT = st.text(
    st.characters(exclude_characters="\x01\x02", exclude_categories=("Cs",)), min_size=1, max_size=20
)
PROPERTIES = st.dictionaries(_PROPERTY_TEXT, _PROPERTY_TEXT, max_size=6)
JAVA_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
"""Any text a Java string can hold, lone surrogates too."""


def record_fields() -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of `encode_record`."""
    return st.fixed_dictionaries(
        {
            "topic": st.one_of(TOPICS, LONG_TOPICS),
            "queue_id": I32,
            "body": BODIES,
            "properties": st.binary(max_size=200),
            "queue_offset": I64,
            "physical_offset": I64,
            "flag": I32,
            "sys_flag": st.integers(0, 0x7FF).map(lambda flags: flags & ~0x30),
            "born_timestamp": I64,
            "born_host": HOSTS,
            "store_timestamp": I64,
            "store_host": HOSTS,
            "reconsume_times": I32,
            "prepared_transaction_offset": I64,
        }
    )
