"""The command line: names, flags, help, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from rmqd.protocol.admin.catalogue import BUILT, NOT_YET
from rmqd.protocol.admin.command import COMMANDS, Invocation
from rmqd.protocol.admin.errors import AdminError, BadUsage, Refused
from rmqd.protocol.admin.main import parse, run

OFFICIAL_COUNT = 96
"""Subcommands of the official tool of 5.5.0."""


def invoked(*arguments: str) -> Invocation:
    """Parse what must be runnable."""
    invocation = parse(list(arguments))
    assert isinstance(invocation, Invocation)
    return invocation


def test_every_official_name_is_known() -> None:
    assert len(BUILT) + len(NOT_YET) == OFFICIAL_COUNT
    assert not set(BUILT) & set(NOT_YET)


@pytest.mark.parametrize("name", BUILT)
def test_every_command_is_where_the_catalogue_says(name: str) -> None:
    import_module(f"rmqd.protocol.admin.{BUILT[name][0]}")
    assert COMMANDS[name].run.__module__ == f"rmqd.protocol.admin.{BUILT[name][0]}"
    assert parse(["help", name]) == 0


def test_flags_long_and_short() -> None:
    short = invoked("updateTopic", "-n", "a:1;b:2", "-b", "c:3", "-t", " t ", "-r", "3", "-o", "TRUE")
    assert short.name_servers == ("a:1", "b:2")
    assert (short.given.text("topic"), short.given.number("readQueueNums"), short.given.true("order")) == ("t", 3, True)
    assert short.given.maybe("clusterName") is None
    long = invoked("updateTopic", "--brokerAddr", "c:3", "--topic", "t", "--namesrvAddr", "a:1", "--json")
    assert long.as_json
    assert long.given.number("readQueueNums", 8) == 8


def test_names_in_any_case_and_aliases() -> None:
    assert invoked("TOPICLIST").spec.name == "topicList"
    assert invoked("QueryMsgTraceById", "-i", "x").spec.name == "queryMsgTraceById"


def test_the_environment_names_the_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESRV_ADDR", "e:9")
    assert invoked("topicList").name_servers == ("e:9",)
    assert invoked("topicList", "-n", "a:1").name_servers == ("a:1",)


def test_watching() -> None:
    assert invoked("topicList", "--watch", "2").every_s == 2
    assert invoked("clusterList", "-i", "3").every_s == 3
    assert invoked("topicList").every_s is None


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["absent"], "the sub command absent does not exist"),
        (["topicRoute"], "Missing option"),
        (["topicRoute", "-t", " "], "empty"),
        (["topicRoute", "-t", "t", "--absent"], "No such option"),
        (["updateTopic", "-t", "t", "-r", "many"], "'many' is not a whole number"),
        (["updateTopic", "-t", "t", "-r", "3000000000"], "does not fit into 32 bits"),
        (["updateTopic", "-t", "t", "-o", "perhaps"], "neither true nor false"),
        (["topicList", "--watch", "0"], "0"),
        (["updateStaticTopic", "-t", "x"], "Missing option"),
        (["getLiteTopicInfo", "-p", "x"], "Missing option"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert cause in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_refusal_is_one_line_whatever_the_remark() -> None:
    error = Refused("h:1", 17, "no such topic, T See https://x for further details.\n\tat java.lang")
    assert error.line == (
        "h:1 answered 17 TOPIC_NOT_EXIST, no such topic, T: `mqadmin topicList` lists the topics there are"
    )
    assert error.exit_code == 1
    assert AdminError("a\nb", "c").line == "a b: c"


def test_one_of_several_flags_is_needed() -> None:
    with pytest.raises(BadUsage, match="--brokerAddr, --clusterName"):
        invoked("updateTopic", "-t", "t").given.one_of("brokerAddr", "clusterName")


def test_help_imports_neither_twisted_nor_a_command() -> None:
    code = (
        "import sys\n"
        "from rmqd.protocol.admin.main import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = [name for name in ('twisted', 'msgspec', 'rmqd.protocol.admin.topics') if name in sys.modules]\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "topicList" in done.stdout


def test_no_command_imports_twisted() -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from rmqd.protocol.admin.catalogue import BUILT\n"
        "from rmqd.protocol.admin.main import run\n"
        "for module, _ in BUILT.values():\n"
        "    import_module(f'rmqd.protocol.admin.{module}')\n"
        "assert run(['topicList', '-n', '127.0.0.1:1']) == 1\n"
        "heavy = [name for name in ('twisted', 'asyncio', 'construct') if name in sys.modules]\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
