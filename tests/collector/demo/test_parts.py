"""Parts of the demo are started, watched and gone at its end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from collector.demo.parts import PartFailed, Parts, Stopped, environment, spanward

SERVER = ("http.server", "--bind", "127.0.0.1", "0")
"""Any program that runs until it is told to end."""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    started = Parts(tmp_path)
    yield started
    started.stop(tuple(started.running))
    for number, handler in handlers.items():
        signal.signal(number, handler)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_part_that_fails_is_named_with_the_end_of_its_log(parts: Parts, tmp_path: Path) -> None:
    part = parts.start("provider", "collector.demo.provider", "--latency-ms", "soon")
    with pytest.raises(PartFailed) as failed:
        part.check(patience_s=60)
    said = failed.value.message.splitlines()
    assert said[0] == "provider ended with exit code 2."
    assert said[1] == f"The end of {tmp_path / 'provider.log'}:"
    assert "'soon' is not a valid integer" in said[-1]
    with pytest.raises(PartFailed, match="provider ended"):
        parts.check()


def test_nothing_runs_on_once_the_parts_are_stopped(parts: Parts) -> None:
    before = children()
    for name in ("one", "two", "three"):
        parts.start(name, *SERVER)
    parts.check()
    assert len(children()) == len(before) + 3
    parts.stop(part for part in tuple(parts.running) if part.name != "two")
    assert [part.name for part in parts.running] == ["two"]
    parts.stop(tuple(parts.running))
    assert children() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_at_the_next_check_and_not_in_between(parts: Parts, number: signal.Signals) -> None:
    parts.heed_signals()
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Stopped) as stopped:
        parts.check()
    assert stopped.value.number == number


def test_nothing_of_the_users_own_telemetry_or_provider_reaches_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT", "SPANWARD_ENDPOINT"):
        monkeypatch.setenv(name, "the user's own")
    given = environment({"OPENAI_BASE_URL": "http://127.0.0.1:1"})
    assert "the user's own" not in given.values()
    assert given["OPENAI_BASE_URL"] == "http://127.0.0.1:1"


def test_a_command_that_fails_is_shown_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="`spanward report spending --data nowhere` ended with exit code 2") as failed:
        spanward(tmp_path / "report.log", "report", "spending", "--data", "nowhere")
    assert "Did you mean 'spend'?" in failed.value.message


def test_a_command_returns_what_it_printed(tmp_path: Path) -> None:
    assert "spanward" in spanward(tmp_path / "version.log", "--version")
