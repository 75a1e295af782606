"""Subscription groups as administrators make, change, delete and list them, and as slaves copy them.

Source: `AdminBrokerProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import (
    DeleteSubscriptionGroup,
    GetAllSubscriptionGroupConfig,
    GetAllSubscriptionGroupConfigReply,
    GetSubscriptionGroupConfig,
    UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateSubscriptionGroupList,
    UpdateAndGetGroupForbidden,
)

from . import names
from .paging import page_of
from .reading import body_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .groups import SubscriptionGroups
    from .offsets import ConsumerOffsets


class GroupAdminSettings(msgspec.Struct):
    """The few options that these requests follow; changed at run time by updateBrokerConfig."""

    enable_split_metadata: bool = True
    split_metadata_size: int = 2000


class GroupAdminHandlers:
    """Serves requests about subscription groups.

    Args:
        groups: The table.
        offsets: Offsets of a deleted group go with it if the request says so.
        settings: Options.
    """

    def __init__(self, groups: SubscriptionGroups, offsets: ConsumerOffsets, settings: GroupAdminSettings) -> None:
        self._groups = groups
        self._offsets = offsets
        self._settings = settings

    @handles(UpdateAndCreateSubscriptionGroup)
    def update(self, request: Request, header: UpdateAndCreateSubscriptionGroup) -> Result:
        """Make or change one group."""
        return self._update([body_of(request, SubscriptionGroupConfig)])

    @handles(UpdateAndCreateSubscriptionGroupList)
    def update_list(self, request: Request, header: UpdateAndCreateSubscriptionGroupList) -> Result:
        """Make or change several groups, all or none."""
        return self._update(body_of(request, SubscriptionGroupList).group_config_list)

    def _update(self, configs: list[SubscriptionGroupConfig]) -> Result:
        for config in configs:
            fault = names.group_fault(config.group_name)
            if fault:
                raise RequestError(fault, ResponseCode.INVALID_PARAMETER)
        self._groups.update_all(configs)
        return self._groups.saved().addCallback(lambda _: Reply())

    @handles(DeleteSubscriptionGroup)
    def delete(self, request: Request, header: DeleteSubscriptionGroup) -> Result:
        """Delete a group, with its offsets if asked to."""
        self._groups.delete(header.group_name)
        if header.clean_offset or header.remove_offset:
            self._offsets.remove_group(header.group_name)
        return self._groups.saved().addCallback(lambda _: Reply())

    @handles(GetAllSubscriptionGroupConfig)
    def all(self, request: Request, header: GetAllSubscriptionGroupConfig) -> Result:
        """Give the whole table, or a page of it to callers that know pages."""
        groups = self._groups
        page = None
        if self._settings.enable_split_metadata:
            page = page_of(
                groups.table,
                groups.data_version,
                header.group_seq,
                header.data_version,
                header.max_group_num,
                self._settings.split_metadata_size,
            )
        forbidden = groups.forbidden
        if page is not None:
            forbidden = {name: topics for name, topics in forbidden.items() if name in page}
        body = SubscriptionGroupWrapper(
            data_version=groups.data_version,
            subscription_group_table=groups.table if page is None else page,
            forbidden_table=forbidden,
        )
        # Without the total, a caller that knows pages takes the answer for all there is.
        total = None if page is None else len(groups.table)
        return Reply(GetAllSubscriptionGroupConfigReply(total_group_num=total), body=body.encode())

    @handles(GetSubscriptionGroupConfig)
    def one(self, request: Request, header: GetSubscriptionGroupConfig) -> Result:
        """Give one group's settings; as Java, a group that may be made is made by this too."""
        config = self._groups.find(header.group)
        if config is None:
            raise RequestError("No group in this broker", ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST)
        return Reply(body=config.encode())

    @handles(UpdateAndGetGroupForbidden)
    def forbidden(self, request: Request, header: UpdateAndGetGroupForbidden) -> Result:
        """Take a topic away from a group or give it back, or say how it is."""
        group, topic = header.group, header.topic
        if header.readable is not None:
            self._groups.forbid_read(group, topic, not header.readable)
        body = GroupForbidden(group=group, topic=topic, readable=not self._groups.is_read_forbidden(group, topic))
        answer = Reply(remark="", body=body.encode())
        return self._groups.saved().addCallback(lambda _: answer)
