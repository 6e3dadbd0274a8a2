"""What emitters' metrics tell of tokens, beside what their calls tell: compared, never added."""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import polars as pl
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.query import Query
from analytics.reports.coverage import COVERAGE
from schemas.tables import EntryKind
from tests.analytics.asking import rows
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, counted
from tests.captures_on_disk import Recorded, requests, truth
from tests.collector.booking import AGENT, TENANT, Books, decode, decode_points
from tests.harness import Served
from tests.otlp import CHAT, metrics_of, span, token_usage, traces

OPENAI = "opentelemetry.instrumentation.openai"
EMITTER = {"scope_name": OPENAI, "service_name": "helpdesk"}

# Emitter → its metrics' last word, by instrumentation scope of the row they stand in. Less than the
# bill where streams, or calls the instrumentation does not see, are in neither metrics nor spans.
TOLD: dict[str, dict[str, tuple[int, int | None]]] = {
    "anthropic-legacy-openllmetry": {"opentelemetry.instrumentation.anthropic": (10_076, 334)},
    "anthropic-official": {"opentelemetry.instrumentation.genai.anthropic": (16_746, 486)},
    "claude-code": {"com.anthropic.claude_code.events": (4_415, 189)},
    "claude-code-grpc-cumulative": {"com.anthropic.claude_code.events": (4_415, 189)},
    "codex-cli": {"codex_otel.log_only": (1_657, 159)},
    "double-mixed": {"opentelemetry.instrumentation.genai.openai": (6_832, 743)},
    "double-official": {
        "opentelemetry.instrumentation.genai.langchain": (6_634, 743),
        "opentelemetry.instrumentation.genai.openai": (198, None),
    },
    "gemini-cli": {"gemini-cli": (1_259, 88)},
    "google-adk": {"gcp.vertex.agent": (1_501, 115)},
    "openai-official": {"opentelemetry.instrumentation.genai.openai": (7_519, 982)},
    "openai-v2-default": {"opentelemetry.instrumentation.openai_v2": (3_804, 554)},
    "openai-v2-latest": {
        "opentelemetry.instrumentation.openai_v2": (226, None),
        "opentelemetry.util.genai.handler": (3_862, 630),
    },
    "pydantic-ai": {"pydantic-ai": (8_165, 604)},
}
WHOLE_BILL = (
    *("anthropic-official", "claude-code", "claude-code-grpc-cumulative", "codex-cli", "gemini-cli", "google-adk"),
    "pydantic-ai",
)
"""Emitters of whose every billed call the metrics tell."""


def covered(books: Books, **query: object) -> list[dict[str, Any]]:
    asked = COVERAGE.check(Query(**{"by": ("agent", "emitter"), **query}))  # type: ignore[arg-type]
    entries = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in books.tables]).lazy()
    return COVERAGE.plan(entries, asked).collect(engine="streaming").to_dicts()


def told(found: Iterable[dict[str, Any]]) -> dict[str, tuple[int, int | None]]:
    return {
        row["emitter"]: (row["metric_input_tokens"], row["metric_output_tokens"])
        for row in found
        if row["metric_input_tokens"] is not None
    }


def book(*slabs: list[Recorded], owner: dict[str, Any] = AGENT) -> Books:
    books = Books()
    for recorded in slabs:
        books.book(decode(recorded, owner=owner))
        books.book(decode_points(recorded, owner))
    return books


@pytest.mark.parametrize("owner", [AGENT, TENANT], ids=["agent key", "tenant key"])
@pytest.mark.parametrize("emitter", TOLD)
def test_metrics_of_recorded_emitters_tell_what_they_last_said(emitter: str, owner: dict[str, Any]) -> None:
    found = covered(book(list(requests(emitter)), owner=owner))
    assert told(found) == TOLD[emitter]
    assert not [row["advice"] for row in found if "metrics tell" in row["advice"]]


@pytest.mark.parametrize("emitter", WHOLE_BILL)
def test_they_tell_what_the_provider_billed_where_every_call_is_seen(emitter: str) -> None:
    bill = truth(emitter)["billed_totals_by_model"].values()
    billed = sum(model["input_total"] for model in bill), sum(model["output"] for model in bill)
    assert list(TOLD[emitter].values()) == [billed]


