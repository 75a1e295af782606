"""Request codes that exist as constants and that neither the official 5.5.0 nor ours answers with more than 3."""

from __future__ import annotations

from rmqwire.codes import RequestCode

UNSERVED = {
    RequestCode.QUERY_BROKER_OFFSET: "a constant without sender or handler",
    RequestCode.GET_TOPIC_CONFIG_LIST: "a constant without sender or handler",
    RequestCode.GET_TOPIC_NAME_LIST: "a constant without sender or handler",
    RequestCode.TRIGGER_DELETE_FILES: "a constant without sender or handler",
    RequestCode.GET_CLIENT_CONFIG: "a constant without sender or handler",
    RequestCode.SUSPEND_CONSUMER: "a constant without sender or handler",
    RequestCode.RESUME_CONSUMER: "a constant without sender or handler",
    RequestCode.RESET_CONSUMER_OFFSET_IN_CONSUMER: "a constant without sender or handler",
    RequestCode.RESET_CONSUMER_OFFSET_IN_BROKER: "a constant without sender or handler",
    RequestCode.ADJUST_CONSUMER_THREAD_POOL: "a constant without sender or handler",
    RequestCode.WHO_CONSUME_THE_MESSAGE: "a constant without sender or handler",
    RequestCode.REGISTER_FILTER_SERVER: "filter servers of 3.x and 4.x to a broker; gone since 4.9.8",
    RequestCode.REGISTER_MESSAGE_FILTER_CLASS: "clients of 3.x and 4.x to a filter server, never to a broker",
    RequestCode.BROKER_CLOSE_CHANNEL_REQUEST: "an entry of the controller's raft log, never on the wire",
    RequestCode.CHECK_NOT_ACTIVE_BROKER_REQUEST: "an entry of the controller's raft log, never on the wire",
    RequestCode.GET_BROKER_LIVE_INFO_REQUEST: "an entry of the controller's raft log, never on the wire",
    RequestCode.GET_SYNC_STATE_DATA_REQUEST: "an entry of the controller's raft log, never on the wire",
    RequestCode.RAFT_BROKER_HEART_BEAT_EVENT_REQUEST: "an entry of the controller's raft log, never on the wire",
    RequestCode.ACK_LITE_MESSAGE: "a constant; lite messages are acknowledged by 200051",
}
"""Why each code without a declaration has none."""
