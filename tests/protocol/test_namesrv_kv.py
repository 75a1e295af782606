"""The name server's key-value configuration, and that it survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from protocol.namesrv_wiring import NameServerWorld
from protocol.wiring import sent
from twisted.internet.defer import Deferred, execute

from rmqd.protocol.namesrv.kv import KvConfig
from rmqd.store.errors import StoreError
from rmqd.store.statefile import StateFile
from rmqwire.codes import RequestCode, ResponseCode


@pytest.fixture
def world(tmp_path: Path) -> NameServerWorld:
    return NameServerWorld(tmp_path)


def loaded(path: Path) -> KvConfig:
    kv = KvConfig(StateFile(path), lambda call, *args: execute(call, *args))
    kv.load()
    return kv


def test_put_get_delete(world: NameServerWorld) -> None:
    """mqadmin's updateKvConfig and deleteKvConfig, and what clients then read."""
    peer = world.peer()
    absent = peer.ask(RequestCode.GET_KV_CONFIG, namespace="n", key="k")
    assert (absent.code, absent.remark) == (ResponseCode.QUERY_NOT_FOUND, "No config item, Namespace: n Key: k")
    for value in ("v1", "v2;ü"):
        assert peer.ask(RequestCode.PUT_KV_CONFIG, namespace="n", key="k", value=value).code == ResponseCode.SUCCESS
        assert peer.ask(RequestCode.GET_KV_CONFIG, namespace="n", key="k").ext == {"value": value}
    assert json.loads(peer.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="n").body) == {"table": {"k": "v2;ü"}}
    assert peer.ask(RequestCode.DELETE_KV_CONFIG, namespace="n", key="k").code == ResponseCode.SUCCESS
    assert peer.ask(RequestCode.DELETE_KV_CONFIG, namespace="n", key="k").code == ResponseCode.SUCCESS
    assert peer.ask(RequestCode.GET_KV_CONFIG, namespace="n", key="k").code == ResponseCode.QUERY_NOT_FOUND
    emptied = peer.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="n")
    assert (emptied.code, emptied.body) == (ResponseCode.SUCCESS, b'{"table":{}}')
    never = peer.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, namespace="other")
    assert (never.code, never.remark) == (ResponseCode.QUERY_NOT_FOUND, "No config item, Namespace: other")


@pytest.mark.parametrize("missing", ["namespace", "key", "value"])
def test_missing_field(world: NameServerWorld, missing: str) -> None:
    """A request without one of its fields is refused and changes nothing."""
    fields = {"namespace": "n", "key": "k", "value": "v"}
    del fields[missing]
    assert world.peer().ask(RequestCode.PUT_KV_CONFIG, **fields).code == ResponseCode.SYSTEM_ERROR
    assert world.server.kv.values_of("n") is None


def test_official_file(tmp_path: Path) -> None:
    """kvConfig.json is read and written as the official name server does."""
    path = tmp_path / "kvConfig.json"
    path.write_text('{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"},"empty":{}}}')
    kv = loaded(path)
    assert kv.get("ORDER_TOPIC_CONFIG", "T") == "broker-a:4"
    kv.put("n", "k", "v")
    text = path.read_text()
    assert text == '{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"},"empty":{},"n":{"k":"v"}}}'
    assert loaded(path).values_of("empty") == {}


def test_file_of_none(tmp_path: Path) -> None:
    """A first start has no file; an official file may say null."""
    assert loaded(tmp_path / "none.json").values_of("n") is None
    (tmp_path / "null.json").write_text('{"configTable":null}')
    assert loaded(tmp_path / "null.json").values_of("n") is None


def test_damaged_file(tmp_path: Path) -> None:
    """A half-written file is replaced by its backup; without one the start fails with the file's name."""
    path = tmp_path / "kvConfig.json"
    kv = loaded(path)
    kv.put("n", "k", "v1")
    kv.put("n", "k", "v2")
    path.write_text('{"configTable":{"n":{"k"')
    assert loaded(path).get("n", "k") == "v1"
    (tmp_path / "kvConfig.json.bak").write_text("nonsense")
    with pytest.raises(StoreError, match=r"kvConfig\.json"):
        loaded(path)


def test_damaged_file_stops_the_start(tmp_path: Path) -> None:
    """The name server does not come up without what operators configured."""
    (tmp_path / "kvConfig.json").write_text("nonsense")
    failed: list[Any] = []
    NameServerWorld(tmp_path).server.start().addErrback(lambda failure: failed.append(failure.value))
    assert isinstance(failed[0], StoreError)


def test_answered_when_on_disk(tmp_path: Path) -> None:
    """A change is answered once it is saved; changes that come meanwhile are saved together."""
    jobs: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []

    def later(call: Any, *args: Any) -> Deferred[Any]:
        jobs.append((Deferred(), call, args))
        return jobs[-1][0]

    world = NameServerWorld(tmp_path)
    world.server.kv._writer._run_in_thread = later
    peer = world.peer()
    for number in range(5):
        peer.send(RequestCode.PUT_KV_CONFIG, namespace="n", key=f"k{number}", value="v")
    assert sent(peer.wire) == []
    assert len(jobs) == 1
    for expected in ([1], [2, 3, 4, 5]):
        done, call, args = jobs.pop()
        done.callback(call(*args))
        assert [answer.opaque for answer in sent(peer.wire)] == expected
    assert jobs == []
    assert len(loaded(tmp_path / "kvConfig.json").values_of("n") or {}) == 5


def test_disk_full(world: NameServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that cannot be saved is not acknowledged, and the admin reads why."""

    def full(self: StateFile, text: bytes) -> None:
        raise StoreError("cannot save: No space left on device", file=self.path)

    monkeypatch.setattr(StateFile, "save", full)
    answer = world.peer().ask(RequestCode.PUT_KV_CONFIG, namespace="n", key="k", value="v")
    assert answer.code == ResponseCode.SYSTEM_ERROR
    assert "No space left on device" in (answer.remark or "")
    monkeypatch.undo()
    assert world.peer().ask(RequestCode.PUT_KV_CONFIG, namespace="n", key="k2", value="v").code == ResponseCode.SUCCESS
    kv = loaded(Path(world.options.namesrv.kv_config_path))
    assert kv.values_of("n") == {"k": "v", "k2": "v"}
