"""A month of calls and a price that changed in its middle: `spanward prices rerate`, with a collector and without."""

import contextlib
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.ledger.reader import Evidence
from collector.rerate.repricing import CHUNK_ROWS
from tests.harness import SPANWARD, Served
from tests.otlp import CHAT, Value, span, traces

DAY_NS = 86_400 * 10**9
# Budgets forget windows that are older than two months; these calls stay within.
DAYS = 28
NANO_PER_USD = 10**9
# USD per million tokens by the price list, input and output.
LIST = {"gpt-4o": ("2.50", "10.00"), "gpt-4o-mini": ("0.15", "0.60")}
CONTRACT = ("1.9375", "7.3")


class Call(NamedTuple):
    """One call of the month."""

    model: str
    start_ns: int
    input_tokens: int
    output_tokens: int

    def cost(self, prices: tuple[str, str]) -> int:
        """nano-USD at these prices, rounded half to even once."""
        input_, output = map(Fraction, prices)
        return round((self.input_tokens * input_ + self.output_tokens * output) * NANO_PER_USD / 1_000_000)

    @property
    def contract_difference(self) -> int:
        """What the contract changes, nano-USD."""
        return self.cost(CONTRACT) - self.cost(LIST[self.model])


class Month(NamedTuple):
    """A served month: its calls, the moment the contract's price begins, and the overlay file that says so."""

    served: Served
    calls: list[Call]
    change_ns: int
    overlay: Path

    @property
    def difference(self) -> int:
        """What the change of prices changes, nano-USD."""
        return sum(call.contract_difference for call in self.changed)

    @property
    def changed(self) -> list[Call]:
        """The calls that cost something else under the contract."""
        return [call for call in self.calls if call.model == "gpt-4o" and call.start_ns >= self.change_ns]

    def rerate(self, *more: str) -> dict[str, Any]:
        """The answer of the command for the whole month."""
        answer: dict[str, Any] = json.loads(self.served.run(*self.arguments, *more))
        return answer

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command for the whole month, with its overlay."""
        overlay = f"processors.pricing.overlay={self.overlay}"
        first, beyond = text(self.calls[0].start_ns), text(self.calls[-1].start_ns + 1)
        words = ("--from", first, "--to", beyond, "--reason", "Contract 7.", "--set", overlay)
        return ("prices", "rerate", "--json", *words)

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the ledger as it is sealed."""
        paths = Evidence(self.served.data / "store").objects(0, 2**63 - 1)
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    def corrections(self) -> list[dict[str, Any]]:
        """The corrections among them."""
        return [row for row in self.rows() if row["kind"] == "correction"]

    def spend(self) -> int:
        """nano-USD of everything, as the report sums it."""
        rows = self.served.report("spend", "--by", "agent")["rows"]
        return int(sum(Decimal(row["cost_usd"]) for row in rows) * NANO_PER_USD)


