"""The whole demo, as a person runs it with its output in a file: about a minute of real calls.

A retry loop meets a budget of 50 USD. It is stopped, the terminal says so with the server's figures,
and the ledger agrees token by token with what the provider billed.
"""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from collector.demo.fleet import FLEET, STUCK
from collector.demo.folder import logs_of
from schemas.money import parse_usd

SPANWARD = [sys.executable, "-P", "-m", "collector"]
DEMO_TIMEOUT_S = 170
"""It takes about a minute; the rest is for busy machines."""

LIMIT = STUCK.daily_usd * 10**9


class Run:
    """One finished demo: what it said and what it left."""

    def __init__(self, data: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.data = data
        self.code = done.returncode
        self.said = done.stdout
        self.errors = done.stderr

    def report(self, *words: str) -> list[dict[str, str | int]]:
        """Rows of a report on the directory it left."""
        done = subprocess.run(
            [*SPANWARD, "report", *words, "--data", self.data, "--json"], capture_output=True, check=True
        )
        rows: list[dict[str, str | int]] = json.loads(done.stdout)["rows"]
        return rows

    def figure(self, pattern: str) -> int:
        """The one amount the demo said in these words, nano-USD."""
        (amount,) = re.findall(pattern, self.said)
        return parse_usd(amount)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = tmp_path_factory.mktemp("demo") / "data"
    command = [*SPANWARD, "demo", "--data", str(data), "--seconds", "120", "--latency-ms", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEMO_TIMEOUT_S)
    return Run(data, done)


def processes_of(data: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if str(data) in " ".join(process_words(process))]


def process_words(process: psutil.Process) -> list[str]:
    try:
        return [*process.cmdline(), process.cwd(), *(file.path for file in process.open_files())]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


@pytest.mark.timeout(DEMO_TIMEOUT_S + 60)
def test_the_stuck_agent_is_stopped_and_everything_said_about_it_is_true(run: Run) -> None:
    assert run.code == 0, run.said + run.errors
    assert run.said.count("BLOCKED") == 1
    assert re.search(rf"rule +budget\.daily\.{re.escape(STUCK.path)}\n", run.said)

    (spent,) = (
        parse_usd(str(row["cost_usd"])) for row in run.report("spend", "--by", "agent") if row["agent"] == STUCK.name
    )
    assert spent > LIMIT * 9 // 10
    assert run.figure(rf"{STUCK.name} stands at (\S+) of 50\.000000000 USD") == spent
    assert run.figure(r"of 50\.000000000 USD; overshoot (\S+) USD") == max(0, spent - LIMIT)
    # Every call asked for at least what it cost, so nothing may have passed the limit.
    assert spent <= LIMIT


def test_80_and_90_percent_are_each_told_once_and_recorded_once(run: Run) -> None:
    for label, percent in (("ALERT", 80), ("WARN", 90)):
        assert len(re.findall(rf"{label} +{STUCK.name} +{percent} % of today's budget", run.said)) == 1
    crossings = [row for row in run.report("activity", "--kind", "budget_crossing") if row["agent"] == STUCK.name]
    assert len(crossings) == 3, crossings


def test_the_ledger_holds_what_the_provider_billed(run: Run) -> None:
    billed = json.loads((logs_of(run.data) / "billed.json").read_text())
    booked = {
        row["model"]: {name: row[name] for name in next(iter(billed.values()))}
        for row in run.report("spend", "--by", "model")
    }
    assert booked == billed


def test_every_hold_was_settled_by_the_span_of_its_own_call(run: Run) -> None:
    calls = run.report("activity", "--kind", "call")
    holds = run.report("activity", "--kind", "hold")
    assert {hold["outcome"] for hold in holds} == {"settled"}
    assert all("by the span of its call" in str(hold["message"]) for hold in holds)
    decided = [call["decision_id"] for call in calls]
    assert None not in decided
    assert len(set(decided)) == len(decided) == len(holds)


def test_both_reports_are_printed_with_the_commands_that_made_them(run: Run) -> None:
    for name in ("spend", "activity"):
        assert f"$ spanward report {name} " in run.said
    assert all(agent.name in run.said.partition("$ spanward report spend")[2] for agent in FLEET)
    assert f"Everything is in {run.data}" in run.said


def test_nothing_runs_on_after_the_demo(run: Run) -> None:
    assert run.said
    assert processes_of(run.data) == []


def test_ctrl_c_takes_everything_with_it_and_leaves_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen([*SPANWARD, "demo", "--data", str(data)], stdout=subprocess.PIPE, text=True) as process:
        while not (data / "endpoints.json").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=DEMO_TIMEOUT_S)[0]
    assert process.returncode == 0
    assert "Stopped." in said
    assert f"Everything is in {data}" in said
    assert processes_of(data) == []
    assert (data / "governance").is_dir()


def test_a_block_that_does_not_come_in_time_is_a_failure(tmp_path: Path) -> None:
    command = [*SPANWARD, "demo", "--data", str(tmp_path / "data"), "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEMO_TIMEOUT_S)
    assert done.returncode == 1
    assert f"{STUCK.name} was not stopped by its budget within 1 s." in done.stderr
    assert processes_of(tmp_path) == []
