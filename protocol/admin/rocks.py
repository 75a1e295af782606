"""Commands on what brokers with RocksDB keep in it, asked of the broker, and on compaction logs, read here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rmqwire.errors import MalformedMessage
from rmqwire.message import decode_record
from rmqwire.requests.maintenance import CheckRocksdbCqWriteProgress, ExportRocksdbConfigToJson

from .asking import MASTER_ID
from .command import BOOL, I64, command, flag
from .errors import BadUsage, NotFound
from .records import Message
from .rocks_folders import convert_folder

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_DAYS_30_MS = 30 * 24 * 3600 * 1000
_ERROR = 3
"""`CheckRocksdbCqWriteResult.CheckStatus.CHECK_ERROR`."""
_TYPES = ("topics", "subscriptionGroups", "consumerOffsets")
_TIMEOUT_MS = 30_000


async def _masters(admin: Admin, cluster: str) -> list[tuple[str, str]]:
    brokers = await admin.brokers_of(cluster)
    return [(one.broker_name or "", one.broker_addrs[MASTER_ID]) for one in brokers if MASTER_ID in one.broker_addrs]


@command(
    "checkRocksdbCqWriteProgress",
    flag("c", "cluster", "name of the cluster", required=True),
    flag("n", "nameserverAddr", "name servers, host:port joined by ';'"),
    flag("t", "topic", "only this topic"),
    flag("cf", "checkFrom", "from when, in milliseconds since 1970 [30 days ago]", I64),
)
async def check_queues(admin: Admin, given: Given, out: Output) -> None:
    """Have brokers compare their consume queues in RocksDB with those in files."""
    since = given.number("checkFrom", admin.now_ms() - _DAYS_30_MS)
    out.rows()
    for name, address in await _masters(admin, given.text("cluster")):
        header = CheckRocksdbCqWriteProgress(topic=given.maybe("topic") or "", check_store_time=since)
        told = json.loads((await admin.call(address, header)).body or b"{}")
        if told.get("checkStatus") == _ERROR:
            out.line(f"{name} check error, please check log... errInfo: {told.get('checkResult')}")
        else:
            out.line(f"{name} check doing, please wait and get the result from log... ")
        out.row({"broker": name, **told})


@command(
    "rocksDBConfigToJson",
    flag("t", "configType", "topics, subscriptionGroups or consumerOffsets; all without it"),
    flag("n", "nameserverAddr", "name servers, host:port joined by ';'"),
    flag("c", "cluster", "every broker of this cluster"),
    flag("b", "brokerAddr", "only this broker"),
    flag("p", "configPath", "without a broker: folder that holds its databases"),
    flag("e", "exportFile", "of a folder: the file to write"),
    flag("j", "jsonEnable", "of a folder: print one JSON object [true]", BOOL),
)
async def export_configuration(admin: Admin, given: Given, out: Output) -> None:
    """Have brokers write what they keep in RocksDB to their JSON files, or convert a broker's folder."""
    wanted = given.maybe("configType")
    kinds = _TYPES if wanted is None else (wanted,)
    if not set(kinds) <= set(_TYPES):
        raise BadUsage(f"{wanted!r} is no type of configuration", f"give one of {', '.join(_TYPES)}")
    if not given.has("cluster") and not given.has("brokerAddr") and given.has("configPath"):
        if wanted is None:
            raise BadUsage("configType is missing", f"give one of {', '.join(_TYPES)} by -t")
        convert_folder(given, wanted, out)
        return
    header = ExportRocksdbConfigToJson(config_type="".join(f"{kind};" for kind in kinds))
    if given.has("cluster"):
        out.line("Use [rpc mode] call all brokers in cluster to export to json file ")
        addresses = [address for _, address in await _masters(admin, given.text("cluster"))]
    else:
        given.one_of("cluster", "brokerAddr")
        out.line("Use [rpc mode] call broker to export to json file ")
        addresses = [given.text("brokerAddr")]
    for address in addresses:
        await admin.call(address, header, timeout_ms=_TIMEOUT_MS)
        out.row(address)
    out.text("broker export done.")


@command("dumpCompactionLog", flag("f", "file", "the file", required=True))
async def dump_compaction_log(admin: Admin, given: Given, out: Output) -> None:
    """Print the messages of a compaction log's file."""
    path = Path(given.text("file"))
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise BadUsage(f"file {path} is a directory", "give one of the files in it") from None
    except OSError as cause:
        raise NotFound(f"file {path} cannot be read", cause.strerror or str(cause)) from cause
    out.rows()
    position = 0
    while len(data) - position >= 4:
        try:
            stored = decode_record(data, position)
        except MalformedMessage:
            return  # as the official tool: what is no record ends the file
        message = Message(stored)
        out.line(message.text(with_body=False))
        out.row(message.facts())
        position += stored.size
