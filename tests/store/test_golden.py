"""Stores that official brokers wrote open here, and everything they acknowledged is in them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from rmqd.store.dump import dump_file
from rmqd.store.messagestore import MessageStore, StoreOptions
from rmqwire.message import (
    decode_message_id,
    decode_properties,
    decode_record,
    encode_host,
    encode_message_id,
    encode_properties,
    message_keys,
    tags_code,
)

from .stores import Clock, crash

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "store"
CASES = {
    "4.7.0": "after_official_clean_exit",
    "4.7.0-killed": "after_official_crash",
    "5.5.0": "after_official_clean_exit",
    "5.5.0-killed": "after_official_crash",
}
ALWAYS = (0, 1 << 60)


@pytest.fixture(params=sorted(CASES))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    with tarfile.open(GOLDEN / f"{request.param}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # without one 3.12 and 3.13 warn
        for member in archive.getmembers():
            assert not member.name.startswith("/")
            assert ".." not in member.name
            archive.extract(member, tmp_path, set_attrs=False)
    return request.param, tmp_path


def golden_store(root: Path) -> MessageStore:
    options = StoreOptions(
        root=root / "store",
        store_host=encode_host("127.0.0.1", 10911),
        mapped_file_size_commit_log=65536,
        mapped_file_size_consume_queue=400,
        max_hash_slot_num=100,
        max_index_num=200,
    )
    return MessageStore(options, wall_clock_ms=Clock(), memory_bytes=1 << 30)


def sent(root: Path) -> list[list[str]]:
    lines = (root / "sent.tsv").read_text().splitlines()
    assert len(lines) == 121
    return [line.split("\t") for line in lines]


def check(store: MessageStore, lines: list[list[str]]) -> None:
    for number, topic, queue, offset, message_id, unique in lines:
        if number == "batch":
            ids, uniques = message_id.split(","), unique.split(",")
            keys = [f"batch{n}" for n in range(4)]
        else:
            ids, uniques, keys = [message_id], [unique], [f"key{number}"]
        records = store.get_messages(topic, int(queue), int(offset), len(ids)).records
        for at, record in enumerate(records):
            message = decode_record(record, check_crc=True)
            assert message.queue_offset == int(offset) + at
            assert encode_message_id(message.store_host, message.physical_offset) == ids[at]
            assert store.read_record(decode_message_id(ids[at])[1]) == record
            properties = decode_properties(message.properties)
            assert properties["KEYS"].split()[0] == keys[at]
            for key in (keys[at], uniques[at]):
                assert store.query(topic, key, 9, *ALWAYS).records == [record], (number, key)
        assert len(records) == len(ids)


def test_everything_that_was_acknowledged_is_there(golden: tuple[str, Path]) -> None:
    name, root = golden
    store = golden_store(root)
    report = store.open()
    assert report.case == CASES[name]
    assert report.truncated_bytes == 0, report.notes
    assert sum(store.max_offset(topic, queue) for topic in store.topics() for queue in store.queue_ids(topic)) == 124
    check(store, sent(root))
    tagged = store.get_messages("Golden0", 0, 0, 32, tags=frozenset({tags_code("Tag1")}))
    assert {decode_properties(decode_record(each).properties)["TAGS"] for each in tagged.records} == {"Tag1"}
    # It goes on where the official broker ended, through a crash of ours.
    put = store.stage(
        "Golden0",
        0,
        b"ours",
        encode_properties({"KEYS": "ours"}),
        tags_code=0,
        keys=message_keys({"KEYS": "ours"}),
        flag=0,
        sys_flag=0,
        born_timestamp=1,
        born_host=store.options.store_host,
    )
    store.commit()
    assert put.queue_offset == store.max_offset("Golden0", 0) - 1
    crash(store)
    store = golden_store(root)
    assert store.open().case == "after_own_crash"
    check(store, sent(root))
    assert len(store.query("Golden0", "ours", 9, *ALWAYS).records) == 1
    store.close()


def test_what_we_write_is_what_the_official_broker_wrote(golden: tuple[str, Path], tmp_path: Path) -> None:
    """The same messages staged here with the same times give the same log, queues and index, byte for byte."""
    name, root = golden
    log = [values for path in sorted((root / "store" / "commitlog").iterdir()) for values in dump_file(str(path))]
    messages = [values for values in log if values["kind"] == "message"]
    assert len(messages) == 124
    clock = Clock(step=0)
    records = [
        decode_record((root / "store" / "commitlog" / f"{at - at % 65536:020d}").read_bytes(), at % 65536)
        for at in (values["physical_offset"] for values in messages)
    ]
    options = StoreOptions(
        root=tmp_path / "ours",
        store_host=records[0].store_host,
        mapped_file_size_commit_log=65536,
        mapped_file_size_consume_queue=400,
        max_hash_slot_num=100,
        max_index_num=200,
    )
    store = MessageStore(options, wall_clock_ms=clock)
    store.open()
    for record in records:
        clock.now_ms = record.store_timestamp
        properties = decode_properties(record.properties)
        store.stage(
            record.topic,
            record.queue_id,
            record.body,
            record.properties,
            tags_code=tags_code(properties.get("TAGS")),
            keys=[key for key in message_keys(properties) if name.startswith("5") or not key.startswith("T#")],
            flag=record.flag,
            sys_flag=record.sys_flag & ~0x30,
            born_timestamp=record.born_timestamp,
            born_host=record.born_host,
        )
        store.commit()
    store.close()
    assert log == [
        values for path in sorted((tmp_path / "ours" / "commitlog").iterdir()) for values in dump_file(str(path))
    ] + [
        values for values in log[-1:] if values not in log[:-1] and values["position"] == 0 and values["kind"] == "end"
    ]
    for path in sorted((tmp_path / "ours" / "consumequeue").rglob("0*0*")):
        if path.is_file():
            theirs = root / "store" / path.relative_to(tmp_path / "ours")
            assert path.read_bytes() == theirs.read_bytes(), path
    # Headers are written when the broker is closed, and 4.x counts used slots in another way.
    known_header = 0 if name == "5.5.0" else 40
    ours, theirs_index = (
        [path.read_bytes()[known_header:] for path in sorted((folder / "index").iterdir())]
        for folder in (tmp_path / "ours", root / "store")
    )
    assert ours == theirs_index


def test_messages_are_found_by_their_tags(golden: tuple[str, Path]) -> None:
    """Official brokers of 5.5 index tags, and so do we; those of 4.x do not, but what is recovered here is."""
    name, root = golden
    store = golden_store(root)
    store.open()
    found = store.query("Golden0", "T#Tag1", 99, *ALWAYS).records
    tags = {decode_properties(decode_record(record).properties)["TAGS"] for record in found}
    assert tags <= {"Tag1"}
    assert name.startswith("4") or len(found) == 20
    store.close()


def test_dumps_of_all_files_are_free_of_damage(golden: tuple[str, Path]) -> None:
    _, root = golden
    kinds = set()
    for path in (root / "store").rglob("*"):
        if path.is_file() and "config" not in path.parts and path.name not in ("abort", "lock"):
            for values in dump_file(str(path), slot_num=100):
                assert values["kind"] != "damage", (path, values)
                assert values.get("body_crc_right", True)
                kinds.add(values["kind"])
    assert {"message", "blank", "unit", "index_header", "index_slot", "index_entry", "checkpoint"} <= kinds
