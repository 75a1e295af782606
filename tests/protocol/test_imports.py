"""Servers import what they need, and nothing is lost by it."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from rmqd.protocol.imports import FOR_TWISTED, postponed


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the standard library that is not imported."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setattr("sys.stdout", None)  # it prints when it is imported
    return "this"


def test_a_postponed_module_is_imported_when_something_of_it_is_asked_for(fresh: str) -> None:
    with postponed(fresh):
        import this as stand_in

        assert not vars(stand_in).get("d")
    assert fresh not in sys.modules
    assert len(stand_in.d) == 52
    assert sys.modules[fresh].d is stand_in.d


def test_it_may_be_used_within_the_block(fresh: str) -> None:
    with postponed(fresh):
        from this import d

        assert type(sys.modules[fresh]) is ModuleType
    assert sys.modules[fresh].d is d


def test_what_is_imported_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ModuleType("rmqd_test_module")
    monkeypatch.setitem(sys.modules, "rmqd_test_module", there)
    with postponed("rmqd_test_module"):
        assert sys.modules["rmqd_test_module"] is there
    assert sys.modules["rmqd_test_module"] is there


def test_a_missing_name_is_told_as_usual(fresh: str) -> None:
    with postponed(fresh):
        import this as stand_in
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = stand_in.no_such_name


def test_a_server_does_without_what_twisted_only_names() -> None:
    in_new_process(
        "import sys\n"
        "from rmqd.protocol.imports import server_imports\n"
        "with server_imports():\n"
        "    import rmqd.protocol.launch\n"
        "import rmqd.protocol.broker.service, rmqd.protocol.namesrv.service\n"
        "from rmqd.protocol.eventloop import install_reactor\n"
        "install_reactor()\n"
        "from twisted.internet import reactor\n"
        "heavy = ('http.client', 'urllib.request', 'email', '_ssl', '_hashlib', 'construct', 'rmqwire.layouts')\n"
        "heavy += ('rmqd.conf.show', 'rmqd.protocol.filter.parser', 'rmqd.protocol.filter.evaluate')\n"
        "there = [name for name in heavy if name in sys.modules]\n"
        "sys.exit(f'imported: {there}' if there else 0)\n"
    )


def test_those_who_need_it_get_it_after_a_start() -> None:
    said = in_new_process(
        "from rmqd.protocol.imports import FOR_TWISTED, server_imports\n"
        "with server_imports():\n"
        "    import twisted.internet.tcp, twisted.python.compat\n"
        "import asyncio.base_events, http.cookiejar, ssl\n"
        "assert asyncio.base_events.ssl.SSLContext is ssl.SSLContext\n"
        "assert asyncio.base_events.sslproto.SSLProtocol is asyncio.sslproto.SSLProtocol\n"
        "assert twisted.python.compat.cookielib.CookieJar is http.cookiejar.CookieJar\n"
        "print(*FOR_TWISTED)\n"
    )
    assert tuple(said.split()) == FOR_TWISTED
