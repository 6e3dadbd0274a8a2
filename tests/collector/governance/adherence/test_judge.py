"""Agents that ignore what was decided, each found once; honest ones never, whatever their clocks and batches do."""

from collections.abc import Callable
from typing import Any

import pytest

from collector.governance.adherence.stops import Stop
from schemas.ids import AgentPath
from tests.collector.governance.adherence.matching import Matching, rules
from tests.collector.governance.bookkeeping import DAY, HOUR, MINUTE, SECOND, TRIAGE

OPEN = Callable[..., Matching]
OTHER = AgentPath("acme", "sales", "bot")
MINI: dict[str, Any] = {"model": "gpt-4o-mini-2024-07-18", "request_model": "gpt-4o-mini"}


# Ignoring a refusal -------------------------------------------------------------------------------


def test_a_call_that_names_its_refusal_is_a_finding_whenever_it_began(matching: Matching) -> None:
    """peers.md U1: proxies are blind off-path; what was run in spite of an answer must at least be seen."""
    refused = matching.deny()
    (found,) = matching.run(matching.call(at=matching.now - SECOND, decision_id=refused))
    assert found["action"] == "adherence.after_deny"
    assert (found["org"], found["tenant"], found["agent"], found["actor"]) == (
        "acme",
        "support",
        "triage",
        f"agent:{TRIAGE}",
    )
    assert (found["subject"], found["decision_id"]) == ("gpt-4o", refused)
    assert refused in found["message"]
    assert "budget.daily.acme/support/triage" in found["message"]
    assert found["detail"]["cost_usd"] == "0.000000007"


