"""Answers are read exactly, or not at all."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanward_client.decision import Malformed, read_decision, read_error, read_hold_state

from tests.client.answers import ALLOW, BUDGET, SETTLED

amounts_nano_usd = st.integers(min_value=-(2**62), max_value=2**62)


def usd(nano: int) -> str:
    whole, rest = divmod(abs(nano), 10**9)
    return f"{'-' if nano < 0 else ''}{whole}.{rest:09d}"


@given(limit=amounts_nano_usd, settled=amounts_nano_usd, held=amounts_nano_usd)
def test_every_nano_usd_survives_the_wire(limit: int, settled: int, held: int) -> None:
    budget = {
        **BUDGET,
        "limit": usd(limit),
        "settled": usd(settled),
        "held": usd(held),
        "remaining": usd(limit - settled - held),
    }
    read = read_decision(json.dumps({**ALLOW, "budgets": [budget]}).encode()).budgets[0]
    assert [int(amount * 10**9) for amount in (read.limit, read.settled, read.held)] == [limit, settled, held]
    assert isinstance(read.remaining, Decimal)
    assert read.remaining == read.limit - read.settled - read.held


def test_an_allowing_answer_is_read_whole() -> None:
    decision = read_decision(json.dumps(ALLOW).encode())
    assert decision.allowed
    assert decision.judged
    assert decision.hold is not None
    assert decision.hold.amount_usd == Decimal("0.52")
    assert decision.hold.expires_at.isoformat() == "2026-11-24T12:15:00.123456+00:00"
    assert decision.epoch == 7
    assert [b.scope for b in decision.budgets] == [BUDGET["scope"], "acme/support"]


def test_fields_of_a_newer_server_are_ignored() -> None:
    assert read_decision(json.dumps({**ALLOW, "advice": {"model": "gpt-5-mini"}}).encode()).allowed


def test_other_zones_become_utc() -> None:
    budget = {**BUDGET, "resets_at": "2026-11-25T00:00:00+01:00"}
    read = read_decision(json.dumps({**ALLOW, "budgets": [budget]}).encode()).budgets[0]
    assert read.resets_at.isoformat() == "2026-11-24T23:00:00+00:00"


@pytest.mark.parametrize(
    "change",
    [
        {"decision_id": 1},
        {"verdict": None},
        {"reasons": None},
        {"reasons": ["no"]},
        {"epoch": True},
        {"epoch": 1.5},
        {"valid_until": "tomorrow"},
        {"valid_until": "2026-11-24T12:00:00"},
        {"hold": []},
        {"hold": {"id": "hold-1"}},
        {"budgets": [{**BUDGET, "limit": 50.1}]},
        {"budgets": [{**BUDGET, "limit": "fifty"}]},
        {"budgets": [{**BUDGET, "limit": "NaN"}]},
    ],
)
def test_an_answer_of_another_shape_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read_decision(json.dumps({**ALLOW, **change}).encode())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"null", b"{}"])
def test_what_is_not_an_answer_is_malformed_to_every_reader(body: bytes) -> None:
    for reader in (read_decision, read_hold_state, read_error):
        with pytest.raises(Malformed):
            reader(body)


def test_a_settled_hold_has_its_cost_and_a_void_one_has_none() -> None:
    assert read_hold_state(json.dumps(SETTLED).encode()).settled_usd == Decimal("0.410000001")
    assert read_hold_state(json.dumps({**SETTLED, "settled_usd": None}).encode()).settled_usd is None
