"""Holds, settlements, expiry and spend: what each does to the sums, one behaviour at a time.

Numbers in docstrings are complaints about other products (peers' issue trackers): each is a budget
that did not hold, or that blocked wrongly.
"""

from collections.abc import Callable

import pytest

from collector.governance.budgets import HoldConflict
from collector.governance.holds import Hold
from schemas.errors import Retryable
from schemas.ids import AgentPath
from schemas.quantities import Duration
from tests.collector.governance.bookkeeping import DAY, HOUR, MINUTE, NOON, SECOND, Book, limits

OPEN = Callable[..., Book]
OTHER_AGENT, OTHER_TENANT = AgentPath("acme", "support", "writer"), AgentPath("acme", "sales", "triage")


def test_a_hold_counts_in_every_scope_and_window_above_the_call(book: Book) -> None:
    book.hold(70)
    assert book.sums() == {
        (scope, window): (0, 70)
        for scope in ("platform", "acme", "acme/support", "acme/support/triage")
        for window in ("daily", "monthly")
    }
    assert book.sums(OTHER_TENANT)["acme", "daily"] == (0, 70)
    assert book.sums(OTHER_TENANT)["acme/sales", "daily"] == (0, 0)


@pytest.mark.parametrize("scope", ["platform", "acme", "acme/support", "acme/support/triage"])
@pytest.mark.parametrize("window", ["daily", "monthly"])
def test_any_one_limit_refuses_and_then_nothing_is_held_anywhere(book: Book, scope: str, window: str) -> None:
    """LiteLLM #9658, #11083: an early return skipped the rest; ai-gateway #2460: counted, never enforced."""
    wide = dict.fromkeys(("platform", "acme", "acme/support", "acme/support/triage"), 10**6)
    book.set_limits(
        limits(wide | {scope: 100}, monthly=wide) if window == "daily" else limits(wide, monthly=wide | {scope: 100})
    )
    book.hold(60)
    refused = book.ask(41)
    assert [(c.scope, c.window) for c in refused] == [(scope, window)]  # type: ignore[union-attr]
    assert set(book.sums().values()) == {(0, 60)}
    assert isinstance(book.ask(40), Hold)


