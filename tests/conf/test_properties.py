"""Properties text: read as `java.util.Properties.load` of JDK 17 reads it, and written so that it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.conf.errors import ConfError
from rmqd.conf.properties import decode, read_entries, write_entry

# text, then the entries that JDK 17 gives for it, in order
READ = [
    ("", []),
    ("\n \t\f\r\n", []),
    ("# a=b\n! c=d\n  # e=f", []),
    ("a=b", [("a", "b")]),
    ("a:b", [("a", "b")]),
    ("a b", [("a", "b")]),
    ("a", [("a", "")]),
    ("a=", [("a", "")]),
    ("a = b", [("a", "b")]),
    ("  a\t:\f b ", [("a", "b ")]),
    ("a==b", [("a", "=b")]),
    ("a = = b", [("a", "= b")]),
    ("a b=c", [("a", "b=c")]),
    ("=b", [("", "b")]),
    ("a=b#c", [("a", "b#c")]),
    ("a\\=b=c", [("a=b", "c")]),
    ("a\\ b=c", [("a b", "c")]),
    ("\\#a=b", [("#a", "b")]),
    ("a=b\\\n   c", [("a", "bc")]),
    ("a=b\\\r\n   c\r\nd=e", [("a", "bc"), ("d", "e")]),
    ("a=b\\\r   c\rd=e", [("a", "bc"), ("d", "e")]),
    ("a=b\\\\\nc=d", [("a", "b\\"), ("c", "d")]),
    ("a=b\\\n\nc=d", [("a", "b"), ("c", "d")]),
    ("a=b\\\n#c=d", [("a", "b#c=d")]),
    ("a=b\\", [("a", "b")]),
    ("# comment \\\na=b", [("a", "b")]),
    ("a=\\t\\r\\n\\f\\q\\\\\\:", [("a", "\t\r\n\fq\\:")]),
    ("a=\\u0041\\u00e9", [("a", "Aé")]),
    ("a=\\ud83d\\ude00", [("a", "😀")]),
    ("\\u0061=b", [("a", "b")]),
    ("a=1\na=2", [("a", "1"), ("a", "2")]),
    ("a=x\x0bb\x1cc\u2028d", [("a", "x\x0bb\x1cc\u2028d")]),
]


@pytest.mark.parametrize(("text", "entries"), READ)
def test_reads_as_java_does(text: str, entries: list[tuple[str, str]]) -> None:
    assert [(entry.key, entry.value) for entry in read_entries(text, "f")] == entries


@pytest.mark.parametrize("text", ["a=\\u00", "a=\\u00g0", "a=\\u", "a=\\u 041", "\\uzzzz=a", "a=\\ud83d"])
def test_a_malformed_escape_is_named_with_its_line(text: str) -> None:
    with pytest.raises(ConfError) as caught:
        read_entries(f"# first\n{text}", "some.conf")
    assert (caught.value.file, caught.value.line) == ("some.conf", 2)


def test_entries_know_their_lines() -> None:
    text = "# head\n\na=1\nb=2\\\n  3\\\n  4\n\nc=5"
    assert [(entry.key, entry.line, entry.last_line) for entry in read_entries(text, "f")] == [
        ("a", 3, 3),
        ("b", 4, 6),
        ("c", 8, 8),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a=\xc3\xa9", "a=é"), (b"\xef\xbb\xbfa=b", "a=b"), (b"a=\xe9", "a=é"), (b"\xff=\xfe", "ÿ=þ")],
)
def test_utf8_is_tried_before_latin1(content: bytes, text: str) -> None:
    assert decode(content) == text


TEXT = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_what_is_written_is_read_back(entries: list[tuple[str, str]]) -> None:
    text = "".join(write_entry(key, value) + "\n" for key, value in entries)
    assert text.isascii()
    assert [(entry.key, entry.value) for entry in read_entries(text, "f")] == entries


@given(TEXT.filter(lambda text: "\\u" not in text))
def test_any_text_without_escapes_of_characters_is_read(text: str) -> None:
    entries = read_entries(text, "f")
    assert [entry.line for entry in entries] == sorted(entry.line for entry in entries)
    assert all(entry.line <= entry.last_line for entry in entries)


@given(st.binary())
def test_any_bytes_are_text(content: bytes) -> None:
    assert isinstance(decode(content), str)


def test_plain_values_are_written_as_they_are() -> None:
    """Administration tools and people read the output too."""
    assert write_entry("messageDelayLevel", "1s 5s 10s") == "messageDelayLevel=1s 5s 10s"
    assert write_entry("namesrvAddr", "a:1;b:2") == "namesrvAddr=a:1;b:2"
    assert write_entry("path", "C:\\x") == "path=C:\\\\x"
