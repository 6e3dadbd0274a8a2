"""What a platform person reads: which emitter measures its calls, which does not, and what to switch on."""

from typing import Any

import pytest

from analytics import advice
from analytics.advice import FULLY_MEASURED
from analytics.reports.coverage import ASSUMED
from schemas.accounting import Role, Rule
from schemas.tables import EntryKind
from tests.analytics.asking import answer, rows, written
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call, counted, failed, merged, reversal, unmetered

OPENAI = {"scope_name": "opentelemetry.instrumentation.openai", "scope_version": "0.62.1", "dialect": "openllmetry"}
AGENTS = {
    "scope_name": "opentelemetry.instrumentation.openai_agents",
    "scope_version": "0.1",
    "dialect": "openai_agents",
    "service_name": "helpdesk",
}
NUMBERS = ("records", "calls", "metered", "unmetered", "merged", "aggregate_only", "unknown_model", "failed", "assumed")


def run_of_an_agent(**columns: object) -> dict[str, Any]:
    """An agent's span without usage."""
    nothing = {"kind": EntryKind.SPAN, "operation": "invoke_agent", "model": None}
    return unmetered(**AGENTS) | nothing | columns


def covered(ledger: Written, **query: object) -> list[dict[str, Any]]:
    ledger.seal()
    return rows(ledger.data_dir, "coverage", **query)


def numbers(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in NUMBERS if row[name]}


def test_an_emitter_whose_calls_all_came_with_usage_is_fully_measured(ledger: Written) -> None:
    ledger.book(counted(call(**OPENAI)), counted(call(**OPENAI, event_time=NOON_NS - HOUR_NS)))
    (row,) = covered(ledger)
    assert [row[name] for name in ("org", "tenant", "agent", "emitter", "version", "dialect")] == [
        *("acme", "support", "triage", "opentelemetry.instrumentation.openai", "0.62.1", "openllmetry")
    ]
    assert numbers(row) == {"records": 2, "calls": 2, "metered": 2}
    assert (row["first_seen"], row["last_seen"]) == ("2026-11-24T11:00:00.000000000Z", "2026-11-24T12:00:00.000000000Z")
    assert row["advice"] == FULLY_MEASURED


def test_every_way_a_record_can_count_has_its_number(ledger: Written) -> None:
    late = counted(call(**OPENAI))
    echo = {"kind": EntryKind.SPAN, "accounting_role": Role.ECHO, "accounting_rule": Rule.ECHO, "call_count": 0}
    ledger.book(
        counted(call(**OPENAI)),
        counted(unmetered(**OPENAI)),
        merged(call(**OPENAI)),
        late,
        reversal(late, accounting_rule=Rule.SAME_RESPONSE),
        counted(call(**OPENAI), accounting_role=Role.AGGREGATE, accounting_rule=Rule.AGGREGATE_ONLY),
        counted(call(**OPENAI, cost_nano_usd=None)),
        counted(failed(**OPENAI)),
        counted(call(**OPENAI), findings=f"late,{ASSUMED}"),
        call(**OPENAI) | echo,
    )
    (row,) = covered(ledger)
    assert numbers(row) == {
        "records": 9,
        "calls": 5,
        "metered": 4,
        "unmetered": 1,
        "merged": 2,
        "aggregate_only": 1,
        "unknown_model": 1,
        "failed": 1,
        "assumed": 1,
    }


def test_tools_are_counted_once_however_often_they_were_told(ledger: Written) -> None:
    tool = {"kind": EntryKind.TOOL, "accounting_role": Role.TOOL, "accounting_rule": Rule.TOOL, "call_count": 1}
    again = {**tool, "call_count": 0, "accounting_rule": Rule.SAME_TOOL_CALL}
    late = call(**OPENAI) | tool
    ledger.book(call(**OPENAI) | tool, call(**OPENAI) | again, late, reversal(late))
    (row,) = covered(ledger)
    assert (row["tool_calls"], row["calls"], row["records"]) == (1, 0, 0)


def test_rows_are_of_one_emitter_and_version_of_one_agent_in_order(ledger: Written) -> None:
    newer = OPENAI | {"scope_version": "0.63.0"}
    ledger.book(*(counted(call(agent, **emitter)) for agent in ("b", "a") for emitter in (newer, AGENTS, OPENAI)))
    found = [(row["agent"], row["emitter"].rpartition(".")[2], row["version"]) for row in covered(ledger)]
    assert found == [
        *(("a", "openai", "0.62.1"), ("a", "openai", "0.63.0"), ("a", "openai_agents", "0.1")),
        *(("b", "openai", "0.62.1"), ("b", "openai", "0.63.0"), ("b", "openai_agents", "0.1")),
    ]