@pytest.mark.parametrize("emitter", ["claude-code", "claude-code-grpc-cumulative", "double-official", "codex-cli"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_neither_order_nor_repetition_changes_what_they_tell(emitter: str, seed: int) -> None:
    recorded = list(requests(emitter)) * 2
    Random(seed).shuffle(recorded)
    cut = seed % len(recorded)
    assert told(covered(book(recorded[:cut], recorded[cut:]))) == TOLD[emitter]


def test_calls_whose_spans_are_gone_are_known_by_the_metrics() -> None:
    """The first traces of the capture hold most calls; sampling would drop them like this."""
    recorded = list(requests("openai-official"))
    first = next(request for request in recorded if request.signal == "traces")
    kept = [request for request in recorded if request is not first]
    (row,) = covered(book(kept))
    missing = sum(entry["input_tokens"] or 0 for entry in book([first]).all().to_pylist() if entry["kind"] == "call")
    assert missing > 100
    assert f"Its metrics tell of {missing:,} more input tokens than its calls: spans are sampled," in row["advice"]


def test_metrics_without_any_call_are_a_row_of_their_own() -> None:
    recorded = [request for request in requests("openai-official") if request.signal == "metrics"]
    (row,) = covered(book(recorded), by=("agent", "emitter", "version", "dialect"))
    assert (row["agent"], row["version"], row["dialect"], row["records"], row["calls"]) == (
        *("triage", "1.3b0", None),
        *(0, 0),
    )
    assert (row["metric_input_tokens"], row["metric_output_tokens"]) == (7_519, 982)
    assert row["first_seen"].year == 2026
    assert row["advice"] == (
        "Its metrics tell of 7,519 more input tokens than its calls: spans are sampled, or calls are made without one."
    )


def point(
    tokens: int, *, at_ns: int = NOON_NS, began_ns: int | None = NOON_NS - HOUR_NS, **columns: object
) -> dict[str, Any]:
    """A point of a cumulative series of input tokens."""
    about = {"org": "acme", "tenant": "support", "agent": "helpdesk", "attribution_source": "service", **EMITTER}
    series = {"temporality": "cumulative", "series_id": "a", "series_start": began_ns}
    base = {"kind": EntryKind.METRIC, "span_name": "gen_ai.client.token.usage", "event_time": at_ns}
    return about | series | base | {"input_tokens": tokens} | columns


def metric_tokens(ledger: Written, **query: object) -> list[int | None]:
    ledger.seal()
    return [row["metric_input_tokens"] for row in rows(ledger.data_dir, "coverage", **query)]


def test_a_cumulative_series_counts_by_its_last_value_and_each_start_anew(ledger: Written) -> None:
    again = NOON_NS + HOUR_NS
    ledger.book(
        counted(call(**EMITTER)),
        *(point(tokens, at_ns=NOON_NS + tokens) for tokens in (300, 100, 200)),
        *(point(tokens, at_ns=again + tokens, began_ns=again) for tokens in (5, 50)),
        point(7, series_id="b"),
    )
    assert metric_tokens(ledger) == [300 + 50 + 7]


def test_within_a_period_a_series_that_began_before_counts_by_what_it_grew(ledger: Written) -> None:
    ledger.book(
        *(counted(call(**EMITTER, event_time=NOON_NS + hour * HOUR_NS)) for hour in range(4)),
        *(point(100 * hour + 100, at_ns=NOON_NS + hour * HOUR_NS) for hour in range(4)),
        point(9, at_ns=NOON_NS + HOUR_NS, began_ns=NOON_NS + HOUR_NS, series_id="b"),
    )
    assert metric_tokens(ledger, from_ns=NOON_NS + HOUR_NS) == [400 - 200 + 9]
    assert metric_tokens(ledger, to_ns=NOON_NS + HOUR_NS) == [100]


def test_a_series_without_a_start_counts_by_what_it_grew(ledger: Written) -> None:
    ledger.book(counted(call(**EMITTER)), *(point(n, began_ns=None, at_ns=NOON_NS + n) for n in (40, 10, 90)))
    assert metric_tokens(ledger) == [80]


def test_delta_points_are_added_up(ledger: Written) -> None:
    ledger.book(counted(call(**EMITTER)), *(point(n, temporality="delta", began_ns=NOON_NS - n) for n in (40, 10, 40)))
    assert metric_tokens(ledger) == [90]


def test_one_emitters_metrics_of_the_same_tokens_are_not_added(ledger: Written) -> None:
    other: dict[str, Any] = {"span_name": "gen_ai.client.inference.usage.input_tokens", "series_id": "b"}
    ledger.book(counted(call(**EMITTER)), point(100), point(90, **other))
    assert metric_tokens(ledger) == [100]


@pytest.mark.parametrize(("told_tokens", "excess"), [(99, None), (100, None), (101, None), (102, 2), (3_531, 3_431)])
def test_a_hundredth_more_than_the_calls_is_no_matter(ledger: Written, told_tokens: int, excess: int | None) -> None:
    ledger.book(counted(call(**EMITTER, input_tokens=100)), point(told_tokens))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "coverage")
    assert row["advice"] == (
        "fully measured"
        if excess is None
        else f"Its metrics tell of {excess:,} more input tokens than its calls: spans are sampled,"
        " or calls are made without one."
    )


def test_metrics_of_an_emitter_without_calls_are_compared_with_its_service(ledger: Written) -> None:
    """Claude Code's metrics have another scope than its log events, and both tell of the same calls."""
    ledger.book(counted(call(**EMITTER, input_tokens=100)), point(100, scope_name="meter"), point(60))
    ledger.seal()
    found = rows(ledger.data_dir, "coverage", by=("emitter",))
    assert [(row["emitter"], row["metric_input_tokens"], row["advice"]) for row in found] == [
        ("meter", 100, "fully measured"),
        (OPENAI, 60, "fully measured"),
    ]


def test_metrics_stand_once_at_the_agent_that_tells_of_most(ledger: Written) -> None:
    ledger.book(
        counted(call("a", **EMITTER)), counted(call("b", **EMITTER, input_tokens=500)), counted(call("c", **EMITTER))
    )
    ledger.book(point(700))
    ledger.seal()
    found = rows(ledger.data_dir, "coverage", by=("agent",))
    assert [(row["agent"], row["metric_input_tokens"]) for row in found] == [("a", None), ("b", 700), ("c", None)]
    assert [row["metric_input_tokens"] for row in rows(ledger.data_dir, "coverage", by=("tenant",))] == [700]


def test_one_agents_question_is_not_answered_with_its_services_metrics(ledger: Written) -> None:
    """Others' calls are left out of the answer, so what the service's metrics tell would be too much."""
    ledger.book(counted(call("helpdesk", **EMITTER)), counted(call("other", **EMITTER)), point(200))
    assert metric_tokens(ledger, where={"agent": ("helpdesk",)}) == [None]


def test_agents_with_keys_of_their_own_have_metrics_of_their_own(ledger: Written) -> None:
    for agent, tokens in (("a", 100), ("b", 300)):
        own: dict[str, Any] = {"agent": agent, "attribution_source": "credential"}
        ledger.book(counted(call(**EMITTER, **own)), point(tokens, **own, series_id=agent))
    ledger.seal()
    found = rows(ledger.data_dir, "coverage", by=("agent",))
    assert [(row["agent"], row["metric_input_tokens"], "more" in row["advice"]) for row in found] == [
        ("a", 100, False),
        ("b", 300, True),
    ]
    assert metric_tokens(ledger, where={"agent": ("b",)}) == [300]


def test_what_metrics_tell_is_in_no_sum_of_calls(ledger: Written) -> None:
    ledger.book(counted(call(**EMITTER)), point(5_000))
    ledger.seal()
    (row,) = rows(ledger.data_dir, "spend", by=("org",))
    assert (row["calls"], row["input_tokens"], row["cost_usd"]) == (1, 100, "0.000027000")


def test_a_ledger_from_before_metrics_were_kept_has_none(tmp_path: Path) -> None:
    ledger = Written(tmp_path / "data")
    ledger.book(counted(call(**EMITTER)))
    assert metric_tokens(ledger) == [None]
    ledger.close()


def test_what_metrics_told_before_a_restart_is_known_after_it(served: Served) -> None:
    answered = traces(span({**CHAT, "gen_ai.response.id": "chatcmpl-one"}), service="test")
    first, later = metrics_of(token_usage(100)), metrics_of(token_usage(300, time_ns=30))
    _post(served, "traces", answered)
    _post(served, "metrics", first)
    served.seal()
    _post(served, "metrics", later)
    served.kill9()
    served.restart()
    _post(served, "metrics", first)
    _post(served, "traces", answered)
    served.seal()
    report = served.report("coverage", "--by", "agent")
    points = {"received": 3, "stored": 2, "duplicate": 1, "rejected": 0, "not_stored": 0, "found": 2}
    assert report["completeness"]["metrics"] == points
    (row,) = report["rows"]
    assert (row["calls"], row["metric_input_tokens"]) == (1, 300)


def _post(served: Served, signal: str, message: Message) -> None:
    headers = {"content-type": "application/x-protobuf", "x-api-key": served.agent_key}
    url = served.url("otlp_http", f"/v1/{signal}")
    httpx.post(url, content=message.SerializeToString(), headers=headers).raise_for_status()