def test_a_hold_may_fill_a_budget_exactly(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.hold(100)
    assert book.ask(1) != []
    assert not isinstance(book.ask(1), Hold)


def test_a_settled_call_frees_what_it_did_not_use(book: Book) -> None:
    """LiteLLM #38647: worst-case holds that are never given back starve a budget nobody spent."""
    book.set_limits(limits({"acme": 100}))
    for spent in range(10):
        book.settle(book.hold(100 - spent), 1)
    assert book.agent_day() == (10, 0)


def test_settling_above_the_hold_is_booked_and_recorded_as_overdraw(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.settle(book.hold(100), 130)
    assert book.agent_day() == (130, 0)
    assert [entry.overdraw for entry in book.state.entries()] == [0, 30]
    assert not isinstance(book.ask(1), Hold)


def test_settling_twice_alike_changes_nothing_and_otherwise_is_a_conflict(book: Book) -> None:
    hold = book.hold(50)
    book.settle(hold, 20)
    book.settle(hold, 20)
    with pytest.raises(HoldConflict, match="is settled by its client"):
        book.settle(hold, 21)
    with pytest.raises(HoldConflict, match="cannot be voided"):
        book.void(hold)
    assert book.agent_day() == (20, 0)
    assert book.kinds() == ["hold", "settle"]


def test_a_void_frees_the_money_once(book: Book) -> None:
    hold = book.hold(50)
    book.void(hold)
    book.void(hold)
    assert book.agent_day() == (0, 0)
    with pytest.raises(HoldConflict, match="is void"):
        book.settle(hold, 1)
    assert book.kinds() == ["hold", "void"]


def test_the_same_hold_id_is_the_same_hold(book: Book) -> None:
    hold = book.hold(50)
    assert book.budgets.hold(hold.account, hold.terms) is hold
    assert book.agent_day() == (0, 50)


def test_on_hold_expiry_post_counts_the_hold_as_spent_and_says_it_is_an_estimate(open_book: OPEN) -> None:
    """LiteLLM #27639: a leaked hold must not block for ever; the provider may have charged for it."""
    book = open_book(on_hold_expiry="post")
    hold = book.hold(50)
    book.wait(15 * MINUTE - 1)
    assert book.agent_day() == (0, 50)
    book.wait(1)
    assert book.agent_day() == (50, 0)
    assert (hold.state, hold.settled, hold.settled_by) == ("expired", (50, 0), "expiry")


def test_on_hold_expiry_release_gives_the_money_back(open_book: OPEN) -> None:
    book = open_book(on_hold_expiry="release")
    hold = book.hold(50)
    book.wait(15 * MINUTE)
    assert book.agent_day() == (0, 0)
    assert (hold.state, hold.settled, hold.settled_by) == ("expired", None, "")


@pytest.mark.parametrize("policy", ["post", "release"])
def test_a_span_after_expiry_replaces_what_expiry_assumed(open_book: OPEN, policy: str) -> None:
    book = open_book(on_hold_expiry=policy)
    hold = book.hold(50)
    book.wait(20 * MINUTE)
    book.span(35, decision_id=hold.terms.decision_id, at=NOON + SECOND)
    assert book.agent_day() == (35, 0)
    assert (hold.state, hold.settled_by, hold.final) == ("settled", "span", True)


@pytest.mark.parametrize("policy", ["post", "release"])
def test_a_settlement_or_void_after_expiry_is_still_booked(open_book: OPEN, policy: str) -> None:
    book = open_book(on_hold_expiry=policy)
    late, unused = book.hold(50), book.hold(60)
    book.wait(20 * MINUTE)
    book.settle(late, 40)
    book.void(unused)
    assert book.agent_day() == (40, 0)
    assert sorted(book.kinds()) == ["correct", "expire", "expire", "hold", "hold", "void"]


def test_a_span_settles_the_hold_of_its_decision(book: Book) -> None:
    first, second = book.hold(50), book.hold(50)
    book.span(30, decision_id=second.terms.decision_id)
    assert (first.state, second.state) == ("held", "settled")
    assert book.agent_day() == (30, 50)


def test_a_call_is_counted_once_whoever_reports_it_first(book: Book) -> None:
    """LiteLLM #28283: counters at three to six times the real spend."""
    by_client_first, by_span_first = book.hold(50), book.hold(50)
    book.settle(by_client_first, 30)
    book.span(33, decision_id=by_client_first.terms.decision_id)
    book.span(33, decision_id=by_span_first.terms.decision_id)
    book.settle(by_span_first, 30)
    assert book.agent_day() == (66, 0)


def test_a_second_span_of_one_decision_is_counted_on_top(book: Book) -> None:
    hold, other = book.hold(50), book.hold(50)
    for _ in range(2):
        book.span(20, decision_id=hold.terms.decision_id)
    assert book.agent_day() == (40, 50)
    assert other.state == "held"


def test_a_span_without_a_decision_settles_the_oldest_hold_of_its_agent_and_model(book: Book) -> None:
    oldest = book.hold(10)
    book.wait(SECOND)
    other_model, other_agent = book.hold(20, model="o3"), book.hold(40, path=OTHER_AGENT)
    newest = book.hold(80)
    book.span(5)
    book.span(6)
    book.span(7)
    assert [hold.settled for hold in (oldest, newest, other_model, other_agent)] == [(5, 0), (6, 0), None, None]
    assert book.agent_day() == (18, 20)


def test_a_span_finds_its_hold_by_the_model_that_was_asked_for(book: Book) -> None:
    hold = book.hold(10, model="gpt-4o-2024-08-06")
    book.span(4, model="gpt-4o-2024-08-06")
    assert hold.settled == (4, 0)


def test_a_span_that_ended_before_the_hold_was_made_does_not_settle_it(open_book: OPEN) -> None:
    """A late span of an unheld call must not take the money of the call that runs now."""
    book = open_book(clock_tolerance=Duration("5s"))
    hold = book.hold(50)
    book.span(30, at=NOON - MINUTE)
    assert (hold.state, book.agent_day()) == ("held", (30, 50))
    # The agent's clock may be behind ours by the tolerance.
    book.span(30, at=NOON - 5 * SECOND)
    assert (hold.state, book.agent_day()) == ("settled", (60, 0))


def test_a_span_that_was_received_before_the_hold_was_made_does_not_settle_it(open_book: OPEN) -> None:
    """Both times are of our own clock, so the tolerance for the agent's does not apply."""
    book = open_book(clock_tolerance=Duration("5s"))
    hold = book.hold(50)
    book.received = NOON - 1
    book.span(30, at=NOON - SECOND)
    assert (hold.state, book.agent_day()) == ("held", (30, 50))


def test_another_agents_decision_id_settles_nothing(book: Book) -> None:
    """LiteLLM #32779, #36121: spend redirected by what a request claims."""
    hold = book.hold(50)
    book.span(30, decision_id=hold.terms.decision_id, path=OTHER_AGENT)
    assert hold.state == "held"
    assert book.sums(OTHER_AGENT)["acme/support/writer", "daily"] == (30, 0)


def test_after_its_grace_a_resolved_hold_is_final_and_a_span_adds(open_book: OPEN) -> None:
    book = open_book(span_grace=Duration("1h"))
    hold = book.hold(50)
    book.settle(hold, 30)
    book.wait(HOUR)
    assert hold.final
    book.span(30, decision_id=hold.terms.decision_id)
    assert book.agent_day() == (60, 0)


def test_a_held_call_that_runs_over_midnight_is_counted_in_the_windows_of_its_hold(book: Book) -> None:
    """Else the new day would pass its limit by a call that was admitted under yesterday's."""
    book.set_limits(limits({"acme": 100}))
    book.wait(11 * HOUR + 59 * MINUTE + 59 * SECOND)
    midnight = NOON + 12 * HOUR
    hold = book.hold(100)
    book.wait(10 * SECOND)
    book.span(90, decision_id=hold.terms.decision_id, at=midnight + SECOND)
    assert book.agent_day(at=midnight - 1) == (90, 0)
    assert book.agent_day() == (0, 0)
    assert isinstance(book.ask(100), Hold)


def test_a_late_call_is_counted_in_the_day_and_month_of_its_own_time(book: Book) -> None:
    book.wait(5 * DAY)
    book.spend(40, at=NOON)
    assert book.agent_day() == (0, 0)
    assert book.agent_day(at=NOON) == (40, 0)
    assert book.sums()["acme", "monthly"] == (0, 0)
    assert book.sums(at=NOON)["acme", "monthly"] == (40, 0)


def test_spend_is_never_refused_and_counts_at_the_next_question(book: Book) -> None:
    """LiteLLM #40095: first requests of an unknown user unbounded; bifrost#2873: routes that ignore the budget."""
    book.set_limits(limits({"acme/support/triage": 100}))
    book.spend(250)
    assert book.agent_day() == (250, 0)
    assert not isinstance(book.ask(1), Hold)


def test_without_a_limit_nothing_is_refused_and_a_limit_set_later_is_right_at_once(book: Book) -> None:
    """LiteLLM #22726, #20615: blocked though no budget was set; #34270, #34492: a new window blocks at once."""
    book.hold(60)
    book.spend(30)
    book.set_limits(limits({"acme": 100}, monthly={"acme/support": 91}))
    assert [(c.scope, c.window) for c in book.ask(11)] == [("acme", "daily"), ("acme/support", "monthly")]  # type: ignore[union-attr]
    assert isinstance(book.ask(1), Hold)


def test_a_lowered_limit_refuses_and_claws_nothing_back(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    hold = book.hold(80)
    book.set_limits(limits({"acme": 50}))
    assert not isinstance(book.ask(1), Hold)
    assert (hold.state, book.agent_day()) == ("held", (0, 80))
    book.set_limits({})
    assert isinstance(book.ask(10**6), Hold)


def test_a_changed_time_zone_counts_the_same_money_in_the_new_days(book: Book) -> None:
    book.set_limits(limits({"acme": 1000}, zone="UTC"))
    book.wait(11 * HOUR)  # 23:00 UTC, which is already tomorrow in Berlin
    book.spend(7, at=NOON)
    book.hold(5)
    book.spend(3)
    assert book.sums()["acme", "daily"] == (10, 5)
    book.set_limits(limits({"acme": 1000}, zone="Europe/Berlin"))
    assert book.sums()["acme", "daily"] == (3, 5)
    assert book.sums(at=NOON)["acme", "daily"] == (7, 0)
    book.set_limits(limits({"acme": 1000}, zone="UTC"))
    assert book.sums()["acme", "daily"] == (10, 5)


def test_the_budget_day_begins_at_midnight_of_the_tenants_zone(book: Book) -> None:
    """LiteLLM #8364, #7129: a budget that never resets. The clocks change in this night."""
    zoned = limits({"acme/support": 100}, zone="Europe/Berlin")
    book.set_limits(zoned)
    book.spend(100)
    for hours, fits in ((10, False), (11, True)):  # 22:00 and 23:00 UTC: midnight is 23:00 in winter time
        book.now = NOON + hours * HOUR
        assert isinstance(book.ask(1), Hold) is fits
    book.spend(99)
    for hours, fits in ((33, False), (34, True)):  # the 23-hour day ends at 22:00 UTC in summer time
        book.now = NOON + hours * HOUR
        assert isinstance(book.ask(1), Hold) is fits


def test_a_clock_put_back_neither_frees_nor_doubles_anything(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    hold = book.hold(60)
    book.now -= 2 * DAY
    assert isinstance(book.ask(100), Hold), "two days ago is another day"
    book.now += 2 * DAY
    assert book.agent_day() == (0, 60)
    book.settle(hold, 10)
    assert book.agent_day() == (10, 0)


def test_too_many_open_holds_are_refused_as_overload(open_book: OPEN) -> None:
    book = open_book(max_open_holds=2)
    book.hold(1)
    hold = book.hold(1)
    with pytest.raises(Retryable, match="max_open_holds"):
        book.ask(1)
    book.void(hold)
    book.hold(1)
    assert book.agent_day() == (0, 2)


def test_a_call_older_than_backfill_is_kept_but_not_weighed(open_book: OPEN) -> None:
    book = open_book(backfill=Duration("63d"))
    book.set_limits(limits({"acme": 1}))
    book.spend(5, at=NOON - 100 * DAY)
    assert not book.state.crossings(0)
    assert [spend.settled for spend in book.state.spends(0)] == [5]
    book.restart()
    assert book.agent_day() == (0, 0)


def test_a_restart_finds_every_hold_and_every_sum(open_book: OPEN) -> None:
    book = open_book()
    book.set_limits(limits({"acme": 1000}))
    held, settled, voided = book.hold(10), book.hold(20), book.hold(30)
    book.settle(settled, 15)
    book.void(voided)
    book.spend(5)
    before = book.sums()
    book.restart()
    assert book.sums() == before
    assert book.budgets.find(voided.terms.id) is None
    again = book.budgets.find(held.terms.id)
    assert again is not None
    assert (again.row(), again.state) == (held.row(), "held")
    book.span(9, decision_id=settled.terms.decision_id)
    book.wait(15 * MINUTE)
    assert book.agent_day() == (5 + 9 + 10, 0)


def test_every_window_of_every_scope_counts_tokens_beside_money(book: Book) -> None:
    hold = book.hold(70, 900)
    assert set(book.sums(unit="tokens").values()) == {(0, 900)}
    assert len(book.sums(unit="tokens")) == 8
    book.settle(hold, 60, 1000)
    assert (book.agent_day(), book.agent_day(unit="tokens")) == ((60, 0), (1000, 0))
    assert [entry.overdraw_tokens for entry in book.state.entries()] == [0, 100]
    book.span((None, 950), decision_id=hold.terms.decision_id)
    assert (book.agent_day(), book.agent_day(unit="tokens")) == ((60, 0), (950, 0))
    book.restart()
    assert (book.agent_day(), book.agent_day(unit="tokens")) == ((60, 0), (950, 0))


def test_a_late_call_counts_its_tokens_in_its_own_day_of_the_tenants_zone(book: Book) -> None:
    """LiteLLM #5651, #16057, #18582: windows that do not reset, or at the wrong hour. The clocks change this night."""
    zoned = limits(tokens={"platform": 100, "acme/support": 100}, zone="Europe/Berlin")
    book.set_limits(zoned)
    book.wait(2 * DAY)
    midnight = NOON + 11 * HOUR  # in Berlin, in winter time
    for at, tokens in ((midnight - 1, 100), (midnight, 30), (midnight + 23 * HOUR - 1, 70), (midnight + 23 * HOUR, 5)):
        book.spend(0, tokens, at=at)
    assert [book.sums(at=at, unit="tokens")["platform", "daily"][0] for at in (NOON, midnight, midnight + DAY)] == [
        100, 100, 5,
    ]  # fmt: skip
    assert {crossing.window_start for crossing in book.state.crossings(0)} == {midnight - DAY, midnight}


def test_a_call_without_a_price_counts_its_tokens(book: Book) -> None:
    book.set_limits(limits({"acme": 100}, tokens={"acme": 100}))
    book.spend(0, 95)
    assert isinstance(book.ask(100, 5), Hold)
    assert [c.unit for c in book.ask(0, 1)] == ["tokens"]  # type: ignore[union-attr]


def test_a_call_that_costs_nothing_is_not_refused_by_money_that_is_gone(book: Book) -> None:
    book.set_limits(limits({"acme": 100}, tokens={"acme": 100}))
    book.spend(200, 0)
    assert isinstance(book.ask(0, 100), Hold)


def test_what_a_call_takes_back_after_it_was_freed_is_overdraw(book: Book) -> None:
    """Else a client that settles low and a span that says the truth would pass a limit, and nobody recorded it."""
    book.set_limits(limits({"acme": 100}))
    low = book.hold(100)
    book.settle(low, 10)
    book.hold(90)
    book.restart()
    book.span(60, decision_id=low.terms.decision_id)
    assert book.sums()["acme", "daily"] == (60, 90)
    assert sum(entry.overdraw for entry in book.state.entries()) == 50


def test_a_hundred_unanswered_holds_leave_room_when_their_time_is_over(open_book: OPEN) -> None:
    """LiteLLM #36926, #27735: refused in one process although nothing is spent."""
    book = open_book(on_hold_expiry="release")
    book.set_limits(limits({"platform": 100}, tokens={"platform": 100}))
    for _ in range(100):
        book.hold(1, 1)
    assert not isinstance(book.ask(1, 1), Hold)
    book.wait(15 * MINUTE)
    assert isinstance(book.ask(100, 100), Hold)


def test_raising_and_lowering_a_limit_re_bases_nothing(book: Book) -> None:
    """LiteLLM PR#25646 (lifetime spend lost at a reset), #30460 (two stores that disagree)."""
    book.spend(40, 40)
    for limit in (50, 10, 10**6, 41):
        book.set_limits(limits({"acme": limit}, tokens={"acme": limit}))
        book.restart()
        assert isinstance(book.ask(1, 1), Hold) is (limit > 40)
        for hold in list(book.budgets._holds):
            book.void(hold)
    assert (book.agent_day(), book.agent_day(unit="tokens")) == ((40, 0), (40, 0))
