"""Run services on the reactor until a signal comes; the other half of `commands`.

The only module besides the services that takes the global reactor. Every error at start becomes one line on standard
error and an exit code: 2 for configuration, 1 for the rest.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.logger import Logger

from rmqd.conf import ConfError, load_broker_options, load_namesrv_options
from rmqd.store.errors import StoreError
from rmqwire import speed

from .eventloop import install_reactor
from .logs import default_log_dir, say, start_logging
from .siblings import NotStarted, Siblings, command_line, names

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions, NamesrvOptions
    from rmqd.protocol.broker.service import Broker
    from rmqd.protocol.namesrv.service import NameServer

EXIT_CONF = 2
EXIT_START = 1
START_ENDS_S = 5.0
"""A start that is under way when the process is asked to end is given up after that."""
SETTLE_S = 1.0
"""Time from a start to the collection of what it left: whoever waited for the start is served first."""

_ALL_INTERFACES = ("0.0.0.0", "::")  # noqa: S104  compared, not bound

_FREED_KEPT_BYTES = 16 * 1024 * 1024

Stop = Callable[[], Awaitable[None]]
End = Callable[["str | None"], None]
"""Ends everything: with None in order, with a reason as a failure."""

_log = Logger()


def run_namesrv(config_file: Path | None, print_all: bool, log_dir: Path | None) -> None:
    """Run a name server until SIGTERM or SIGINT."""
    options = _options(lambda: load_namesrv_options(config_file))
    if print_all:
        _say_options(options)
        return
    _begin_log("namesrv", log_dir, options.notices)

    async def start(_end: End) -> list[Stop]:
        server = _new_name_server(options)
        await server.start()
        say(f"The Name Server boot success. serializeType=JSON, address {options.server.bind_address}:{server.port}")
        return [server.stop]

    _run(start)


def run_broker(
    overrides: dict[str, str],
    config_file: Path | None,
    print_all: bool,
    print_important: bool,
    log_dir: Path | None,
    *,
    end_with_input: bool = False,
) -> None:
    """Run a broker until SIGTERM or SIGINT, or until standard input is closed when that is asked for."""
    options = _options(lambda: load_broker_options(config_file, overrides))
    if print_all or print_important:
        _say_options(options, important_only=print_important)
        return
    _begin_log("broker", log_dir, options.notices)

    async def start(end: End) -> list[Stop]:
        broker = _new_broker(options)
        await broker.start()
        if end_with_input:
            _when_input_ends(end)
        _say_broker(broker)
        return [broker.stop]

    _run(start)


class UpOptions(msgspec.Struct, frozen=True):
    """What `rmqd up` was given.

    Attributes:
        data: Folder of all files.
        namesrv_port, port: Listen ports, 0 for any.
        bind: Interface, None for all.
        address: `brokerIP1`, None for this machine's.
        brokers: Broker processes; the first one is this process.
        settings: Broker options by their official keys.
        config_file: Properties file of the brokers.
        log_dir: Folder of the logs.
    """

    data: Path
    namesrv_port: int
    port: int
    bind: str | None
    address: str | None
    brokers: int
    settings: dict[str, str]
    config_file: Path | None
    log_dir: Path | None


def run_up(up: UpOptions) -> None:
    """Run a name server and brokers, one of them in this process, until SIGTERM or SIGINT."""
    options = _options(lambda: _up_broker(up))
    others = _options(lambda: names(options, up.brokers)) if up.brokers > 1 else []
    if others:
        options.broker.broker_name = others.pop(0)
    name_keys: dict[str, str] = {
        "listenPort": str(up.namesrv_port),
        "kvConfigPath": str(up.data / "namesrv" / "kvConfig.json"),
        "configStorePath": str(up.data / "namesrv" / "namesrv.properties"),
    }
    if up.bind is not None:
        name_keys["bindAddress"] = up.bind
    name_options = _options(lambda: load_namesrv_options(None, name_keys))
    _begin_log("broker", up.log_dir, options.notices)

    async def start(end: End) -> list[Stop]:
        server = _new_name_server(name_options)
        await server.start()
        stops: list[Stop] = [server.stop]
        local = "127.0.0.1" if up.bind is None or up.bind in _ALL_INTERFACES else up.bind
        local = f"[{local}]" if ":" in local else local
        namesrv = ";".join(filter(None, (f"{local}:{server.port}", options.broker.namesrv_addr)))
        options.broker.namesrv_addr = namesrv
        try:
            broker = _new_broker(options)
            await broker.start()
            stops.insert(0, broker.stop)
            lines = await _start_siblings(up, options, others, namesrv, end, stops)
        except BaseException:
            for stop in stops:
                await stop()
            raise
        say(f"The Name Server boot success. serializeType=JSON, address {local}:{server.port}")
        _say_broker(broker)
        for line in lines:
            say(line)
        say(
            f"Ready. Try the official quickstart with NAMESRV_ADDR={local}:{server.port}, for example\n"
            f"  export NAMESRV_ADDR={local}:{server.port}\n"
            "  sh bin/tools.sh org.apache.rocketmq.example.quickstart.Producer\n"
            "  sh bin/tools.sh org.apache.rocketmq.example.quickstart.Consumer\n"
            f"from any RocketMQ distribution. Data in {up.data}, stop with Ctrl-C."
        )
        return stops

    _run(start)


def _up_broker(up: UpOptions) -> BrokerOptions:
    overrides = {**up.settings, "storePathRootDir": str(up.data / "store"), "listenPort": str(up.port)}
    if up.bind is not None:
        overrides["bindAddress"] = up.bind
    if up.address is not None:
        overrides["brokerIP1"] = overrides["brokerIP2"] = up.address
    options = load_broker_options(up.config_file, overrides)
    if (
        up.bind is not None
        and up.bind not in _ALL_INTERFACES
        and not options.source.keys() & {"brokerIP1", "brokerIP2"}
    ):
        options.broker.broker_ip1 = options.broker.broker_ip2 = up.bind  # nobody reaches the broker by another one
    return options


async def _start_siblings(
    up: UpOptions, options: BrokerOptions, others: list[str], namesrv: str, end: End, stops: list[Stop]
) -> list[str]:
    if not others:
        return []
    from twisted.internet import reactor

    def ended(name: str, status: int) -> None:
        end(f"broker process {name} has ended with {status}" if status else None)

    address = up.address
    if address is None and options.broker.broker_ip1 == up.bind:
        address = up.bind
    siblings = Siblings(reactor, ended)
    lines = await siblings.start(
        {
            name: command_line(
                name, number, up.data, namesrv, up.port, up.bind, address, up.settings, up.config_file, up.log_dir
            )
            for number, name in enumerate(others, 1)
        }
    )
    stops.insert(0, siblings.stop)
    return lines


def _when_input_ends(end: End) -> None:
    from twisted.internet.protocol import Protocol
    from twisted.internet.stdio import StandardIO

    class Input(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            end(None)

    StandardIO(Input())  # type: ignore[no-untyped-call]


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


def _say_options(options: Any, *, important_only: bool = False) -> None:
    from rmqd.conf.show import show_options  # a start does without it

    say(show_options(options, important_only=important_only).rstrip("\n"))


def _begin_log(name: str, log_dir: Path | None, notices: list[str]) -> None:
    install_reactor()
    directory = log_dir if log_dir is not None else default_log_dir()
    try:
        start_logging(name, directory)
    except OSError as cause:
        _die(f"cannot write the log folder {directory}: {cause.strerror}", EXIT_START)
    for notice in notices:
        sys.stderr.write(notice + "\n")
        _log.warn("{notice}", notice=notice)


def _run(start: Callable[[End], Awaitable[list[Stop]]]) -> None:
    """Start services, run the reactor, stop them in order when it is asked to end."""
    from twisted.internet import reactor

    life = _Life(reactor, start)
    reactor.callWhenRunning(life.begin)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(life.end()))
    reactor.run()
    if life.failed:
        _die(*life.failed[0])


class _Life:
    """Services from their start to their end.

    Attributes:
        failed: Why they could not start, run or stop, each with the exit code.
    """

    def __init__(self, reactor: Any, start: Callable[[End], Awaitable[list[Stop]]]) -> None:
        self._reactor = reactor
        self._start = start
        self._starting: Deferred[None] | None = None
        self._stops: list[Stop] = []
        self._ending = False
        self.failed: list[tuple[str, int]] = []

    def begin(self) -> None:
        """Start."""
        self._starting = Deferred.fromCoroutine(self._begin())

    async def _begin(self) -> None:
        try:
            self._stops = await self._start(self.end_now)
            self._reactor.callLater(SETTLE_S, _settle_memory)
        except Exception as cause:
            if self._ending:
                _log.info("the start was given up: {cause}", cause=cause)
                return
            self.failed.append(_why_not_started(cause))
            self._stop_reactor()

    def end_now(self, why: str | None) -> None:
        """End everything: with None in order, with a reason as a failure."""
        if self._ending:  # what ends now was asked to
            return
        if why is not None:
            self.failed.append((why, EXIT_START))
        self._stop_reactor()

    def _stop_reactor(self) -> None:
        with suppress(ReactorNotRunning):  # a signal came first
            self._reactor.stop()

    async def end(self) -> None:
        """Stop what has started."""
        self._ending = True
        # Asked to end while starting: what has started in full can be stopped in order, so that gets some time.
        if self._starting is not None:
            given_up = self._reactor.callLater(START_ENDS_S, self._starting.cancel)
            await self._starting
            if given_up.active():
                given_up.cancel()
        for stop in self._stops:
            try:
                await stop()
            except Exception as cause:
                _log.failure("stop failed")
                self.failed.append((f"stop failed: {type(cause).__name__}: {cause}", EXIT_START))


def _why_not_started(cause: Exception) -> tuple[str, int]:
    """Say it in one line, with the exit code."""
    if isinstance(cause, CannotListenError):
        reason = getattr(cause.socketError, "strerror", None) or cause.socketError
        return f"cannot listen on {cause.interface or '*'}:{cause.port}: {reason}", EXIT_START
    if isinstance(cause, (StoreError, OSError, NotStarted)):
        return str(cause), EXIT_START
    if isinstance(cause, ConfError):
        return str(cause), EXIT_CONF
    _log.error("start failed: {trace}", trace="".join(traceback.format_exception(cause)))
    return f"start failed: {type(cause).__name__}: {cause}", EXIT_START


def _settle_memory() -> None:
    """Leave what start-up made out of garbage collections, and keep memory that is needed again at once.

    What start-up made stays, and walking it at load costs 20 ms each time. The memory of large messages would go back
    to the system after every turn, and come from there page by page in the next one.
    """
    gc.collect()
    gc.freeze()
    if speed.keep_freed is not None:
        speed.keep_freed(_FREED_KEPT_BYTES)


def _die(text: str, code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    sys.exit(code)
