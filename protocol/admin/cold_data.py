"""Commands on what groups may read from disk: the cold-data flow control of 5.x."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rmqwire.requests.maintenance import (
    GetColdDataFlowCtrInfo,
    RemoveColdDataFlowCtrConfig,
    UpdateColdDataFlowCtrConfig,
)

from .command import BROKER, CLUSTER, I64, command, flag
from .configuration import encode_entry, titled_addresses
from .groups import addresses_given
from .text import date_time

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_GROUP = flag("g", "consumerGroup", "consumer group", required=True)
_TIMES = {"lastColdReadTimeMills": "lastColdReadTimeFormat", "createTimeMills": "createTimeFormat"}


@command("getColdDataFlowCtrInfo", BROKER, CLUSTER, watch=True)
async def get_info(admin: Admin, given: Given, out: Output) -> None:
    """Show the limits, and what groups have read."""
    for title, address in await titled_addresses(admin, given):
        out.line(f" ============{title}============")
        if address is None:
            continue
        answer = await admin.call(address, GetColdDataFlowCtrInfo())
        if not answer.body:
            out.line(f"Broker[{address}] has no cold ctr table !")
            continue
        tree = json.loads(answer.body)
        for one in tree.get("runtimeTable", {}).values():
            for name, shown in _TIMES.items():
                if name in one:
                    one[shown] = date_time(int(one.pop(name)))
        out.line(json.dumps(tree, indent="\t", ensure_ascii=False, separators=(",", ":")))
        out.field(address, tree)


@command(
    "updateColdDataFlowCtrGroupConfig",
    BROKER,
    CLUSTER,
    _GROUP,
    flag("v", "threshold", "bytes a second", I64, required=True),
)
async def update_limit(admin: Admin, given: Given, out: Output) -> None:
    """Limit what a group may read from disk."""
    group, threshold = given.text("consumerGroup"), given.number("threshold")
    for address in await addresses_given(admin, given):
        await admin.call(address, UpdateColdDataFlowCtrConfig(), encode_entry(group, str(threshold)))
        out.line(f"updateColdDataFlowCtrGroupConfig success, {address}")
        out.row({"address": address, "group": group, "threshold": threshold})


@command("removeColdDataFlowCtrGroupConfig", BROKER, CLUSTER, _GROUP)
async def remove_limit(admin: Admin, given: Given, out: Output) -> None:
    """Lift the limit of a group."""
    group = given.text("consumerGroup")
    for address in await addresses_given(admin, given):
        await admin.call(address, RemoveColdDataFlowCtrConfig(), group.encode())
        out.line(f"remove broker cold read threshold success, {address}")
        out.row({"address": address, "group": group})
