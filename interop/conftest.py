"""Options and fixtures of the interop suite. Run it with `pytest interop [--server=official]`."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from interop import toolchain
from interop.api import Api, Drivers
from interop.case import CaseFailure
from interop.cluster import Cluster, Kind, Servers
from interop.driver import engine_answers
from interop.jars import VERSIONS

CASES = Path(__file__).parent / "cases"
MISSING = pytest.StashKey[str]()
USES_CONTAINERS = pytest.StashKey[bool]()

pytest.register_assert_rewrite("interop.cases")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("interop")
    group.addoption(
        "--server", choices=("ours", "official"), default="ours", help="whose servers the cases run against"
    )
    group.addoption("--official-version", choices=VERSIONS[1:], default="5.5.0", help="version of the official servers")
    group.addoption(
        "--runner",
        choices=("auto", "local", "containers"),
        default="auto",
        help="where Java drivers run; auto: in containers when a Docker engine answers",
    )
    group.addoption("--long", action="store_true", help="also the cases that take minutes, as replication of all pairs")
    group.addoption("--require-interop", action="store_true", help="missing tools are an error (also when CI is set)")
    group.addoption(
        "--case",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="run only this case (subject/number) or subject; may be repeated",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: a case left out unless --long is given")
    config.addinivalue_line("markers", "case(address, requirement, source): what an interop case shows")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect `cases/<subject>.py`, whose names are subjects and do not begin with `test_`.

    A file named on the command line pytest collects itself.
    """
    if parent.session.isinitpath(file_path):
        return None
    if file_path.parent == CASES and file_path.suffix == ".py" and not file_path.name.startswith("_"):
        module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
        return module
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if Path(item.path).parent == CASES]
    seen: dict[str, str] = {}
    for item in ours:
        mark = item.get_closest_marker("case")
        if mark is None:
            raise pytest.UsageError(f"{item.nodeid} has no @case")
        function = item.nodeid.split("[")[0]
        address = mark.kwargs["address"]
        if seen.setdefault(address, function) != function or not re.fullmatch(r"[a-z_]+/\d+", address):
            raise pytest.UsageError(f"case address {address}: {function} and {seen[address]}")
        item.user_properties.append(("case", address))
    if not config.getoption("--long"):
        left_out = [item for item in ours if item.get_closest_marker("long") is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    wanted = config.getoption("--case")
    if wanted:
        left_out = [item for item in ours if not _wanted(item, wanted)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    missing = toolchain.missing("java", "javac", "mvn")
    if missing and ours:
        if config.getoption("--require-interop") or os.environ.get("CI"):
            raise pytest.UsageError(missing)
        config.stash[MISSING] = missing
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=missing))


def _wanted(item: pytest.Item, wanted: list[str]) -> bool:
    mark = item.get_closest_marker("case")
    assert mark is not None
    address: str = mark.kwargs["address"]
    return any(address == one or address.startswith(f"{one}/") for one in wanted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if MISSING in config.stash:
        terminalreporter.write_line(f"interop cases skipped: {config.stash[MISSING]}")


def pytest_report_header(config: pytest.Config) -> str:
    version = f" {config.getoption('--official-version')}" if config.getoption("--server") == "official" else ""
    return f"interop: servers {config.getoption('--server')}{version}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what was required, expected and found; keep the traceback for what is not a `CaseFailure`."""
    report = yield
    mark = item.get_closest_marker("case")
    if report.failed and mark is not None and call.excinfo is not None:
        told = [
            f"case {mark.kwargs['address']}",
            f"requirement: {mark.kwargs['requirement']}",
            f"source:      {mark.kwargs['source']}",
        ]
        if isinstance(call.excinfo.value, CaseFailure):
            where = call.excinfo.traceback[-1]
            for entry in call.excinfo.traceback:
                if Path(entry.path).parent == CASES:
                    where = entry
            told += [f"expected:    {call.excinfo.value.expected}", f"actual:      {call.excinfo.value.actual}",
                     f"at:          {where.path}:{where.lineno + 1}"]  # fmt: skip
            report.longrepr = "\n".join(told)
        else:
            report.sections.append(("interop case", "\n".join(told)))
        if "servers" in getattr(item, "funcargs", {}):
            report.sections.append(("folder", str(item.funcargs["servers"].folder)))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def kind(pytestconfig: pytest.Config) -> Kind:
    """Whose servers are under test."""
    chosen: Kind = pytestconfig.getoption("--server")
    return chosen


@pytest.fixture(scope="session")
def official_version(pytestconfig: pytest.Config) -> str:
    """The version of official servers where a case does not name one."""
    return str(pytestconfig.getoption("--official-version"))


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Drivers]:
    """The client processes."""
    runner = pytestconfig.getoption("--runner")
    containers = runner != "local" and engine_answers()
    if runner == "containers" and not containers:
        pytest.skip("no Docker engine answers: --runner=containers needs one")
    drivers = Drivers(tmp_path_factory.mktemp("clients"), containers)
    yield drivers
    drivers.close()


@pytest.fixture
def api(drivers: Drivers) -> Iterator[Api]:
    """Clients that are stopped when the case is over."""
    api = Api(drivers)
    yield api
    api.close()


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Servers]:
    """Servers that live as long as the run."""
    servers = Servers(tmp_path_factory.mktemp("shared"), kind, official_version)
    yield servers
    servers.close()


@pytest.fixture
def servers(tmp_path: Path, kind: Kind, official_version: str) -> Iterator[Servers]:
    """Servers of one case, killed at its end."""
    servers = Servers(tmp_path, kind, official_version)
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def shared_cluster(shared_servers: Servers) -> Cluster:
    """The cluster of most cases."""
    return shared_servers.cluster()


@pytest.fixture
def cluster(shared_cluster: Cluster, shared_servers: Servers) -> Cluster:
    """The shared cluster, started again when a case before brought it down."""
    for server in (shared_cluster.name_server, shared_cluster.broker):
        if server.process is None or not server.process.alive():
            server.start()
    shared_servers.wait_registered(shared_cluster.broker)
    return shared_cluster


@pytest.fixture(scope="session")
def go() -> str:
    """The client version `go`, where a Go toolchain is present."""
    missing = toolchain.missing("go")
    if missing is None:
        return "go"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
