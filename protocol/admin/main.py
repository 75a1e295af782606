"""The entry point of `mqadmin`: find the command, read its flags, run it, and turn every error into one line.

Starting fast is a promise (`docs/adr/0008`): a command's module is imported when the command is named, the connections
when something is asked, Twisted never.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from .catalogue import ALIASES, BUILT, NOT_YET
from .command import COMMANDS, Invocation, click_command
from .errors import AdminError, BadUsage

USAGE = 2


class Mqadmin(click.Group):
    """A click group that knows the names of its commands and imports them one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every official name, those that are not there yet as well."""
        return [*BUILT, *NOT_YET]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, in any case of letters, as the official tool does."""
        lower = cmd_name.lower()
        name = ALIASES.get(lower) or next((name for name in (*BUILT, *NOT_YET) if name.lower() == lower), None)
        if name in NOT_YET:
            return _missing(name, NOT_YET[name])
        if name is None:
            return None
        module, description = BUILT[name]
        import_module(f"{__package__}.{module}")
        return click_command(COMMANDS[name], description)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name.

        Raises:
            BadUsage: There is none.
        """
        found = self.get_command(ctx, args[0])
        if found is None:
            raise BadUsage(f"the sub command {args[0]} does not exist", "`mqadmin` lists the commands")
        return args[0], found, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the catalogue, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, description) for name, (_, description) in BUILT.items()])
        if NOT_YET:
            with formatter.section("Not there yet"):
                formatter.write_dl([(name, why) for name, why in NOT_YET.items()])


def _missing(name: str, why: str) -> click.Command:
    """A command that only says that it is not there yet, whatever its arguments."""

    def refuse(arguments: tuple[str, ...]) -> None:
        raise BadUsage(f"{name} is not there yet", why)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        help=f"Not there yet: {why}.",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def make_group() -> Mqadmin:
    """Make the group with the commands and `help`."""
    return Mqadmin(
        "mqadmin",
        help="Administer RocketMQ name servers and brokers, by the names and flags of the official tool.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def parse(arguments: list[str]) -> Invocation | int:
    """Read a command line.

    Returns:
        What to run, or the exit code when there is nothing to run.

    Raises:
        AdminError: No such command, or a flag is missing or wrong.
    """
    group = make_group()
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    if not arguments:
        arguments = ["--help"]
    try:
        result = group.main(arguments, prog_name="mqadmin", standalone_mode=False)
    except click.ClickException as cause:
        raise BadUsage(cause.format_message().rstrip("."), f"see mqadmin help {arguments[0]}") from cause
    return result if isinstance(result, Invocation) else int(result or 0)


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code."""
    try:
        invocation = parse(arguments)
        if not isinstance(invocation, Invocation):
            return invocation
        from .service import run_and_exit

        return run_and_exit(invocation)
    except AdminError as cause:
        sys.stderr.write(f"{cause.line}\n")
        return cause.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush at exit
        return 0


def mqadmin() -> None:
    """Entry point of the console script."""
    if "_MQADMIN_COMPLETE" in os.environ:
        make_group().main(prog_name="mqadmin")
    sys.exit(run(sys.argv[1:]))
