"""queryCq: units of a consume queue, and how a subscription filters them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.lookup import QueryConsumeQueueResponseBody
from rmqwire.requests.lookup import QueryConsumeQueue

from .command import I32, I64, command, flag
from .output import java
from .topics import TOPIC

if TYPE_CHECKING:
    from rmqwire.bodies.base import Body
    from rmqwire.bodies.lookup import ConsumeQueueData

    from .asking import Admin
    from .command import Given
    from .output import Output


@command(
    "queryCq",
    TOPIC,
    flag("q", "queue", "queue id", I32, required=True),
    flag("i", "index", "first unit", I64, required=True),
    flag("c", "count", "how many [10]", I32),
    flag("b", "broker", "address of the broker"),
    flag("g", "consumer", "consumer group, to show how its subscription filters"),
)
async def query_cq(admin: Admin, given: Given, out: Output) -> None:
    """Show units of a consume queue."""
    topic = given.text("topic")
    address = given.maybe("broker")
    if address is None:
        _, address = (await admin.brokers_with(topic))[0]
    header = QueryConsumeQueue(
        topic=topic,
        queue_id=given.number("queue"),
        index=given.number("index"),
        count=given.number("count", 10),
        consumer_group=given.maybe("consumer"),
    )
    found = await admin.ask(address, header, QueryConsumeQueueResponseBody)
    bar = "=" * 38
    if found.subscription_data is not None:
        out.line(f"Subscription data: \n{_pretty(found.subscription_data)}\n{bar}")
    if found.filter_data is not None:
        out.line(f"Filter data: \n{found.filter_data}\n{bar}")
    out.line(f"Queue data: \nmax: {found.max_queue_index}, min: {found.min_queue_index}\n{bar}")
    for index, unit in enumerate(found.queue_data or (), given.number("index")):
        out.line(f"idx: {index}\n{_unit_text(unit)}\n{bar}")
        out.row({"index": index, "unit": unit})
    out.fields(maxQueueIndex=found.max_queue_index, minQueueIndex=found.min_queue_index)


def _pretty(body: Body) -> str:
    """Indented as fastjson 1 does it, which gives empty lists three lines."""
    return body.pretty().decode().replace("[]", "[\n\t\t\n\t]")


def _unit_text(unit: ConsumeQueueData) -> str:
    return (
        f"ConsumeQueueData{{physicOffset={unit.physic_offset}, physicSize={unit.physic_size}, "
        f"tagsCode={unit.tags_code}, extendDataJson='{java(unit.extend_data_json)}', bitMap='{java(unit.bit_map)}', "
        f"eval={java(unit.eval)}, msg='{java(unit.msg)}'}}"
    )
