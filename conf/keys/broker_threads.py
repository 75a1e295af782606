"""Thread pools of the Java broker, the queues before them, and their patience: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.option import Computed, OptionGroup, boolean, int32, int64


class BrokerThreads(OptionGroup):
    """Thread pools of the Java broker and the queues before them; and how long a request may wait."""

    send_message_thread_pool_nums = int32(
        Computed("min(CPUs, 4)", lambda machine: min(machine.cpu_count, 4)), "threads", "Threads that take messages."
    )
    put_message_future_thread_pool_nums = int32(
        Computed("min(CPUs, 4)", lambda machine: min(machine.cpu_count, 4)),
        "threads",
        "Threads that answer a send once it is on disk.",
    )
    pull_message_thread_pool_nums = int32(
        Computed("16 + 2 * CPUs", lambda machine: 16 + 2 * machine.cpu_count), "threads", "Threads that serve pulls."
    )
    lite_pull_message_thread_pool_nums = int32(
        Computed("16 + 2 * CPUs", lambda machine: 16 + 2 * machine.cpu_count),
        "threads",
        "Threads that serve pulls of lite consumers.",
    )
    ack_message_thread_pool_nums = int32(16, "threads", "Threads that take acknowledgements of pop consumers.")
    process_reply_message_thread_pool_nums = int32(
        Computed("16 + 2 * CPUs", lambda machine: 16 + 2 * machine.cpu_count),
        "threads",
        "Threads that take reply messages.",
    )
    query_message_thread_pool_nums = int32(
        Computed("8 + CPUs", lambda machine: 8 + machine.cpu_count), "threads", "Threads that look messages up by key."
    )
    admin_broker_thread_pool_nums = int32(16, "threads", "Threads that serve administration.")
    client_manage_thread_pool_nums = int32(32, "threads", "Threads that serve heartbeats and checks of clients.")
    consumer_manage_thread_pool_nums = int32(32, "threads", "Threads that serve consumer lists and offsets.")
    load_balance_processor_thread_pool_nums = int32(32, "threads", "Threads that assign queues to consumers.")
    heartbeat_thread_pool_nums = int32(
        Computed("min(32, CPUs)", lambda machine: min(32, machine.cpu_count)),
        "threads",
        "Threads that take heartbeats.",
    )
    recover_thread_pool_nums = int32(32, "threads", "Threads of a concurrent recovery.")
    end_transaction_thread_pool_nums = int32(
        Computed("8 + 2 * CPUs", lambda machine: 8 + 2 * machine.cpu_count), "threads", "Threads that end transactions."
    )
    send_thread_pool_queue_capacity = int32(10_000, "requests", "Most sends that wait.", acted=True)
    put_thread_pool_queue_capacity = int32(10_000, "requests", "Most answers to sends that wait.")
    pull_thread_pool_queue_capacity = int32(100_000, "requests", "Most pulls that wait.", acted=True)
    lite_pull_thread_pool_queue_capacity = int32(
        100_000, "requests", "Most pulls of lite consumers that wait.", acted=True
    )
    ack_thread_pool_queue_capacity = int32(100_000, "requests", "Most acknowledgements that wait.", acted=True)
    reply_thread_pool_queue_capacity = int32(10_000, "requests", "Most reply messages that wait.")
    query_thread_pool_queue_capacity = int32(20_000, "requests", "Most look-ups that wait.", acted=True)
    client_manager_thread_pool_queue_capacity = int32(1_000_000, "requests", "Most requests about clients that wait.")
    consumer_manager_thread_pool_queue_capacity = int32(
        1_000_000, "requests", "Most requests about consumers that wait."
    )
    heartbeat_thread_pool_queue_capacity = int32(50_000, "requests", "Most heartbeats that wait.")
    end_transaction_pool_queue_capacity = int32(100_000, "requests", "Most ends of transactions that wait.", acted=True)
    admin_broker_thread_pool_queue_capacity = int32(10_000, "requests", "Most administration requests that wait.")
    load_balance_thread_pool_queue_capacity = int32(100_000, "requests", "Most assignments that wait.")
    recover_concurrently = boolean(False, "Recover the parts of the store in several threads.", important=True)
    broker_fast_failure_enable = boolean(True, "Answer SYSTEM_BUSY to requests that have waited too long.", acted=True)
    wait_time_mills_in_send_queue = int64(200, "ms", "Longest wait of a send.", acted=True)
    wait_time_mills_in_pull_queue = int64(5000, "ms", "Longest wait of a pull.", acted=True)
    wait_time_mills_in_lite_pull_queue = int64(5000, "ms", "Longest wait of a pull of a lite consumer.", acted=True)
    wait_time_mills_in_heartbeat_queue = int64(31_000, "ms", "Longest wait of a heartbeat.", acted=True)
    wait_time_mills_in_transaction_queue = int64(3000, "ms", "Longest wait of an end of a transaction.", acted=True)
    wait_time_mills_in_ack_queue = int64(3000, "ms", "Longest wait of an acknowledgement.", acted=True)
    wait_time_mills_in_admin_broker_queue = int64(5000, "ms", "Longest wait of an administration request.", acted=True)
    async_send_enable = boolean(True, "Let a send wait for the disk without holding a thread.")
    high_speed_mode = boolean(False, "Never read by the official broker either.")
    enable_net_work_flow_control = boolean(False, "Limit the network traffic.")
    enable_fast_channel_event_process = boolean(False, "Handle closed connections of clients in a table by connection.")
    isolate_log_enable = boolean(False, "Write the logs of each broker of a host into a folder of its own.")