def test_a_call_without_an_id_soon_after_a_refusal_is_a_finding(matching: Matching) -> None:
    refused = matching.deny()
    matching.wait(MINUTE)
    (found,) = matching.run(matching.call())
    assert (found["action"], found["decision_id"]) == ("adherence.after_deny", refused)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(-1, id="before the refusal"),
        pytest.param(5 * SECOND, id="within what clocks may differ"),
        pytest.param(15 * MINUTE + 1, id="so much later that it did not just hear of it"),
    ],
)
def test_a_call_without_an_id_that_did_not_begin_after_the_refusal_ignores_none(
    open_matching: OPEN, begun: int
) -> None:
    matching = open_matching(on_unasked="ignore")
    matching.deny()
    refused_at = matching.now
    matching.wait(HOUR // 2)
    assert matching.run(matching.call(at=refused_at + begun)) == []


def test_a_refusal_is_lifted_by_what_is_allowed_later(open_matching: OPEN) -> None:
    matching = open_matching(on_unasked="ignore")
    matching.deny()
    matching.wait(SECOND)
    matching.allow(model="openai/gpt-4o-2024-08-06")
    matching.wait(MINUTE)
    assert matching.run(matching.call(), matching.call()) == []
    matching.restart()
    assert matching.run(matching.call()) == []


def test_a_refusal_of_one_model_or_agent_is_none_of_another(open_matching: OPEN) -> None:
    matching = open_matching(on_unasked="ignore")
    matching.deny()
    matching.wait(MINUTE)
    assert matching.run(matching.call(**MINI), matching.call(agent=OTHER)) == []
    assert rules(matching.run(matching.call(model="gpt-4o-2024-11-20", request_model=None))) == ["adherence.after_deny"]


def test_a_call_under_a_hold_that_was_allowed_before_the_refusal_is_honest(matching: Matching) -> None:
    """Two threads of one agent: the first was allowed, the second refused, and the first calls last."""
    matching.allow()
    matching.deny()
    matching.wait(MINUTE)
    assert matching.run(matching.call()) == []


def test_refusals_are_remembered_over_a_restart(matching: Matching) -> None:
    refused = matching.deny()
    matching.restart()
    assert rules(matching.run(matching.call(decision_id=refused))) == ["adherence.after_deny"]
    matching.wait(MINUTE)
    assert rules(matching.run(matching.call(model="gpt-4o-2024-08-06"))) == ["adherence.after_deny"]


# Ignoring a kill ----------------------------------------------------------------------------------


def stop(matching: Matching, target: str = "platform", *, scope: str = "all", until: int | None = None) -> Stop:
    matching.stops.append(Stop("kill-1", scope, target, matching.now, until, 3))
    return matching.stops[-1]


@pytest.mark.parametrize(
    ("target", "ignored"),
    [
        ("platform", True),
        ("acme", True),
        ("acme/support", True),
        ("acme/support/triage", True),
        ("model:gpt-4o", True),
        ("model:gpt-4o-2024-08-06", True),
        ("acm", False),
        ("acme/support/tri", False),
        ("acme/sales", False),
        ("model:gpt-4o-mini", False),
        ("tool:gpt-4o", False),
    ],
)
def test_a_call_that_began_after_a_kill_of_its_own_is_a_finding(matching: Matching, target: str, ignored: bool) -> None:  # noqa: FBT001
    """peers.md U1 and 39 (AGT#3739): a kill that nobody checks looks like one that worked."""
    stop(matching, target)
    matching.wait(MINUTE)
    found = matching.run(matching.call())
    assert rules(found) == ["adherence.after_kill"] * ignored
    if ignored:
        assert found[0]["detail"]["cause"] == "kill-1"
        assert target in found[0]["message"]


def test_a_kill_of_new_keys_stops_no_call(matching: Matching) -> None:
    stop(matching, scope="new_keys")
    matching.wait(MINUTE)
    assert matching.run(matching.call()) == []


@pytest.mark.parametrize(
    ("begun", "ignored"),
    [
        (-MINUTE, False),
        (0, False),
        (5 * SECOND, False),
        (5 * SECOND + 1, True),
        (9 * MINUTE, True),
        (10 * MINUTE, False),
    ],
)
def test_only_calls_begun_between_kill_and_release_ignore_it(matching: Matching, begun: int, ignored: bool) -> None:  # noqa: FBT001
    killed = matching.now
    stop(matching, until=killed + 10 * MINUTE)
    matching.wait(HOUR)
    # A batch that was delivered late: everything arrives long after the release.
    found = matching.run(matching.call(at=killed + begun))
    assert rules(found) == ["adherence.after_kill"] * ignored


def test_a_call_that_was_asked_for_and_killed_since_is_counted_once(matching: Matching) -> None:
    hold = matching.allow()
    matching.wait(MINUTE)
    stop(matching)
    matching.wait(MINUTE)
    assert rules(matching.run(matching.call(decision_id=hold.terms.decision_id))) == ["adherence.after_kill"]


def test_a_clock_that_is_visibly_ahead_is_held_against_no_time(matching: Matching) -> None:
    """Its call seems to end after it was received, so when it began is not known."""
    begun = matching.now
    matching.wait(SECOND)
    stop(matching)
    matching.deny()
    ahead = matching.call(at=begun + HOUR, received_time=matching.now + MINUTE)
    clamped = matching.call(at=begun + MINUTE, received_time=begun + MINUTE)
    assert matching.run(ahead, clamped) == []


# Ignoring an expiry -------------------------------------------------------------------------------


def test_a_call_that_began_after_its_hold_expired_is_a_finding(matching: Matching) -> None:
    first, second = matching.allow(), matching.allow()
    matching.wait(16 * MINUTE)
    (named,) = matching.run(matching.call(decision_id=second.terms.decision_id))
    assert (named["action"], named["decision_id"]) == ("adherence.after_expiry", second.terms.decision_id)
    (unnamed,) = [*matching.run(matching.call()), *matching.flush()]
    assert unnamed["outcome"] == "continued"
    assert first.terms.decision_id in unnamed["detail"]["decisions"]


@pytest.mark.parametrize("with_id", [True, False])
def test_a_call_begun_before_its_expiry_is_honest_however_late_its_span_is(matching: Matching, with_id: bool) -> None:  # noqa: FBT001
    hold = matching.allow()
    matching.wait(15 * MINUTE - SECOND)
    call = matching.call(decision_id=hold.terms.decision_id if with_id else None)
    matching.wait(HOUR)
    assert matching.run(call) == []


def test_a_span_that_never_came_does_not_make_the_next_call_late(matching: Matching) -> None:
    """Spans are sampled: the oldest hold still waits for its own, and the next call is matched with it."""
    matching.book.settle(matching.allow(), 5)
    matching.wait(20 * MINUTE)
    matching.allow()
    assert matching.run(matching.call()) == []


def test_expiry_is_judged_by_what_is_stored_when_the_hold_is_closed(matching: Matching) -> None:
    hold = matching.allow()
    matching.wait(20 * MINUTE)
    call = matching.call(decision_id=hold.terms.decision_id)
    matching.wait(3 * HOUR)
    matching.wait(SECOND)
    matching.restart()
    assert rules(matching.run(call)) == ["adherence.after_expiry"]


# Another model ------------------------------------------------------------------------------------


def test_a_call_on_another_model_than_decided_is_a_finding(matching: Matching) -> None:
    hold = matching.allow()
    (found,) = matching.run(matching.call(decision_id=hold.terms.decision_id, **MINI))
    assert (found["action"], found["subject"]) == ("adherence.model", "gpt-4o-mini-2024-07-18")
    assert "is for gpt-4o" in found["message"]


@pytest.mark.parametrize(
    ("decided", "call"),
    [
        pytest.param("gpt-4o", {"model": "gpt-4o-2024-11-20", "request_model": "gpt-4o-2024-11-20"}, id="a snapshot"),
        pytest.param("openai/gpt-4o", {"model": "gpt-4o"}, id="a prefix"),
        pytest.param("gpt-4o", {"provider": "azure.ai.openai", "request_model": "our-own"}, id="a deployment's name"),
        pytest.param("gpt-4o", {"model": "gpt-4.1"}, id="the provider answered with another"),
        pytest.param("", {"model": "anything", "request_model": "anything"}, id="no model was decided"),
        pytest.param("gpt-4o", {"model": None, "request_model": None}, id="no model was told"),
    ],
)
def test_another_name_of_the_model_is_not_another_model(matching: Matching, decided: str, call: dict[str, Any]) -> None:
    hold = matching.allow(model=decided)
    assert matching.run(matching.call(decision_id=hold.terms.decision_id, **call)) == []


def test_the_model_of_a_decision_without_a_hold_counts_too(matching: Matching) -> None:
    allowed = matching.allow_free()
    assert matching.run(matching.call(decision_id=allowed, cost_nano_usd=None)) == []
    assert rules(matching.run(matching.call(decision_id=allowed, **MINI))) == ["adherence.model"]


# Not asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "asker", "stranger"), [("auto", 1, 0), ("finding", 1, 1), ("ignore", 0, 0)])
def test_who_is_expected_to_ask_is_a_setting(open_matching: OPEN, setting: str, asker: int, stranger: int) -> None:
    matching = open_matching(on_unasked=setting)
    matching.run(matching.call(decision_id=matching.allow().terms.decision_id))
    matching.wait(MINUTE)
    assert rules(matching.run(matching.call())) == ["adherence.unasked"] * asker
    assert rules(matching.run(matching.call(agent=OTHER))) == ["adherence.unasked"] * stranger


def test_an_agent_that_stopped_asking_long_ago_is_one_that_only_emits(open_matching: OPEN) -> None:
    matching = open_matching(asked_within="2d")
    matching.allow()
    for days, expected in ((1, 1), (2, 0)):
        matching.wait(days * DAY)
        matching.adherence.forget(matching.now)
        assert len(matching.run(matching.call(at=matching.now - MINUTE))) == expected


def test_calls_of_before_the_first_question_were_not_to_be_asked_for(matching: Matching) -> None:
    before = matching.now
    matching.wait(MINUTE)
    matching.deny(model="another")
    assert matching.run(matching.call(at=before)) == []


def test_as_many_calls_as_were_allowed_are_honest_and_the_next_is_not(matching: Matching) -> None:
    matching.allow(), matching.allow()
    matching.wait(MINUTE)
    assert matching.run(matching.call(), matching.call()) == []
    (found,) = matching.run(matching.call(), matching.call())
    assert (found["action"], found["detail"]["count"]) == ("adherence.unasked", 2)


def test_a_call_told_so_late_that_its_hold_was_forgotten_is_not_unasked(matching: Matching) -> None:
    matching.allow()
    call = matching.call(at=matching.now + MINUTE)
    matching.wait(DAY)
    matching.wait(SECOND)
    assert matching.run(call | {"received_time": matching.now}) == []


def test_permission_without_money_covers_calls_that_name_no_decision(matching: Matching) -> None:
    matching.allow_free(model="house-model")
    matching.wait(MINUTE)
    house: dict[str, Any] = {"model": "house-model-2026-01-31", "request_model": None, "cost_nano_usd": None}
    assert matching.run(matching.call(**house), matching.call(**house)) == []
    matching.wait(20 * MINUTE)
    assert rules(matching.run(matching.call(**house))) == ["adherence.unasked"]


def test_a_hold_under_another_name_of_the_model_covers_its_call(matching: Matching) -> None:
    matching.allow(model="openai/gpt-4o")
    matching.wait(MINUTE)
    assert matching.run(matching.call()) == []


@pytest.mark.parametrize(("invented", "expected"), [(True, ["adherence.unasked"]), (False, [])])
def test_a_decision_that_does_not_exist_was_not_asked_for(matching: Matching, invented: bool, expected: list) -> None:  # noqa: FBT001
    """One from before this collector took notes may exist: nobody can know."""
    matching.allow(model="another")
    matching.wait(MINUTE)
    old = "dec_01890a5d-ac96-774b-bcce-b302099a8057"
    assert rules(matching.run(matching.call(decision_id=f"dec_{matching.new_id()}" if invented else old))) == expected


def test_a_decision_of_another_agent_was_not_asked_for(matching: Matching) -> None:
    hold = matching.allow()
    matching.deny(agent=OTHER)
    matching.wait(MINUTE)
    (found,) = matching.run(matching.call(agent=OTHER, decision_id=hold.terms.decision_id, **MINI))
    assert found["action"] == "adherence.unasked"
    assert str(TRIAGE) in found["message"]


def test_one_decision_on_several_records_is_honest(matching: Matching) -> None:
    """A client puts the decision on every span within the hold."""
    hold = matching.allow()
    named = hold.terms.decision_id
    assert matching.run(matching.call(decision_id=named), matching.call(decision_id=named)) == []
    assert matching.run(matching.call(decision_id=named)) == []


# What is remembered -------------------------------------------------------------------------------


def test_what_was_forgotten_is_held_against_nobody(open_matching: OPEN) -> None:
    matching = open_matching(max_rulings=2)
    first = matching.deny()
    matching.wait(SECOND)
    _, third = matching.deny(), matching.deny(model="gpt-4.1")
    assert matching.run(matching.call(decision_id=first)) == []
    assert rules(matching.run(matching.call(decision_id=third, model="gpt-4.1"))) == ["adherence.after_deny"]


def test_a_flood_after_a_refusal_makes_few_findings_that_count_every_call(matching: Matching) -> None:
    """100,000 calls in twenty bookings: one entry at once, one for the rest."""
    matching.deny()
    matching.wait(MINUTE)
    for _ in range(20):
        matching.run(*(matching.call(agent=TRIAGE) for _ in range(500)))
    matching.wait(MINUTE)
    assert rules(matching.found) == ["adherence.after_deny"] * 2
    assert [row["detail"]["count"] for row in matching.found] == [500, 9_500]
    assert [row["detail"]["total"] for row in matching.found] == [500, 10_000]
    assert len({row["detail"]["finding"] for row in matching.found}) == 1
    assert all(1 <= len(row["detail"]["entries"]) <= 5 for row in matching.found)
    assert sum(float(row["detail"]["cost_usd"]) for row in matching.found) == pytest.approx(0.00007)


def test_what_was_not_told_yet_is_told_after_a_crash_and_nothing_twice(matching: Matching) -> None:
    refused = matching.deny()
    for _ in range(3):
        matching.run(matching.call(decision_id=refused))
    matching.restart()
    assert [row["detail"]["count"] for row in matching.flush()] == [2]
    matching.restart()
    assert matching.flush() == []


def test_calls_of_unknown_cost_are_found_and_said_to_be(matching: Matching) -> None:
    (found,) = matching.run(matching.call(decision_id=matching.deny(), cost_nano_usd=None))
    assert (found["detail"]["cost_usd"], found["detail"]["unpriced"]) == ("0.000000000", 1)


def test_findings_beyond_the_bound_close_the_one_that_rested_longest(open_matching: OPEN) -> None:
    matching = open_matching(max_findings=2, on_unasked="finding")
    for number in range(4):
        matching.run(matching.call(agent=AgentPath("acme", "support", f"a{number}")))
    matching.run(matching.call(agent=AgentPath("acme", "support", "a3")))
    matching.flush()
    assert [(row["agent"], row["detail"]["count"]) for row in matching.found] == [
        ("a0", 1), ("a1", 1), ("a2", 1), ("a3", 1), ("a3", 1),
    ]  # fmt: skip
    assert len(matching.adherence._findings._open) == 2


def test_a_finding_is_told_to_people_once_and_counted_in_the_ledger(matching: Matching) -> None:
    refused = matching.deny()
    for _ in range(3):
        matching.run(matching.call(at=matching.now, decision_id=refused))
    matching.restart()
    matching.run(matching.call(at=matching.now, decision_id=refused))
    told = [stored.notice for stored in matching.book.state.notices(0, 10)]
    (notice,) = [notice for notice in told if notice.kind.startswith("finding.")]
    assert (notice.kind, notice.scope, notice.severity) == ("finding.adherence.after_deny", str(TRIAGE), "warning")
    assert refused in notice.text
