"""Topics as administrators make, change, delete and list them, and as slaves copy them.

A creation is answered once it is on disk and the name servers that can be reached know of it: the next thing that
tools and clients do is to ask a name server for the route.

Source: `AdminBrokerProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqd.protocol.static_mapping import MappingFault
from rmqwire.bodies import (
    CreateTopicListRequestBody,
    TopicConfig,
    TopicConfigAndQueueMapping,
    TopicList,
    TopicQueueMappingDetail,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import (
    DeleteTopicInBroker,
    GetAllTopicConfig,
    GetAllTopicConfigReply,
    GetSystemTopicListFromBroker,
    GetTopicConfig,
    UpdateAndCreateStaticTopic,
    UpdateAndCreateTopic,
    UpdateAndCreateTopicList,
)

from . import names
from .attributes import MESSAGE_TYPE, parse_changes
from .paging import page_of
from .reading import body_of
from .topics import topic_name

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .offsets import ConsumerOffsets
    from .static_table import StaticTable
    from .stats import BrokerStats
    from .topics import TopicTable

_FILTER_TYPES = ("SINGLE_TAG", "MULTI_TAG")


class TopicAdminSettings(msgspec.Struct):
    """The few options that these requests follow; changed at run time by updateBrokerConfig."""

    validate_system_topic_when_update_topic: bool = True
    enable_mixed_message_type: bool = False
    clear_retry_topic_when_delete_topic: bool = True
    enable_split_metadata: bool = True
    split_metadata_size: int = 2000


class TopicAdminHandlers:
    """Serves requests about topics.

    Args:
        topics: The table.
        offsets: Offsets of a deleted topic go with it.
        store: The queues of a deleted topic go with it.
        stats: Its counters too.
        settings: Options.
        static: The static topics.
    """

    def __init__(
        self,
        topics: TopicTable,
        offsets: ConsumerOffsets,
        store: MessageStore,
        stats: BrokerStats,
        settings: TopicAdminSettings,
        static: StaticTable,
    ) -> None:
        self._topics = topics
        self._offsets = offsets
        self._store = store
        self._stats = stats
        self._settings = settings
        self._static = static

    @handles(UpdateAndCreateTopic)
    def update(self, request: Request, header: UpdateAndCreateTopic) -> Result:
        """Make or change one topic."""
        config = _config_of(header)
        config.order, config.attributes = header.order, parse_changes(header.attributes)
        self._check(config)
        return self._update([config])

    @handles(UpdateAndCreateTopicList)
    def update_list(self, request: Request, header: UpdateAndCreateTopicList) -> Result:
        """Make or change several topics, all or none."""
        configs = body_of(request, CreateTopicListRequestBody).topic_config_list
        for config in configs:
            self._check(config)
        return self._update(configs)

    @handles(UpdateAndCreateStaticTopic)
    def update_static(self, request: Request, header: UpdateAndCreateStaticTopic) -> Result:
        """Make or change the part of a static topic that is here: its physical queues and the mapping."""
        detail = body_of(request, TopicQueueMappingDetail)
        config = _config_of(header)
        self._check(config)
        if detail.topic != header.topic:
            raise RequestError(f"The mapping is of topic {detail.topic}, and not of {header.topic}")
        try:
            mapping = self._static.checked(detail, force=bool(header.force))
        except MappingFault as fault:
            raise RequestError(str(fault)) from fault
        self._topics.update(config)
        self._static.put(mapping)  # in the same turn: name servers are told of both at once
        return self._static.saved().addCallback(lambda _: self._topics.settled()).addCallback(lambda _: Reply())

    def _update(self, configs: list[TopicConfig]) -> Result:
        # Java answers a list in which one topic is unchanged without making the others; here they are made.
        changed = [config for config in configs if config != self._topics.get(topic_name(config))]
        if not changed:
            return Reply()
        self._topics.update_all(changed)
        return self._topics.settled().addCallback(lambda _: Reply())

    def _check(self, config: TopicConfig) -> None:
        if config.topic_filter_type not in _FILTER_TYPES:
            raise RequestError(f"topicFilterType = [{config.topic_filter_type}] value invalid")
        fault = names.topic_fault(config.topic_name)
        if fault:
            raise RequestError(fault, ResponseCode.INVALID_PARAMETER)
        self._check_not_system(topic_name(config))
        mixed = config.attributes.get(f"+{MESSAGE_TYPE}") == "MIXED"
        if mixed and not self._settings.enable_mixed_message_type:
            raise RequestError("MIXED message type is not supported.", ResponseCode.INVALID_PARAMETER)

    def _check_not_system(self, topic: str) -> None:
        if self._settings.validate_system_topic_when_update_topic and self._topics.is_system(topic):
            raise RequestError(f"The topic[{topic}] is conflict with system topic.", ResponseCode.INVALID_PARAMETER)

    @handles(DeleteTopicInBroker)
    def delete(self, request: Request, header: DeleteTopicInBroker) -> Result:
        """Delete a topic with its queues and offsets, and the retry topics that pop made of it."""
        topic = header.topic
        if not topic.strip():
            raise RequestError("The specified topic is blank.", ResponseCode.INVALID_PARAMETER)
        self._check_not_system(topic)
        doomed = [topic]
        if self._settings.clear_retry_topic_when_delete_topic:
            for group in self._offsets.groups_of(topic):
                doomed += [each for each in names.pop_retry_topics(topic, group) if self._topics.get(each) is not None]
        for each in doomed:
            self._topics.delete(each)
            self._static.delete(each)
            self._offsets.remove_topic(each)
            self._store.destroy_topic(each)
            self._stats.forget_topic(each)
        return self._static.saved().addCallback(lambda _: self._topics.saved()).addCallback(lambda _: Reply())

    @handles(GetAllTopicConfig)
    def all(self, request: Request, header: GetAllTopicConfig) -> Result:
        """Give the whole table, or a page of it to callers that know pages."""
        topics = self._topics
        page = None
        if self._settings.enable_split_metadata:
            page = page_of(
                topics.table,
                topics.data_version,
                header.topic_seq,
                header.data_version,
                header.max_topic_num,
                self._settings.split_metadata_size,
            )
        body = (
            b'{"dataVersion":%b,"mappingDataVersion":%b,"topicConfigTable":%b,'
            b'"topicQueueMappingDetailMap":%b,"topicQueueMappingInfoMap":{}}'
        ) % (
            topics.data_version.encode(),
            self._static.data_version.encode(),
            msgspec.json.encode(topics.table if page is None else page, order="sorted"),
            self._static.details(page),
        )
        # Without the total, a caller that knows pages takes the answer for all there is.
        return Reply(GetAllTopicConfigReply(total_topic_num=None if page is None else len(topics.table)), body=body)

    @handles(GetTopicConfig)
    def one(self, request: Request, header: GetTopicConfig) -> Result:
        """Give one topic's settings."""
        config = self._topics.get(header.topic)
        if config is None:
            raise RequestError(f"No topic in this broker. topic: {header.topic}", ResponseCode.TOPIC_NOT_EXIST)
        detail = self._static.get(header.topic) if header.logical else None
        if detail is None:
            return Reply(body=config.encode())
        return Reply(
            body=TopicConfigAndQueueMapping(
                **{name: getattr(config, name) for name in TopicConfig.__struct_fields__}, mapping_detail=detail
            ).encode()
        )

    @handles(GetSystemTopicListFromBroker)
    def system_topics(self, request: Request, header: GetSystemTopicListFromBroker) -> Result:
        """List the topics that the broker itself uses."""
        return Reply(body=TopicList(topic_list=sorted(self._topics.system_topics)).encode())


def _config_of(header: UpdateAndCreateTopic | UpdateAndCreateStaticTopic) -> TopicConfig:
    """Give what a request asks for, as far as topics of either kind take it."""
    return TopicConfig(
        topic_name=header.topic,
        read_queue_nums=header.read_queue_nums,
        write_queue_nums=header.write_queue_nums,
        topic_filter_type=header.topic_filter_type,
        perm=header.perm,
        topic_sys_flag=header.topic_sys_flag or 0,
    )