def text(ns: int) -> str:
    """Unix ns as RFC 3339 with all its decimals."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


@pytest.fixture
def month(serve: Callable[..., Served], tmp_path: Path) -> Month:
    """Seven calls of two models a day, sealed, at list price."""
    served = serve()
    governance = served.data / "governance/default/default/agents/default.yaml"
    governance.write_text('budgets: {daily: {usd: "1"}, monthly: {usd: "100"}}\n')
    start = time.time_ns() - DAYS * DAY_NS
    calls = [
        Call("gpt-4o-mini" if number % 3 else "gpt-4o", start + number * DAY_NS // 7, 1_000 + 7 * number, 10 + number)
        for number in range(7 * DAYS)
    ]
    for at in range(0, len(calls), 50):
        send(served, calls[at : at + 50])
    served.seal()
    change_ns = calls[len(calls) // 2].start_ns
    return Month(served, calls, change_ns, overlay_file(tmp_path, change_ns))


def overlay_file(folder: Path, change_ns: int) -> Path:
    path = folder / "prices.yaml"
    prices = dict(zip(("input", "output"), CONTRACT, strict=True))
    row = {"provider": "openai", "model": "gpt-4o", "effective_from": text(change_ns), "prices": prices, "source": "7"}
    path.write_text(json.dumps({"rows": [row]}))
    return path


def send(served: Served, calls: list[Call]) -> None:
    export(served, traces(*(span(attributes(call), start_ns=call.start_ns) for call in calls)))


def attributes(call: Call) -> dict[str, Value]:
    return {
        **CHAT,
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
    }


def export(served: Served, request: ExportTraceServiceRequest) -> None:
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    url = served.url("otlp_http", "/v1/traces")
    httpx.post(url, content=request.SerializeToString(), headers=headers, timeout=30).raise_for_status()


def budgets(served: Served) -> dict[str, int]:
    """nano-USD settled in the windows of now, once the limits are in force."""
    for _ in range(1_000):
        url = served.url("control", "/v1/budgets")
        views = httpx.get(url, headers={"x-api-key": served.agent_key}, timeout=30).json()["budgets"]
        if views:
            return {view["window"]: int(Decimal(view["settled"]) * NANO_PER_USD) for view in views}
    raise AssertionError("the limits never came into force")


def in_window(call: Call, window: str) -> bool:
    """Whether a call lies in today, or in this month, UTC."""
    form = "%Y-%m-%d" if window == "daily" else "%Y-%m"
    return time.strftime(form, time.gmtime(call.start_ns // 10**9)) == time.strftime(form, time.gmtime())


def test_corrections_sum_to_the_difference_to_the_nano_and_what_was_written_stays(month: Month) -> None:
    before = {path: path.read_bytes() for path in Evidence(month.served.data / "store").objects(0, 2**63 - 1)}
    at_list = sum(call.cost(LIST[call.model]) for call in month.calls)
    assert month.spend() == at_list
    assert month.rerate()["recorded"] == len(month.changed)
    rows = month.corrections()
    assert len(rows) == len(month.changed) > 30
    assert sum(row["cost_nano_usd"] for row in rows) == month.difference != 0
    assert month.spend() == at_list + month.difference
    assert {path: path.read_bytes() for path in before} == before
    originals = {row["entry_id"]: row for row in month.rows() if row["kind"] == "call"}
    for row in rows:
        original = originals[row["corrects"]]
        same = ("event_time", "org", "tenant", "agent", "provider", "model", "attribution_source")
        assert [row[name] for name in same] == [original[name] for name in same]
        assert (row["accounting_rule"], row["call_count"], row["actor"]) == ("rerated", 0, "user:operator")
        assert row["input_price"] == Decimal(CONTRACT[0]) * 10**6


def test_a_dry_run_writes_nothing_and_says_what_each_model_would_cost(month: Month) -> None:
    entries = month.rows()
    answer = month.rerate("--dry-run")
    assert (answer["dry_run"], answer["recorded"]) == (True, 0)
    assert month.rows() == entries
    old = {model: sum(call.cost(LIST[model]) for call in month.calls if call.model == model) for model in LIST}
    new = old | {"gpt-4o": old["gpt-4o"] + month.difference}
    lines = {line["model"]: line for line in answer["models"]}
    for model in LIST:
        assert lines[model]["calls"] == sum(call.model == model for call in month.calls)
        assert Decimal(lines[model]["old_usd"]) * NANO_PER_USD == old[model]
        assert Decimal(lines[model]["new_usd"]) * NANO_PER_USD == new[model]
    total = answer["total"]
    assert (total["calls"], total["corrections"], total["unpriced_calls"]) == (len(month.calls), len(month.changed), 0)
    assert Decimal(total["difference_usd"]) * NANO_PER_USD == month.difference
    *_, last = month.served.run(*(word for word in month.arguments if word != "--json"), "--dry-run").splitlines()
    assert last.split() == ["total", *(str(total[name]) for name in list(total)[1:])]


def test_a_second_run_writes_nothing_and_every_report_has_the_same_bytes(month: Month) -> None:
    month.rerate()
    entries = len(month.rows())
    report = month.served.run("report", "spend", "--by", "agent,model,day", "--format", "csv")
    again = month.rerate()
    assert (again["recorded"], again["total"]["corrections"]) == (0, 0)
    assert len(month.rows()) == entries
    assert month.served.run("report", "spend", "--by", "agent,model,day", "--format", "csv") == report


def test_budgets_follow_in_the_windows_of_the_calls_own_time(month: Month) -> None:
    before = budgets(month.served)
    month.rerate()
    after = budgets(month.served)
    for window in ("daily", "monthly"):
        inside = [call for call in month.changed if in_window(call, window)]
        expected = sum(call.contract_difference for call in inside)
        assert after[window] - before[window] == expected
    month.served.kill9()
    month.served.restart()
    assert budgets(month.served) == after


def test_where_no_collector_runs_the_command_does_its_work_and_a_price_may_come_back(month: Month) -> None:
    at_list = month.spend()
    month.served.stop()
    assert month.rerate()["recorded"] == len(month.changed)
    assert month.spend() == at_list + month.difference
    month.overlay.write_text("{}")
    back = month.rerate()
    assert Decimal(back["total"]["difference_usd"]) * NANO_PER_USD == -month.difference
    assert month.spend() == at_list


def test_a_power_cut_between_two_chunks_loses_and_doubles_nothing(month: Month) -> None:
    """What was recorded is in the state or in the ledger; the next run corrects the rest."""
    many = [Call("gpt-4o", month.calls[-1].start_ns - number, 1_000 + number, 10) for number in range(4 * CHUNK_ROWS)]
    send(month.served, many)
    month.served.seal()
    month.calls[1:1] = many
    before = budgets(month.served)["monthly"]
    with subprocess.Popen([SPANWARD, *month.arguments, "--data", month.served.data]) as running:
        while recorded(month.served) < CHUNK_ROWS:
            assert running.poll() is None
        month.served.kill9()
        running.wait(60)
    first = recorded(month.served)
    month.served.restart()
    assert month.rerate()["recorded"] == len(month.changed) - first
    assert sum(row["cost_nano_usd"] for row in month.corrections()) == month.difference
    expected = sum(call.contract_difference for call in month.changed if in_window(call, "monthly"))
    assert budgets(month.served)["monthly"] - before == expected


def recorded(served: Served) -> int:
    """Corrections in the owner's state."""
    place = f"file:{served.data}/state/state.db?mode=ro"
    with contextlib.closing(sqlite3.connect(place, uri=True)) as state:
        (count,) = state.execute("SELECT count(*) FROM corrections").fetchone()
    return int(count)


def test_a_call_that_another_record_tells_of_after_it_was_rerated_ends_at_its_price(month: Month) -> None:
    """The account takes back what is booked, the correction included; what it books anew is rerated in turn."""
    first = month.changed[-1]
    month.calls[:] = [first]
    rest = month.spend()
    for service in ("desk", "gateway"):
        told = span(attributes(first) | {"gen_ai.response.id": "resp_of_the_first"}, start_ns=first.start_ns)
        export(month.served, traces(told, service=service))
        month.served.seal()
        month.rerate()
        assert month.spend() - rest == first.cost(CONTRACT) + first.contract_difference
    assert month.rerate()["recorded"] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--from", "2026-11-02", "--to", "2026-11-02", "--reason", "x"), "there is no time"),
        (("--from", "yesterday", "--to", "2026-11-02", "--reason", "x"), "'yesterday' is not a time."),
        (("--from", "2026-11-01", "--to", "2026-11-02", "--reason", " "), "needs a reason"),
        (("--from", "2026-11-01", "--to", "2026-11-02", "--reason", "x"), "is not a data directory"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = subprocess.run(
        [SPANWARD, "prices", "rerate", "--data", tmp_path, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
