"""Requests of tests in, real things out: a served Spanward, a peer's executable, and the list of who was absent."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.harness import Served
from tests.tools.install import TOOLS

LEFT_OUT = pytest.StashKey[dict[str, list[str]]]()
SERVERS = pytest.StashKey[list[Served]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the list of tests that miss a tool. A run that is told to end ends its servers too."""
    config.stash[LEFT_OUT] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def tool(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """`tool("otelcol")` is the path of that executable.

    Where it cannot be had, the test is left out on a person's machine, by name and with the way to get
    it, and fails in CI, where everything can be installed.
    """

    def find(name: str) -> Path:
        wanted = TOOLS[name]
        if wanted.path.exists():
            return wanted.path
        reason = f"needs {wanted.purpose} ({name} {wanted.version}). {wanted.how_to_get}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        request.config.stash[LEFT_OUT].setdefault(reason, []).append(request.node.nodeid)
        pytest.skip(reason)

    return find


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serve(settings=…, config=…)` starts Spanward on a fresh data directory; all of them end with the test."""
    servers: list[Served] = []
    request.node.stash[SERVERS] = servers

    def start(name: str = "data", *, settings: dict[str, str] | None = None, config: Path | None = None) -> Served:
        server = Served(tmp_path / name, settings=settings, config=config)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """Spanward as it starts with no configuration at all, on free ports."""
    return serve()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its servers said."""
    report = yield
    if report.failed:
        for server in item.stash.get(SERVERS, []):
            report.sections.append((f"log of spanward serve --data {server.data}", server.log_tail()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every test that was left out, and how to get what it misses."""
    for reason, tests in config.stash[LEFT_OUT].items():
        terminalreporter.section(f"left out: {len(tests)} of the tests")
        terminalreporter.line(reason)
        for test in tests:
            terminalreporter.line(f"  {test}")
