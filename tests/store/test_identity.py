"""The files that hold a broker's number in controller mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqd.store.errors import StoreDamaged, StoreError
from rmqd.store.identity import TEMPORARY, Identity, IdentityFile


def test_the_text_is_that_of_the_official_broker(tmp_path: Path) -> None:
    path = tmp_path / "brokerIdentity"
    file = IdentityFile(str(path))
    assert file.load() is None
    file.save(Identity("DefaultCluster", "broker-a", 2))
    assert path.read_bytes() == b"DefaultCluster#broker-a#2"
    assert file.load() == Identity("DefaultCluster", "broker-a", 2)


def test_a_claim_has_its_code(tmp_path: Path) -> None:
    path = tmp_path / f"brokerIdentity{TEMPORARY}"
    file = IdentityFile(str(path), claims=True)
    claim = Identity("DefaultCluster", "broker-a", 1, "10.0.0.1:10911;1700000000000")
    file.save(claim)
    assert path.read_bytes() == b"DefaultCluster#broker-a#1#10.0.0.1:10911;1700000000000"
    assert file.load() == claim
    file.save(Identity("DefaultCluster", "broker-a", 2, "10.0.0.1:10911;1700000000001"))
    file.clear()
    assert file.load() is None
    file.clear()


@pytest.mark.parametrize("text", ["c#b", "c#b#x", "c##1", "c#b#1#code", "c#b#-1", "#"])
def test_a_file_that_says_something_else_is_no_missing_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "brokerIdentity").write_text(text)
    with pytest.raises(StoreDamaged, match="brokerIdentity"):
        IdentityFile(str(tmp_path / "brokerIdentity")).load()


def test_names_with_the_separator_are_refused(tmp_path: Path) -> None:
    file = IdentityFile(str(tmp_path / "brokerIdentity"))
    with pytest.raises(StoreError, match="separates"):
        file.save(Identity("a#b", "broker-a", 1))
    assert file.load() is None
