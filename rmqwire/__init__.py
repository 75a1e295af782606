"""The RocketMQ remoting codec: bytes in, values out; no sockets, no clocks, no threads."""
