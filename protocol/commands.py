"""The commands: `rmqd` (a group) and the official names `mqnamesrv`, `mqbroker`, `mqshutdown`.

Thin: they read options, start services on the reactor, print the official boot lines and turn errors into one clear
line and an exit code. Imports happen inside the commands, since starting fast is a promise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .imports import server_imports

_config = click.option(
    "-c", "--configFile", "config_file", type=click.Path(path_type=Path), help="Properties file of the server."
)
_namesrv_addr = click.option("-n", "--namesrvAddr", "namesrv_addr", help="Name servers, host:port joined by ';'.")
_log_dir = click.option(
    "--log-dir", type=click.Path(path_type=Path), help="Folder of the log files. [default: ~/logs/rocketmqlogs]"
)
_print = click.option("-p", "--printConfigItem", "print_all", is_flag=True, help="Print every option and exit.")


def _settings(_context: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{word!r} is not KEY=VALUE")
        settings[key] = value
    return settings


_set = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_settings,
    metavar="KEY=VALUE",
    help="An option by its official key; wins over the file. May be repeated.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rmqd")
def rmqd() -> None:
    """A RocketMQ-compatible name server and broker."""


@rmqd.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of the store and of the name server's settings.",
)
@click.option(
    "--namesrv-port",
    type=click.IntRange(0, 65535),
    default=9876,
    show_default=True,
    help="Port of the name server, 0 for any.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=10911, show_default=True, help="Port of the broker, 0 for any."
)
@click.option("--bind", default=None, help="Interface to listen on. [default: all]")
@click.option(
    "--address", default=None, help="IP that clients reach the broker by (brokerIP1). [default: this machine's]"
)
@click.option(
    "--brokers",
    type=click.IntRange(1, 26),
    default=1,
    show_default=True,
    help="Broker processes, the first one in this process; listen ports are 20 apart.",
)
@_set
@_config
@_log_dir
def up(
    data: Path,
    namesrv_port: int,
    port: int,
    bind: str | None,
    address: str | None,
    brokers: int,
    settings: dict[str, str],
    config_file: Path | None,
    log_dir: Path | None,
) -> None:
    """Run a name server and a broker in one process."""
    with server_imports():
        from .launch import UpOptions, run_up

    run_up(UpOptions(data, namesrv_port, port, bind, address, brokers, settings, config_file, log_dir))


@rmqd.command("namesrv")
@_config
@_print
@_log_dir
def rmqd_namesrv(config_file: Path | None, print_all: bool, log_dir: Path | None) -> None:
    """Run a name server."""
    with server_imports():
        from .launch import run_namesrv

    run_namesrv(config_file, print_all, log_dir)


@rmqd.command("broker")
@_namesrv_addr
@_config
@_print
@click.option(
    "-m", "--printImportantConfig", "print_important", is_flag=True, help="Print the important options and exit."
)
@_set
@click.option("--end-with-input", is_flag=True, hidden=True, help="End when standard input is closed.")
@_log_dir
def rmqd_broker(
    namesrv_addr: str | None,
    config_file: Path | None,
    print_all: bool,
    print_important: bool,
    settings: dict[str, str],
    end_with_input: bool,
    log_dir: Path | None,
) -> None:
    """Run a broker."""
    with server_imports():
        from .launch import run_broker

    overrides = {**settings, "namesrvAddr": namesrv_addr} if namesrv_addr else settings
    run_broker(overrides, config_file, print_all, print_important, log_dir, end_with_input=end_with_input)


@rmqd.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Stop after so many entries.")
@click.option(
    "--slots",
    type=click.IntRange(1),
    default=5_000_000,
    show_default=True,
    help="Slots of an index file (maxHashSlotNum of its broker).",
)
def dump(path: Path, as_json: bool, limit: int | None, slots: int) -> None:
    """Print what a store file holds: commit log, consume queue, index file, checkpoint or config file."""
    from .dump_command import run_dump

    run_dump(path, as_json, limit, slots)


@rmqd.command()
@click.argument("root", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    help="Properties file of the store's broker: paths, sizes and delay levels unless they are given here.",
)
@click.option("--commit-log", type=click.Path(path_type=Path), help="storePathCommitLog. [default: ROOT/commitlog]")
@click.option("--slots", type=click.IntRange(1), help="maxHashSlotNum. [default: 5000000]")
@click.option("--entries", type=click.IntRange(2), help="maxIndexNum. [default: 20000000]")
@click.option("--delay-levels", help="messageDelayLevel. [default: 1s 5s 10s 30s 1m to 10m 20m 30m 1h 2h]")
@click.option("--repair", is_flag=True, help="Build damaged consume queues, index and checkpoint again from the log.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def check(
    root: Path | None,
    config_file: Path | None,
    commit_log: Path | None,
    slots: int | None,
    entries: int | None,
    delay_levels: str | None,
    repair: bool,
    as_json: bool,
) -> None:
    """Verify the store in a folder, which no broker may have open: one line for each thing that is wrong."""
    from .check_command import StorePlace, run_check

    run_check(StorePlace(root, config_file, commit_log, slots, entries, delay_levels), mend=repair, as_json=as_json)


@rmqd.command("shutdown")
@click.argument("role", type=click.Choice(["namesrv", "broker"]))
def rmqd_shutdown(role: str) -> None:
    """Stop the name servers or brokers that this user runs on this machine."""
    from .shutdown import run_shutdown

    sys.exit(run_shutdown(role))


def mqnamesrv() -> None:
    """Entry point of `mqnamesrv`: `rmqd namesrv` under its official name."""
    rmqd_namesrv(prog_name="mqnamesrv")


def mqbroker() -> None:
    """Entry point of `mqbroker`: `rmqd broker` under its official name."""
    rmqd_broker(prog_name="mqbroker")


def mqshutdown() -> None:
    """Entry point of `mqshutdown`: `rmqd shutdown` under its official name."""
    rmqd_shutdown(prog_name="mqshutdown")
