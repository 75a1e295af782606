"""Does the master's log continue ours? Asked before a slave connects, as replication itself does not notice.

The protocol of replication names positions alone. A master that lost its last messages (power cut without SYNC_FLUSH)
and has taken new ones would be believed, and the two logs would differ for good. So the master is asked, by ordinary
requests that every version serves, how far its log goes and for the record that is the last one here: when it has the
same bytes there, all before them is the same.

What it must not do: repair. Which of two logs is the right one is for a person to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqd.protocol.remoting import PeerError
from rmqwire.bodies import KvTable
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.requests.lookup import ViewMessageById
from rmqwire.requests.stats import GetBrokerRuntimeInfo

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.protocol.client import RemotingClient
    from rmqd.store.messagestore import MessageStore

TIMEOUT_MS = 5000


async def divergence(
    store: MessageStore,
    client: RemotingClient,
    master: str,
    run_in_thread: Callable[..., Deferred[Any]],
) -> str | None:
    """Why not to replicate from a master; None when its log begins with all of this one.

    Args:
        store: This slave's.
        client: Asks.
        master: `host:port` that the master serves requests on.
        run_in_thread: Finds the last record of this log.
    """
    end = store.max_physical_offset
    last = store.last_received
    if last is None:
        last = await run_in_thread(store.last_record_offset)
    if last is None:
        return None
    try:
        answer = await client.call(master, GetBrokerRuntimeInfo(), timeout_ms=TIMEOUT_MS)
        table = KvTable.decode(answer.body).table
        master_begin, master_end = int(table["commitLogMinOffset"]), int(table["commitLogMaxOffset"])
        if master_end < end:
            return (
                f"the master {master} is shorter than this slave: its log ends at {master_end}, this one at {end}. "
                f"The {end - master_end} bytes behind {master_end} exist here alone: make this broker the master to "
                "keep them, or empty its store to give them up"
            )
        if last < master_begin:
            return (
                f"the log of the master {master} begins at {master_begin} by now, this one ends at {end}: "
                "empty this store to begin anew"
            )
        answer = await client.call(master, ViewMessageById(offset=last), timeout_ms=TIMEOUT_MS)
    except (PeerError, WireError, KeyError, ValueError) as cause:
        return f"the master {master} does not say where its log ends: {cause}"
    ours = await run_in_thread(store.read_record, last)
    if answer.code != ResponseCode.SUCCESS or answer.body != ours:
        return (
            f"the logs differ: the master {master} has another record at {last} than this slave, whose log ends at "
            f"{end}. One of the two lost messages: make the broker with the right ones the master, empty the other's "
            "store"
        )
    return None
