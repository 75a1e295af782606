"""Options of the network layer, for brokers and name servers alike."""

from __future__ import annotations

from rmqd.conf.option import Computed, OptionGroup, boolean, int32, int64, text


class NettyServerConfig(OptionGroup):
    """The side that listens, of brokers and name servers."""

    JAVA_CLASS = "org.apache.rocketmq.remoting.netty.NettyServerConfig"

    bind_address = text("0.0.0.0", "Address that is listened on.", acted=True)  # noqa: S104 (the official default)
    listen_port = int32(
        Computed("broker 10911, name server 9876", lambda _: 0),
        "",
        "Port that is listened on; 10911 for a broker and 9876 for a name server unless set. 0 takes a free one.",
        acted=True,
        low=0,
        high=65_535,
    )
    server_worker_threads = int32(8, "threads", "Threads of the codec.")
    server_callback_executor_threads = int32(0, "threads", "Threads of answers.")
    server_selector_threads = int32(3, "threads", "Threads of sockets.")
    server_oneway_semaphore_value = int32(256, "requests", "Most requests without answer that are on their way out.")
    server_async_semaphore_value = int32(64, "requests", "Most requests with answer that are on their way out.")
    server_channel_max_idle_time_seconds = int32(
        120, "s", "Close a connection that is silent for so long.", low=0, acted=True
    )
    server_socket_snd_buf_size = int32(
        0, "bytes", "Send buffer of a socket; 0 leaves it to the system.", low=0, acted=True
    )
    server_socket_rcv_buf_size = int32(
        0, "bytes", "Receive buffer of a socket; 0 leaves it to the system.", low=0, acted=True
    )
    write_buffer_high_water_mark = int32(0, "bytes", "Stop writing to a peer when so much waits; 0 is never.", low=0)
    write_buffer_low_water_mark = int32(0, "bytes", "Go on when only so much waits.", low=0)
    server_socket_backlog = int32(1024, "connections", "Most connections that wait to be accepted.", low=1, acted=True)
    server_netty_worker_group_enable = boolean(True, "Run the codec in threads of its own.")
    server_pooled_byte_buf_allocator_enable = boolean(True, "Pool buffers.")
    enable_shutdown_gracefully = boolean(False, "Tell clients before the server goes down.")
    shutdown_wait_time_seconds = int32(30, "s", "How long before.")
    use_epoll_native_selector = boolean(False, "Use epoll by native code.")


class NettyClientConfig(OptionGroup):
    """The side that connects: a broker to name servers and to other brokers."""

    JAVA_CLASS = "org.apache.rocketmq.remoting.netty.NettyClientConfig"

    client_worker_threads = int32(4, "threads", "Threads of the codec.")
    client_callback_executor_threads = int32(
        Computed("CPUs", lambda machine: machine.cpu_count), "threads", "Threads of answers."
    )
    client_oneway_semaphore_value = int32(65_535, "requests", "Most requests without answer that are on their way.")
    client_async_semaphore_value = int32(65_535, "requests", "Most requests with answer that are on their way.")
    connect_timeout_millis = int32(3000, "ms", "Longest wait for a connection.", low=1, acted=True)
    channel_not_active_interval = int64(
        60_000, "ms", "A connection that was not used for so long is not taken for alive."
    )
    scan_available_name_srv = boolean(
        True, "Look from time to time which name servers can be reached.", printed_key="isScanAvailableNameSrv"
    )
    client_channel_max_idle_time_seconds = int32(
        120, "s", "Close a connection that is silent for so long.", low=0, acted=True
    )
    client_socket_snd_buf_size = int32(
        0, "bytes", "Send buffer of a socket; 0 leaves it to the system.", low=0, acted=True
    )
    client_socket_rcv_buf_size = int32(
        0, "bytes", "Receive buffer of a socket; 0 leaves it to the system.", low=0, acted=True
    )
    client_pooled_byte_buf_allocator_enable = boolean(False, "Pool buffers.")
    client_close_socket_if_timeout = boolean(True, "Close a connection on which an answer is overdue.", acted=True)
    use_tls = boolean(False, "Encrypt connections.", key="useTLS")
    socks_proxy_config = text("{}", "SOCKS proxies by address, as JSON.")
    write_buffer_high_water_mark = int32(0, "bytes", "Stop writing to a peer when so much waits; 0 is never.", low=0)
    write_buffer_low_water_mark = int32(0, "bytes", "Go on when only so much waits.", low=0)
    disable_callback_executor = boolean(False, "Handle answers in the threads of the codec.")
    disable_netty_worker_group = boolean(False, "Run the codec in the threads of sockets.")
    max_reconnect_interval_time_seconds = int64(60, "s", "Never read by 5.5.")
    enable_reconnect_for_go_away = boolean(True, "Connect anew when a server says that it goes down.")
