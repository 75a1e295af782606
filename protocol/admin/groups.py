"""Settings of groups: updateSubGroup, updateSubGroupList, deleteSubGroup, getConsumerConfig, setConsumeMode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.group import (
    GroupRetryPolicy,
    SubscriptionGroupConfig,
    SubscriptionGroupList,
    SubscriptionGroupWrapper,
)
from rmqwire.bodies.lock import SetMessageRequestModeRequestBody
from rmqwire.errors import RmqError
from rmqwire.requests.group import (
    DeleteSubscriptionGroup,
    GetAllSubscriptionGroupConfig,
    UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateSubscriptionGroupList,
)
from rmqwire.requests.lock import SetMessageRequestMode

from .asking import DLQ_PREFIX, RETRY_PREFIX, address_of
from .command import BOOL, BROKER, CLUSTER, I32, I64, command, flag
from .errors import AdminError, BadUsage, NotFound, Refused
from .text import group_fields, group_text, parse_attributes
from .topic_settings import FILE, read_settings, remove_topic

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

GROUP = flag("g", "groupName", "consumer group name", required=True)


async def addresses_given(admin: Admin, given: Given) -> list[str]:
    """The broker that `-b` names, or the masters of the cluster that `-c` names."""
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        return [given.text("brokerAddr")]
    return await admin.masters(given.text("clusterName"))


@command(
    "updateSubGroup",
    BROKER,
    CLUSTER,
    GROUP,
    flag("s", "consumeEnable", "whether it may consume", BOOL),
    flag("m", "consumeFromMinEnable", "whether it may begin at the first message", BOOL),
    flag("d", "consumeBroadcastEnable", "whether it may broadcast", BOOL),
    flag("o", "consumeMessageOrderly", "whether it consumes orderly", BOOL),
    flag("q", "retryQueueNums", "number of retry queues", I32),
    flag("r", "retryMaxTimes", "number of retries", I32),
    flag("p", "groupRetryPolicy", "delays of retries, as JSON"),
    flag("i", "brokerId", "id of the broker to consume from", I64),
    flag("w", "whichBrokerWhenConsumeSlowly", "id of the broker to consume from when it lags", I64),
    flag("a", "notifyConsumerIdsChanged", "whether consumers are told of changes", BOOL),
    flag("", "attributes", "attributes, +a=b,+c=d,-e"),
)
async def update_sub_group(admin: Admin, given: Given, out: Output) -> None:
    """Create a group, or change its settings."""
    group = SubscriptionGroupConfig(
        group_name=given.text("groupName"),
        consume_enable=given.true("consumeEnable", True),
        consume_from_min_enable=given.true("consumeFromMinEnable"),
        consume_broadcast_enable=given.true("consumeBroadcastEnable"),
        consume_message_orderly=given.true("consumeMessageOrderly"),
        retry_queue_nums=given.number("retryQueueNums", 1),
        retry_max_times=given.number("retryMaxTimes", 16),
        broker_id=given.number("brokerId", 0),
        which_broker_when_consume_slowly=given.number("whichBrokerWhenConsumeSlowly", 1),
        notify_consumer_ids_changed_enable=given.true("notifyConsumerIdsChanged", True),
    )
    if given.has("groupRetryPolicy"):
        group.group_retry_policy = _read_policy(given.text("groupRetryPolicy"))
    if given.has("attributes"):
        group.attributes = parse_attributes(given.text("attributes"))
    addresses = await addresses_given(admin, given)
    for address in addresses:
        await admin.call(address, UpdateAndCreateSubscriptionGroup(), group.encode())
        out.line(f"create subscription group to {address} success.")
    out.text(group_text(group))
    out.fields(addresses=addresses, group=group)


def _read_policy(text: str) -> GroupRetryPolicy:
    try:
        policy = GroupRetryPolicy.decode(text.encode())
    except RmqError as cause:
        raise BadUsage("the retry policy is no JSON of the known form", 'as {"type":"EXPONENTIAL"}') from cause
    if policy.type not in ("CUSTOMIZED", "EXPONENTIAL"):
        raise BadUsage(f"{policy.type!r} is no type of retry policy", "give CUSTOMIZED or EXPONENTIAL")
    return policy


@command("updateSubGroupList", BROKER, CLUSTER, FILE)
async def update_sub_group_list(admin: Admin, given: Given, out: Output) -> None:
    """Create or change the groups that a file lists."""
    groups = read_settings(given.text("filename"), SubscriptionGroupConfig)
    addresses = await addresses_given(admin, given)
    word = "subscription group" if given.has("clusterName") else "group"
    body = SubscriptionGroupList(group_config_list=groups).encode()
    for address in addresses if groups else []:
        await admin.call(address, UpdateAndCreateSubscriptionGroupList(), body)
        out.line(f"submit batch of {word} config to {address} success, please check the result later.")
    out.fields(addresses=addresses, groups=[group.group_name for group in groups])


@command(
    "deleteSubGroup",
    BROKER,
    CLUSTER,
    GROUP,
    flag("r", "removeOffset", "whether to remove its offsets too", BOOL),
)
async def delete_sub_group(admin: Admin, given: Given, out: Output) -> None:
    """Delete a group; of a cluster, its retry and dead-letter topics too."""
    group = given.text("groupName")
    remove = given.true("removeOffset")
    addresses = await addresses_given(admin, given)
    cluster = None if given.has("brokerAddr") else given.text("clusterName")
    for address in addresses:
        header = DeleteSubscriptionGroup(group_name=group, clean_offset=remove, remove_offset=remove)
        await admin.call(address, header)
        where = f" in cluster [{cluster}]" if cluster else ""
        out.line(f"delete subscription group [{group}] from broker [{address}]{where} success.")
    if cluster:
        for prefix in (RETRY_PREFIX, DLQ_PREFIX):
            try:
                await remove_topic(admin, prefix + group, cluster)
            except Refused:
                continue  # as the official tool: the group may never have had them
            out.line(f"delete topic [{prefix}{group}] from cluster [{cluster}] success.")
            out.line(f"delete topic [{prefix}{group}] from NameServer success.")
    out.fields(group=group, addresses=addresses)


@command("getConsumerConfig", GROUP, watch=True)
async def get_consumer_config(admin: Admin, given: Given, out: Output) -> None:
    """Show the settings of a group on every broker."""
    info = await admin.clusters()
    out.rows()
    found = False
    for name, broker in sorted((info.broker_addr_table or {}).items()):
        address = address_of(broker)
        if address is None:
            continue
        table = await all_groups(admin, address)
        group = table.subscription_group_table.get(given.text("groupName"))
        if group is None:
            continue
        found = True
        cluster = next((key for key, names in (info.cluster_addr_table or {}).items() if name in names), None)
        bar = "=" * 29
        out.line(f"{bar}{cluster}:{name}{bar}")
        for field, value in group_fields(group).items():
            shown = "" if value is None else str(value).lower() if isinstance(value, bool) else value
            out.line(f"{field:<40}=  {shown}")
        out.row({"cluster": cluster, "broker": name, "group": group})
    if not found:
        raise NotFound(f"no consumer group {given.text('groupName')!r} on any broker", "see `mqadmin consumerProgress`")


_PAGE_SIZE = 2000
_PAGES_MAX = 10_000


async def all_groups(admin: Admin, address: str) -> SubscriptionGroupWrapper:
    """All groups of a broker, in pages where it gives them so; from the beginning when they change meanwhile.

    Raises:
        AdminError: They change all the time.
    """
    whole = SubscriptionGroupWrapper()
    version: bytes | None = None
    for _ in range(_PAGES_MAX):
        table = whole.subscription_group_table
        text = version.decode() if version is not None else ""
        header = GetAllSubscriptionGroupConfig(group_seq=len(table), data_version=text, max_group_num=_PAGE_SIZE)
        answer = await admin.call(address, header, timeout_ms=10_000)
        page = SubscriptionGroupWrapper.decode(answer.body)
        now = page.data_version.encode()
        total = answer.ext.get("totalGroupNum")
        if total is not None and version is not None and version != now:
            whole, version = SubscriptionGroupWrapper(), None
            continue
        version, known = now, len(table)
        table.update(page.subscription_group_table)
        whole.forbidden_table.update(page.forbidden_table)
        if total is None or len(table) in (known, int(total)):
            return whole
    raise AdminError(f"the groups of {address} change while they are read", "try again")


@command(
    "setConsumeMode",
    BROKER,
    CLUSTER,
    flag("t", "topicName", "topic name", required=True),
    GROUP,
    flag("m", "mode", "PULL or POP", required=True),
    flag("q", "popShareQueueNum", "number of queues that a popping consumer shares", I32),
)
async def set_consume_mode(admin: Admin, given: Given, out: Output) -> None:
    """Choose whether a group pulls or pops a topic."""
    topic, group, mode = given.text("topicName"), given.text("groupName"), given.text("mode")
    if mode not in ("PULL", "POP"):
        raise BadUsage(f"{mode!r} is no mode", "give -m PULL or -m POP")
    share = given.number("popShareQueueNum", 0)
    body = SetMessageRequestModeRequestBody(topic=topic, consumer_group=group, mode=mode, pop_share_queue_num=share)
    addresses = await addresses_given(admin, given)
    for address in addresses:
        await admin.call(address, SetMessageRequestMode(), body.encode())
        out.line(f"set consume mode to {address} success.")
    out.text(f"topic[{topic}] group[{group}] consume mode[{mode}] popShareQueueNum[{share}]")
    out.fields(addresses=addresses, topic=topic, group=group, mode=mode, popShareQueueNum=share)