def test_agents_without_any_call_in_their_service_are_a_row_of_their_own(ledger: Written) -> None:
    ledger.book(run_of_an_agent(), run_of_an_agent())
    (row,) = covered(ledger)
    assert (row["emitter"], row["calls"], row["records"]) == (AGENTS["scope_name"], 0, 0)
    assert row["advice"] == (
        "2 agent runs are seen and no model call: the model's client needs an instrumentation. "
        f"{advice.ADVICE['openai_agents']}"
    )


def test_agents_that_speak_a_vocabulary_get_no_advice_about_calls_they_did_not_tell_of(ledger: Written) -> None:
    ledger.book(run_of_an_agent(dialect="genai"))
    (row,) = covered(ledger)
    assert row["advice"] == "1 agent run is seen and no model call: the model's client needs an instrumentation."


def test_agents_whose_calls_another_emitter_tells_are_not_complained_of(ledger: Written) -> None:
    ledger.book(run_of_an_agent(), counted(call(**OPENAI, service_name="helpdesk")))
    assert [row["emitter"] for row in covered(ledger)] == [OPENAI["scope_name"]]


def test_calls_of_another_service_do_not_excuse_a_silent_one(ledger: Written) -> None:
    ledger.book(run_of_an_agent(), counted(call(**OPENAI, service_name="other")))
    assert [row["calls"] for row in covered(ledger)] == [1, 0]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([unmetered(), call()], "1 of 2 calls came without usage. Switch it on."),
        (
            [call(accounting_rule=Rule.AGGREGATE_ONLY)],
            "1 call is known only as a sum over an agent's run. Switch it on.",
        ),
        ([call(cost_nano_usd=None)], "1 call of a model without a known price: add it to the price overlay."),
        ([call(findings=ASSUMED)], "The lifetime of what 1 call wrote to the cache is assumed, not sent."),
        (
            [unmetered(), unmetered(), call(cost_nano_usd=None)],
            (
                "2 of 3 calls came without usage. Switch it on. "
                "1 call of a model without a known price: add it to the price overlay."
            ),
        ),
    ],
)
def test_the_advice_says_what_is_missing_and_what_to_do(
    entries: list[dict[str, Any]], sentence: str, ledger: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(advice.ADVICE, "openllmetry", "Switch it on.")
    ledger.book(*(counted(entry | OPENAI) | {"accounting_rule": entry.get("accounting_rule")} for entry in entries))
    assert [row["advice"] for row in covered(ledger)] == [sentence]


def test_an_emitter_that_names_no_dialect_gets_the_numbers_and_no_advice_of_another(ledger: Written) -> None:
    ledger.book(counted(unmetered(scope_name="homemade")))
    assert [row["advice"] for row in covered(ledger)] == ["1 of 1 call came without usage."]


def test_it_can_be_asked_by_fewer_columns(ledger: Written) -> None:
    ledger.book(counted(call("a", **OPENAI)), counted(unmetered("b", **OPENAI)), counted(call("b", **AGENTS)))
    found = {row["emitter"].rpartition(".")[2]: numbers(row) for row in covered(ledger, by=("emitter",))}
    assert found == {
        "openai": {"records": 2, "calls": 2, "metered": 1, "unmetered": 1},
        "openai_agents": {"records": 1, "calls": 1, "metered": 1},
    }


def test_ledgers_from_before_calls_were_counted_are_covered_too(ledger: Written) -> None:
    ledger.book(call(**OPENAI), unmetered(**OPENAI), failed(**OPENAI))
    (row,) = covered(ledger)
    assert numbers(row) == {"records": 3, "calls": 2, "metered": 1, "unmetered": 1, "failed": 1}


def test_the_page_shows_the_advice_below_its_row(ledger: Written) -> None:
    ledger.book(counted(unmetered(**AGENTS)))
    ledger.seal()
    page = written(answer(ledger.data_dir, "coverage"), "table").decode().splitlines()
    assert page[0] == "Coverage by org, tenant, agent, emitter, version, dialect · all time"
    (place,) = (number for number, line in enumerate(page) if line.startswith("acme"))
    assert page[place + 1].strip().startswith("1 of 1 call came without usage")
