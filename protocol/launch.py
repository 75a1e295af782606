"""Run services on the reactor until a signal comes; the other half of `commands`.

The only module besides the services that takes the global reactor. Every error at start becomes one line on standard
error and an exit code: 2 for configuration, 1 for the rest.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from rmqd.conf import ConfError, load_broker_options, load_namesrv_options
from rmqd.conf.show import show_options
from rmqd.store.errors import StoreError

from .logs import default_log_dir, say, start_logging

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions, NamesrvOptions
    from rmqd.protocol.broker.service import Broker
    from rmqd.protocol.namesrv.service import NameServer

EXIT_CONF = 2
EXIT_START = 1
_ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104  compared, not bound

_log = Logger()


def run_namesrv(config_file: Path | None, print_all: bool, log_dir: Path | None) -> None:
    """Run a name server until SIGTERM or SIGINT."""
    options = _options(lambda: load_namesrv_options(config_file))
    if print_all:
        say(show_options(options).rstrip("\n"))
        return
    _begin_log("namesrv", log_dir, options.notices)

    async def start() -> list[Callable[[], Awaitable[None]]]:
        server = _new_name_server(options)
        await server.start()
        say(f"The Name Server boot success. serializeType=JSON, address {options.server.bind_address}:{server.port}")
        return [server.stop]

    _run(start)


def run_broker(
    namesrv_addr: str | None, config_file: Path | None, print_all: bool, print_important: bool, log_dir: Path | None
) -> None:
    """Run a broker until SIGTERM or SIGINT."""
    overrides = {"namesrvAddr": namesrv_addr} if namesrv_addr else {}
    options = _options(lambda: load_broker_options(config_file, overrides))
    if print_all or print_important:
        say(show_options(options, important_only=print_important).rstrip("\n"))
        return
    _begin_log("broker", log_dir, options.notices)

    async def start() -> list[Callable[[], Awaitable[None]]]:
        broker = _new_broker(options)
        await broker.start()
        _say_broker(broker)
        return [broker.stop]

    _run(start)


def run_up(
    data: Path,
    namesrv_port: int,
    port: int,
    bind: str | None,
    address: str | None,
    config_file: Path | None,
    log_dir: Path | None,
) -> None:
    """Run a name server and a broker in one process until SIGTERM or SIGINT."""
    overrides = {"storePathRootDir": str(data / "store"), "listenPort": str(port)}
    if bind is not None:
        overrides["bindAddress"] = bind
    if address is not None:
        overrides["brokerIP1"] = overrides["brokerIP2"] = address
    options = _options(lambda: load_broker_options(config_file, overrides))
    if bind is not None and bind not in _ALL_INTERFACES and not options.source.keys() & {"brokerIP1", "brokerIP2"}:
        options.broker.broker_ip1 = options.broker.broker_ip2 = bind  # nobody reaches the broker by another one
    names: dict[str, str] = {
        "listenPort": str(namesrv_port),
        "kvConfigPath": str(data / "namesrv" / "kvConfig.json"),
        "configStorePath": str(data / "namesrv" / "namesrv.properties"),
    }
    if bind is not None:
        names["bindAddress"] = bind
    name_options = _options(lambda: load_namesrv_options(None, names))
    _begin_log("broker", log_dir, options.notices)

    async def start() -> list[Callable[[], Awaitable[None]]]:
        server = _new_name_server(name_options)
        await server.start()
        local = "127.0.0.1" if bind is None or bind in _ALL_INTERFACES else bind
        local = f"[{local}]" if ":" in local else local
        configured = options.broker.namesrv_addr
        options.broker.namesrv_addr = ";".join(filter(None, (f"{local}:{server.port}", configured)))
        broker = _new_broker(options)
        try:
            await broker.start()
        except BaseException:
            await server.stop()
            raise
        say(f"The Name Server boot success. serializeType=JSON, address {local}:{server.port}")
        _say_broker(broker)
        say(
            f"Ready. Try the official quickstart with NAMESRV_ADDR={local}:{server.port}, for example\n"
            f"  export NAMESRV_ADDR={local}:{server.port}\n"
            "  sh bin/tools.sh org.apache.rocketmq.example.quickstart.Producer\n"
            "  sh bin/tools.sh org.apache.rocketmq.example.quickstart.Consumer\n"
            f"from any RocketMQ distribution. Data in {data}, stop with Ctrl-C."
        )
        return [broker.stop, server.stop]

    _run(start)


def _say_broker(broker: Broker) -> None:
    servers = broker.options.broker.namesrv_addr
    tail = f" and name server is {servers}" if servers else ""
    say(f"The broker[{broker.name}, {broker.address}] boot success. serializeType=JSON{tail}")


def _new_name_server(options: NamesrvOptions) -> NameServer:
    from rmqd.protocol.namesrv.service import NameServer

    return NameServer(options)


def _new_broker(options: BrokerOptions) -> Broker:
    from rmqd.protocol.broker.service import Broker

    return Broker(options)


def _options(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ConfError as wrong:
        _die(str(wrong), EXIT_CONF)


def _begin_log(name: str, log_dir: Path | None, notices: list[str]) -> None:
    directory = log_dir if log_dir is not None else default_log_dir()
    try:
        start_logging(name, directory)
    except OSError as cause:
        _die(f"cannot write the log folder {directory}: {cause.strerror}", EXIT_START)
    for notice in notices:
        sys.stderr.write(notice + "\n")
        _log.warn("{notice}", notice=notice)


def _run(start: Callable[[], Awaitable[list[Callable[[], Awaitable[None]]]]]) -> None:
    """Start services, run the reactor, stop them in order when it is asked to end."""
    from twisted.internet import reactor

    stops: list[Callable[[], Awaitable[None]]] = []
    failed: list[tuple[str, int]] = []

    async def begin() -> None:
        try:
            stops.extend(await start())
            _settle_memory()
        except CannotListenError as cause:
            reason = getattr(cause.socketError, "strerror", None) or cause.socketError
            failed.append((f"cannot listen on {cause.interface or '*'}:{cause.port}: {reason}", EXIT_START))
        except (StoreError, OSError) as cause:
            failed.append((str(cause), EXIT_START))
        except ConfError as wrong:
            failed.append((str(wrong), EXIT_CONF))
        except Exception as cause:
            _log.failure("start failed")
            failed.append((f"start failed: {type(cause).__name__}: {cause}", EXIT_START))
        if failed:
            reactor.stop()

    async def end() -> None:
        for stop in stops:
            try:
                await stop()
            except Exception as cause:
                _log.failure("stop failed")
                failed.append((f"stop failed: {type(cause).__name__}: {cause}", EXIT_START))

    def when_running() -> None:
        Deferred.fromCoroutine(begin())

    reactor.callWhenRunning(when_running)
    reactor.addSystemEventTrigger(
        "before",
        "shutdown",
        lambda: Deferred.fromCoroutine(end()),
    )
    reactor.run()
    if failed:
        _die(*failed[0])


def _settle_memory() -> None:
    """Leave what start-up made out of garbage collections: it stays, and walking it at load costs 20 ms each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _die(text: str, code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    sys.exit(code)
