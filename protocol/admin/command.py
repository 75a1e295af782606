"""How a command of `mqadmin` is stated: its flags, and the coroutine that asks and prints.

    @command("topicStatus", flag("t", "topic", "topic name", required=True), watch=True)
    async def topic_status(admin: Admin, given: Given, out: Output) -> None: ...

Name and flags are the official ones, so that scripts go on working. Descriptions stand in `catalogue`, which lists the
commands without importing them. This module must import neither Twisted nor the codec: `--help` reads it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .errors import BadUsage

if TYPE_CHECKING:
    from .asking import Admin
    from .output import Output

    Kind = click.ParamType[Any]
else:
    Kind = click.ParamType  # generic for type checkers only; not subscriptable before click 8.2

Handler = Callable[["Admin", "Given", "Output"], Awaitable[None]]


class JavaBool(Kind):
    """`true` or `false` in any case, the value that flags of this kind take."""

    name = "true|false"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        """Read the word; Java takes any other word for false, here it is an error."""
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word not in ("true", "false"):
            self.fail(f"{value!r} is neither true nor false", param, ctx)
        return word == "true"


class JavaInt(Kind):
    """A whole number of Java's `int` (32 bits) or `long` (64 bits)."""

    def __init__(self, bits: int) -> None:
        self.name = "number"
        self._bits = bits

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number."""
        try:
            number = int(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if not -(1 << self._bits - 1) <= number < 1 << self._bits - 1:
            self.fail(f"{value} does not fit into {self._bits} bits", param, ctx)
        return number


class Trimmed(Kind):
    """Text without the blanks around it, as the official tool takes it; empty text is refused."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Strip it."""
        text = str(value).strip()
        if not text:
            self.fail("empty", param, ctx)
        return text


BOOL = JavaBool()
I32 = JavaInt(32)
I64 = JavaInt(64)
TEXT = Trimmed()
_OTHER_NAME = "nameserverAddr"
"""What some commands call `namesrvAddr`."""
SWITCH = None
"""Kind of a flag that takes no value."""


@dataclass(frozen=True)
class Flag:
    """One flag: `-short VALUE` or `--long VALUE`; `given` knows it by its long name."""

    short: str
    long: str
    help: str
    kind: Kind | None = TEXT
    required: bool = False


def flag(short: str, long: str, help: str, kind: Kind | None = TEXT, *, required: bool = False) -> Flag:
    """State a flag. The official `Option` has the same arguments; `SWITCH` as kind means that it takes no value."""
    return Flag(short, long, help, kind, required)


BROKER = flag("b", "brokerAddr", "address of the broker, host:port")
CLUSTER = flag("c", "clusterName", "name of the cluster")


class Given:
    """The values of a command's flags, by their long names."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """The value of a required flag."""
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def maybe(self, name: str) -> str | None:
        """The value, None when absent."""
        value = self._values.get(name)
        assert value is None or isinstance(value, str)
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """The value of a number flag, or the default."""
        value = self._values.get(name)
        if value is None:
            value = default
        assert isinstance(value, int)
        return value

    def maybe_number(self, name: str) -> int | None:
        """The value of a number flag, None when absent."""
        value = self._values.get(name)
        assert value is None or isinstance(value, int)
        return value

    def true(self, name: str, default: bool = False) -> bool:
        """The value of a boolean flag, or whether a switch is there."""
        value = self._values.get(name)
        return default if value is None else bool(value)

    def has(self, name: str) -> bool:
        """Whether the flag was given."""
        return self._values.get(name) is not None

    def one_of(self, *names: str) -> str:
        """Give the first name that was given.

        Raises:
            BadUsage: None was.
        """
        for name in names:
            if self.has(name):
                return name
        raise BadUsage(f"one of {', '.join('--' + name for name in names)} is missing", "give it")


@dataclass(frozen=True)
class Spec:
    """A stated command."""

    name: str
    flags: tuple[Flag, ...]
    run: Handler
    watch: bool
    interval: str | None
    """Long name of the official flag that means the same as `--watch`."""


COMMANDS: dict[str, Spec] = {}
"""The commands of the modules that have been imported."""


def command(name: str, *flags: Flag, watch: bool = False, interval: str | None = None) -> Callable[[Handler], Handler]:
    """State a command.

    Args:
        name: The official name.
        flags: Its own flags; `-n`, `-h` and `--json` all commands have.
        watch: Whether it lists something, so that `--watch SECONDS` makes sense.
        interval: An official flag that repeats it.
    """

    def register(run: Handler) -> Handler:
        COMMANDS[name] = Spec(name, flags, run, watch or interval is not None, interval)
        return run

    return register


@dataclass(frozen=True)
class Invocation:
    """A command line that was read, ready to run."""

    spec: Spec
    given: Given
    name_servers: tuple[str, ...]
    as_json: bool
    every_s: float | None


def click_command(spec: Spec, description: str) -> click.Command:
    """Make the click command that reads the flags into an `Invocation`."""
    params: list[click.Parameter] = [_option(one) for one in spec.flags]
    taken = {one.short for one in spec.flags} | {one.long for one in spec.flags}
    if "n" not in taken:
        params.append(_name_server_option())
    params.append(click.Option(["as_json", "--json"], is_flag=True, help="print one JSON object or list"))
    if spec.watch:
        help_text = "run again every so many seconds"
        params.append(
            click.Option(["every_s", "--watch"], type=click.FloatRange(0.1), metavar="SECONDS", help=help_text)
        )

    def read(**values: Any) -> Invocation:
        name_servers = split_addresses(values.pop("namesrvAddr", None) or values.get(_OTHER_NAME))
        as_json = values.pop("as_json")
        every_s = values.pop("every_s", None)
        if spec.interval is not None and values.get(spec.interval) is not None:
            every_s = max(0.1, float(values[spec.interval]))
        return Invocation(spec, Given(values), name_servers, as_json, every_s)

    return click.Command(
        spec.name,
        callback=read,
        params=params,
        help=description,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def split_addresses(text: str | None) -> tuple[str, ...]:
    """Split addresses joined by `;`."""
    return tuple(part.strip() for part in (text or "").split(";") if part.strip())


def _option(one: Flag) -> click.Option:
    names = [one.long, *([f"-{one.short}"] if one.short else []), f"--{one.long}"]
    if one.kind is SWITCH:
        return click.Option(names, is_flag=True, default=None, help=one.help)
    environment = "NAMESRV_ADDR" if one.long == _OTHER_NAME else None
    return click.Option(names, type=one.kind, required=one.required, help=one.help, envvar=environment)


def _name_server_option() -> click.Option:
    return click.Option(
        ["namesrvAddr", "-n", "--namesrvAddr"],
        type=TEXT,
        envvar="NAMESRV_ADDR",
        help="name servers, host:port joined by ';' [env: NAMESRV_ADDR]",
    )
