"""Requests about routes, topics and clusters: what clients and admin tools ask a name server.

Source: `ClientRequestProcessor`, `DefaultRequestProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import (
    BrokerMemberGroup,
    ClusterInfo,
    GetBrokerMemberGroupResponseBody,
    TopicList,
    TopicRouteData,
)
from rmqwire.codes import ResponseCode, Version
from rmqwire.errors import MalformedBody, RequestError
from rmqwire.requests.register import GetBrokerMemberGroup
from rmqwire.requests.route import (
    AddWritePermOfBroker,
    AddWritePermOfBrokerReply,
    DeleteTopicInNamesrv,
    GetAllTopicListFromNameserver,
    GetBrokerClusterInfo,
    GetHasUnitSubTopicList,
    GetHasUnitSubUnunitTopicList,
    GetRouteInfoByTopic,
    GetSystemTopicListFromNs,
    GetTopicsByCluster,
    GetUnitTopicList,
    RegisterTopicInNamesrv,
    WipeWritePermOfBroker,
    WipeWritePermOfBrokerReply,
)

from .answers import broker_data_of

if TYPE_CHECKING:
    from rmqd.conf import NamesrvConfig
    from rmqd.protocol.dispatch import Request

    from .answers import RouteAnswers
    from .routes import RouteTables

_log = Logger()

FLAG_UNIT = 1
FLAG_UNIT_SUB = 2

_FAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."


class RouteHandlers:
    """Serves routes.

    Args:
        tables: What is known.
        answers: Gives routes as JSON.
        options: Switches, looked at per request.
        up_for_s: How long the name server has been serving.
    """

    def __init__(
        self, tables: RouteTables, answers: RouteAnswers, options: NamesrvConfig, up_for_s: Callable[[], float]
    ) -> None:
        self._tables = tables
        self._answers = answers
        self._options = options
        self._up_for_s = up_for_s

    @handles(GetRouteInfoByTopic)
    def route(self, request: Request, header: GetRouteInfoByTopic) -> Reply:
        """Give the brokers and queues of a topic."""
        options = self._options
        if options.need_wait_for_service and self._up_for_s() < options.wait_seconds_for_service:
            raise RequestError("name server not ready")
        body = self._answers.route_json(
            header.topic,
            quoted_keys=bool(header.accept_standard_json_only) or request.version >= Version.V4_9_4,
            zone_name=(header.zone_name or "").strip() or None if header.zone_mode else None,
        )
        if body is None:
            remark = f"No topic route info in name server for the topic: {header.topic}{_FAQ}"
            return Reply(code=ResponseCode.TOPIC_NOT_EXIST, remark=remark)
        return Reply(body=body)

    @handles(GetBrokerClusterInfo)
    def cluster_info(self, request: Request, header: GetBrokerClusterInfo) -> Reply:
        """Give all brokers and the clusters they are in."""
        tables = self._tables
        info = ClusterInfo(
            broker_addr_table={name: broker_data_of(group) for name, group in tables.brokers.items()},
            cluster_addr_table={cluster: sorted(names) for cluster, names in tables.clusters.items()},
        )
        return Reply(body=info.encode())

    @handles(GetBrokerMemberGroup)
    def member_group(self, request: Request, header: GetBrokerMemberGroup) -> Reply:
        """Give the master and slaves of one name; none when it is unknown."""
        group = self._tables.brokers.get(header.broker_name)
        members = BrokerMemberGroup(
            cluster=header.cluster_name,
            broker_name=header.broker_name,
            broker_addrs={} if group is None else dict(sorted(group.addresses.items())),
        )
        return Reply(body=GetBrokerMemberGroupResponseBody(broker_member_group=members).encode())

    @handles(GetAllTopicListFromNameserver)
    def all_topics(self, request: Request, header: GetAllTopicListFromNameserver) -> Reply:
        """Give the names of all topics."""
        if not self._options.enable_all_topic_list:
            raise RequestError("disable")
        return _topic_list(list(self._tables.topics))

    @handles(GetTopicsByCluster)
    def cluster_topics(self, request: Request, header: GetTopicsByCluster) -> Reply:
        """Give the topics that brokers of a cluster hold."""
        self._check_topic_list()
        return _topic_list(self._tables.topics_of_cluster(header.cluster))

    @handles(GetSystemTopicListFromNs)
    def system_topics(self, request: Request, header: GetSystemTopicListFromNs) -> Reply:
        """Give the topics named like clusters and brokers, and the address of any broker."""
        tables = self._tables
        names: list[str] = []
        for cluster, brokers in tables.clusters.items():
            names += [cluster, *sorted(brokers)]
        address = next((of for group in tables.brokers.values() for of in group.addresses.values()), None)
        return Reply(body=TopicList(topic_list=names, broker_addr=address).encode())

    @handles(GetUnitTopicList)
    def unit_topics(self, request: Request, header: GetUnitTopicList) -> Reply:
        """Give the topics with the unit flag."""
        self._check_topic_list()
        return _topic_list(self._tables.topics_by_flag(lambda flag: bool(flag & FLAG_UNIT)))

    @handles(GetHasUnitSubTopicList)
    def unit_sub_topics(self, request: Request, header: GetHasUnitSubTopicList) -> Reply:
        """Give the topics that units subscribe to."""
        self._check_topic_list()
        return _topic_list(self._tables.topics_by_flag(lambda flag: bool(flag & FLAG_UNIT_SUB)))

    @handles(GetHasUnitSubUnunitTopicList)
    def unit_sub_not_unit_topics(self, request: Request, header: GetHasUnitSubUnunitTopicList) -> Reply:
        """Give the topics that units subscribe to and that are in none."""
        self._check_topic_list()
        wanted = FLAG_UNIT | FLAG_UNIT_SUB
        return _topic_list(self._tables.topics_by_flag(lambda flag: flag & wanted == FLAG_UNIT_SUB))

    @handles(WipeWritePermOfBroker)
    def wipe_write_perm(self, request: Request, header: WipeWritePermOfBroker) -> Reply:
        """Let no client send to a broker any more; it serves readers on."""
        count = self._tables.wipe_write_perm(header.broker_name)
        _log.info("{peer} wiped {name}: {count} topics", peer=_peer(request), name=header.broker_name, count=count)
        return Reply(WipeWritePermOfBrokerReply(wipe_topic_count=count))

    @handles(AddWritePermOfBroker)
    def add_write_perm(self, request: Request, header: AddWritePermOfBroker) -> Reply:
        """Let clients send to a broker again."""
        count = self._tables.add_write_perm(header.broker_name)
        _log.info("{peer} unwiped {name}: {count} topics", peer=_peer(request), name=header.broker_name, count=count)
        return Reply(AddWritePermOfBrokerReply(add_topic_count=count))

    @handles(DeleteTopicInNamesrv)
    def delete_topic(self, request: Request, header: DeleteTopicInNamesrv) -> Reply:
        """Forget a topic's route; a broker that still has it brings it back when it registers."""
        _log.info("{peer} deletes topic {topic}", peer=_peer(request), topic=header.topic)
        self._tables.delete_topic(header.topic, header.cluster_name or None)
        return Reply()

    @handles(RegisterTopicInNamesrv)
    def register_topic(self, request: Request, header: RegisterTopicInNamesrv) -> Reply:
        """Add the queues of one topic; as Java, success also when a broker is unknown and nothing was added."""
        if request.body:
            try:
                route = TopicRouteData.decode(request.body)
            except MalformedBody as cause:
                raise RequestError(str(cause)) from cause
            self._tables.register_topic(header.topic, route.queue_datas)
        return Reply()

    def _check_topic_list(self) -> None:
        if not self._options.enable_topic_list:
            raise RequestError("disable")


def _topic_list(topics: list[str]) -> Reply:
    return Reply(body=TopicList(topic_list=topics).encode())


def _peer(request: Request) -> str:
    return request.connection.peer
