"""Commands that have brokers clean up or change how they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.requests.config import GetBrokerConfig
from rmqwire.requests.ha import ResetMasterFlushOffset
from rmqwire.requests.maintenance import (
    CleanExpiredConsumequeue,
    CleanUnusedTopic,
    DeleteExpiredCommitlog,
    SetCommitlogReadMode,
    SwitchTimerEngine,
)
from rmqwire.requests.pop import PopRollback

from .command import BROKER, CLUSTER, I64, command, flag
from .configuration import read_properties, titled_addresses
from .errors import AdminError, BadUsage
from .groups import addresses_given

if TYPE_CHECKING:
    from rmqwire.declare import Header

    from .asking import Admin
    from .command import Given
    from .output import Output

_ALL = flag("c", "cluster", "name of the cluster; without it and -b all clusters")


async def _everywhere(admin: Admin, given: Given, out: Output, header: Header) -> None:
    """Send a request to the broker of `-b`, the brokers of `-c`, or all brokers."""
    if given.has("brokerAddr"):
        addresses = [given.text("brokerAddr")]
    elif given.has("cluster"):
        addresses = await admin.addresses(given.text("cluster"))
    else:
        names = sorted((await admin.clusters()).cluster_addr_table or {})
        addresses = [address for name in names for address in await admin.addresses(name)]
    for address in addresses:
        await admin.call(address, header)
    out.text("success" if addresses else "false")
    out.fields(addresses=addresses)


@command("cleanExpiredCQ", BROKER, _ALL)
async def clean_expired_cq(admin: Admin, given: Given, out: Output) -> None:
    """Delete consume queues that point below the commit log."""
    await _everywhere(admin, given, out, CleanExpiredConsumequeue())


@command("cleanUnusedTopic", BROKER, _ALL)
async def clean_unused_topic(admin: Admin, given: Given, out: Output) -> None:
    """Delete consume queues of topics that are gone."""
    await _everywhere(admin, given, out, CleanUnusedTopic())


@command("deleteExpiredCommitLog", BROKER, _ALL)
async def delete_expired_commit_log(admin: Admin, given: Given, out: Output) -> None:
    """Delete expired commit log files now."""
    await _everywhere(admin, given, out, DeleteExpiredCommitlog())


@command(
    "resetMasterFlushOffset",
    flag("b", "brokerAddr", "which broker to reset", required=True),
    flag("o", "offset", "the offset", I64, required=True),
)
async def reset_master_flush_offset(admin: Admin, given: Given, out: Output) -> None:
    """Set what a slave believes its master has flushed."""
    offset = given.number("offset")
    await admin.call(given.text("brokerAddr"), ResetMasterFlushOffset(master_flush_offset=offset))
    out.line(f"reset master flush offset to {offset} success")
    out.fields(address=given.text("brokerAddr"), offset=offset)


@command(
    "setCommitLogReadAheadMode",
    BROKER,
    CLUSTER,
    flag("m", "commitLogReadAheadMode", "0 normal, 1 random reads", required=True),
)
async def set_read_ahead_mode(admin: Admin, given: Given, out: Output) -> None:
    """Choose how commit log files are read ahead."""
    mode = given.text("commitLogReadAheadMode")
    if mode not in ("0", "1"):
        raise BadUsage("set the read mode error", "0 is default, 1 random read")
    for title, address in await titled_addresses(admin, given):
        if address is None:
            continue
        answer = await admin.call(address, SetCommitlogReadMode(read_ahead_mode=int(mode)))
        out.line(f" ============{title}============")
        out.line(f"commitLog set readAhead mode rstStr{answer.remark or ''}")
        out.field(address, mode)


@command(
    "switchTimerEngine",
    BROKER,
    CLUSTER,
    flag("e", "engineType", "R: RocksDB timeline, F: file time wheel", required=True),
)
async def switch_timer_engine(admin: Admin, given: Given, out: Output) -> None:
    """Choose where delayed messages wait."""
    engine = given.text("engineType")
    if engine not in ("R", "F"):
        raise BadUsage(f"{engine!r} is no timer engine", "give -e R or -e F")
    for address in await addresses_given(admin, given):
        await admin.call(address, SwitchTimerEngine(engine_type=engine))
        word = "ROCKSDB_TIMELINE" if engine == "R" else "FILE_TIME_WHEEL"
        out.line(f"switchTimerEngine to {word} success, {address}")
        out.field(address, engine)


@command("exportPopRecord", BROKER, CLUSTER, flag("d", "dryRun", "true: only say what would be done"))
async def export_pop_record(admin: Admin, given: Given, out: Output) -> None:
    """Have brokers move their pop records from RocksDB to the file store."""
    # As Java 5.5.0 the word `false` is what makes it dry; `true` does too here, since it says so.
    dry = (given.maybe("dryRun") or "").lower() in ("true", "false")
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        addresses = [given.text("brokerAddr")]
    else:
        addresses = await admin.addresses(given.text("clusterName"))
    failure: AdminError | None = None
    for address in addresses:
        name = (await read_properties(admin, address, GetBrokerConfig())).get("brokerName")
        told = f"brokerName={name}, brokerAddr={address}, dryRun={str(dry).lower()}"
        try:
            if not dry:
                await admin.call(address, PopRollback(), timeout_ms=30_000)
        except AdminError as cause:
            failure = cause
            out.line(f"Export broker records error, {told}")
            continue
        out.line(f"Export broker records, {told}")
        out.row({"broker": name, "address": address, "dryRun": dry})
    if failure is not None:
        raise failure
