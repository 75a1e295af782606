"""exportMetadataInRocksDB, and rocksDBConfigToJson of a folder: what a broker of 5.x kept in RocksDB.

`rmqd.store.rocksread` reads them; what it does not know (other compressions than LZ4, merges) is refused in one line.

Source: `ExportMetadataInRocksDBCommand`, `RocksDBConfigToJsonCommand` (5.5.0).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmqd.store.errors import StoreDamaged
from rmqd.store.rocksread import read_database
from rmqwire.dialect import loads
from rmqwire.errors import RmqError

from .command import BOOL, command, flag
from .errors import BadUsage, NotFound

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_TABLES = {"topics": "topicConfigTable", "subscriptionGroups": "subscriptionGroupTable"}
_OFFSETS = "consumerOffsets"
_VERSION_FAMILY = "kvDataVersion"


def read_folder(folder: Path, kind: str, family: str = "default") -> list[tuple[str, str]]:
    """Keys and values of the database of a kind of configuration.

    Raises:
        NotFound: There is none, or it cannot be read.
    """
    path = folder / kind
    try:
        rows = read_database(path, family)
    except StoreDamaged as cause:
        raise NotFound(f"RocksDB load error, path={path}", str(cause)) from cause
    except OSError as cause:
        reason = cause.strerror or str(cause)
        raise NotFound(f"RocksDB load error, path={path}", f"{cause.filename}: {reason}") from cause
    return [(key.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for key, value in rows]


def _parsed(value: str, key: str) -> Any:
    try:
        return loads(value.encode())
    except (RmqError, ValueError) as cause:
        raise NotFound(f"the value of {key} is no JSON", "list it without -j true") from cause


def _offsets(value: str, key: str) -> Any:
    tree = _parsed(value, key)
    if not isinstance(tree, dict):
        raise NotFound(f"the value of {key} is no JSON object", "its offsets cannot be told")
    return tree.get("offsetTable", {})


def pretty_json(tree: object) -> str:
    """JSON in the official layout."""
    return json.dumps(tree, indent="\t", separators=(",", ":"), ensure_ascii=False)


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise BadUsage(f"RocksDB path is invalid, there is no {path}", "give the folder that holds `topics`")
    return path


def _list(rows: list[tuple[str, str]], out: Output) -> None:
    for number, (key, value) in enumerate(rows, 1):
        out.line(f"{number}, Key: {key}, Value: {value}")


@command(
    "exportMetadataInRocksDB",
    flag("p", "path", "folder that holds the databases topics and subscriptionGroups", required=True),
    flag("t", "configType", "topics or subscriptionGroups", required=True),
    flag("j", "jsonEnable", "print one JSON object [false]", BOOL),
)
async def export_folder(admin: Admin, given: Given, out: Output) -> None:
    """Print topics or groups from a broker's folder."""
    folder, asked = _existing(given.text("path")), given.text("configType")
    kind = next((one for one in _TABLES if one.lower() == asked.lower()), None)
    if kind is None:
        raise BadUsage(f"Invalid config type={asked}", f"Options: {','.join(_TABLES)}")
    rows = read_folder(folder, asked)
    if out.as_json or given.true("jsonEnable"):
        tree = {key: _parsed(value, key) for key, value in rows}
        out.line(pretty_json({_TABLES[kind]: tree}))
        out.field(_TABLES[kind], tree)
    else:
        _list(rows, out)


def convert_folder(given: Given, kind: str, out: Output) -> None:
    """Print or write a kind of configuration from a broker's folder (`rocksDBConfigToJson -p`)."""
    folder = _existing(given.text("configPath"))
    out.line("Use [local mode] load rocksdb to print or export file ")
    rows = read_folder(folder, kind)
    tables: dict[str, Any] = {}
    if kind == _OFFSETS:
        name = "offsetTable"
        tables[name] = {key: _offsets(value, key) for key, value in rows}
    else:
        name = _TABLES[kind]
        for key, value in read_folder(folder, kind, _VERSION_FAMILY):
            tables["dataVersion"] = _parsed(value, key)
        tables[name] = {key: _parsed(value, key) for key, value in rows}
    out.fields(**tables)
    if given.has("exportFile"):
        _write(Path(given.text("exportFile")), pretty_json(tables))
    elif given.true("jsonEnable", True):
        out.line(pretty_json(tables))
    else:
        for table, tree in tables.items():
            out.text(f"type: {table}")
            if table != "dataVersion":
                texts = dict(rows) if kind != _OFFSETS else {key: json.dumps(one) for key, one in tree.items()}
                _list([(key, texts[key]) for key in tree], out)


def _write(path: Path, text: str) -> None:
    """Write a file, and keep what was there beside it."""
    try:
        if path.exists():
            path.replace(path.with_name(path.name + ".bak"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise BadUsage(f"cannot write {path}, {cause.strerror}", "give another file by -e") from cause
