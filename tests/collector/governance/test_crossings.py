"""80, 90 and 100 % of a budget are told once each, on the way up and also by calls that arrive late.

Complaints of others covered here: mlflow/mlflow#26054 (a crossing by backfill never alerts), LiteLLM
#3738, #3113 (the same alert again and again), #32597 (80/85/95 once a period).
"""

import msgspec
import pytest

from collector.governance.holds import Hold
from schemas.booking import Event
from schemas.governance import Mode
from tests.collector.governance.bookkeeping import DAY, HOUR, NOON, Book, limits


def told(book: Book) -> list[tuple[str, str]]:
    """Subject and threshold of the recorded crossings, oldest first."""
    rows = [msgspec.msgpack.decode(event, type=Event).row for _, event in book.state.events(0, 1000)]
    return [(str(row["subject"]), str(row["outcome"])) for row in rows if row["kind"] == "budget_crossing"]


def test_each_threshold_is_told_once_on_the_way_up(book: Book) -> None:
    book.set_limits(limits({"acme": 1000}))
    for _ in range(100):
        book.spend(10)
    day = "budget.daily.acme"
    assert told(book) == [(day, "80"), (day, "90"), (day, "100")]


def test_held_money_counts_and_one_step_may_pass_several_thresholds(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    hold = book.hold(95)
    book.void(hold)
    book.hold(95)
    assert [threshold for _, threshold in told(book)] == ["80", "90"]


def test_a_threshold_is_reached_exactly_and_not_a_nano_before(book: Book) -> None:
    book.set_limits(limits({"acme": 999}))
    book.spend(799)
    assert told(book) == []
    book.spend(1)
    assert [threshold for _, threshold in told(book)] == ["80"]


def test_the_first_refusal_is_the_hundred_percent(book: Book) -> None:
    """A call that does not fit blocks the agent even while a little is left."""
    book.set_limits(limits({"acme": 100}, monthly={"acme": 1000}))
    book.hold(85)
    for _ in range(3):
        book.ask(50)
    assert told(book) == [("budget.daily.acme", "80"), ("budget.daily.acme", "100")]


def test_a_budget_of_nothing_crosses_only_when_something_is_asked(book: Book) -> None:
    book.set_limits(limits({"acme": 0}))
    book.wait(HOUR)
    assert told(book) == []
    book.ask(1)
    assert told(book) == [("budget.daily.acme", "100")]


def test_a_new_window_starts_over(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    for _ in range(2):
        book.spend(85)
        book.wait(DAY)
    assert [threshold for _, threshold in told(book)] == ["80", "80"]


def test_late_calls_cross_the_budget_of_their_own_day(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.wait(3 * DAY)
    book.spend(85, at=NOON)
    book.spend(85, at=NOON)
    assert [threshold for _, threshold in told(book)] == ["80", "90", "100"]
    assert {crossing.window_start for crossing in book.state.crossings(0)} == {NOON - 12 * HOUR}


def test_nothing_is_told_again_after_a_restart(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.spend(85)
    book.restart()
    book.spend(1)
    assert [threshold for _, threshold in told(book)] == ["80"]


def test_a_raised_limit_is_measured_anew_and_going_back_repeats_nothing(book: Book) -> None:
    low, high = limits({"acme": 100}), limits({"acme": 200})
    book.set_limits(low)
    book.spend(85)
    book.set_limits(high)
    assert [threshold for _, threshold in told(book)] == ["80"]
    book.spend(80)
    assert [threshold for _, threshold in told(book)] == ["80", "80"]
    book.set_limits(low)
    book.set_limits(high)
    book.set_limits(low)
    assert [threshold for _, threshold in told(book)] == ["80", "80", "90", "100"]


def test_a_limit_set_below_what_is_spent_is_told_at_once_but_not_for_past_days(book: Book) -> None:
    book.spend(85)
    book.wait(DAY)
    book.spend(85)
    book.set_limits(limits({"acme": 100}))
    assert told(book) == [("budget.daily.acme", "80")]


def test_thresholds_are_measured_against_a_raised_limit_and_again_when_the_increase_ends(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.spend(85)
    book.increase(100, ns=HOUR)
    book.spend(75)
    assert [threshold for _, threshold in told(book)] == ["80", "80"]
    book.wait(HOUR)
    assert [threshold for _, threshold in told(book)] == ["80", "80", "90", "100"]
    book.increase(100, ns=HOUR)
    assert len(told(book)) == 4, "going back to a limit repeats nothing"


def test_tokens_and_money_of_one_window_are_told_apart(book: Book) -> None:
    book.set_limits(limits({"acme": 100}, tokens={"acme": 100}))
    book.spend(85, 95)
    tokens = "budget.daily.tokens.acme"
    assert told(book) == [("budget.daily.acme", "80"), (tokens, "80"), (tokens, "90")]
    assert not isinstance(book.ask(0, 6), Hold)
    assert isinstance(book.ask(15, 5), Hold)
    assert told(book)[3:] == [(tokens, "100"), ("budget.daily.acme", "90"), ("budget.daily.acme", "100")]
    book.restart()
    book.spend(1, 1)
    assert len(told(book)) == 6


@pytest.mark.parametrize("mode", ["observe", "warn"])
def test_a_limit_that_refuses_nothing_is_still_told_when_it_is_reached(book: Book, mode: Mode) -> None:
    book.set_limits(limits({"acme": 100}, mode=mode))
    assert isinstance(book.ask(50), Hold)
    assert isinstance(book.ask(500), Hold)
    assert [threshold for _, threshold in told(book)] == ["80", "90", "100"]
    # Who only observes asked not to be told.
    assert len(book.state.notices(0, 10)) == (3 if mode == "warn" else 0)


def test_a_crossing_says_whose_budget_how_much_and_until_when(book: Book) -> None:
    book.set_limits(limits({"acme/support": 100_000_000_000}))
    book.spend(80_500_000_000)
    row = next(
        row
        for row in (msgspec.msgpack.decode(event, type=Event).row for _, event in book.state.events(0, 10))
        if row["kind"] == "budget_crossing"
    )
    assert (row["org"], row["tenant"], row.get("agent")) == ("acme", "support", None)
    assert row["message"] == (
        "The daily budget of acme/support reached 80 %: 80.500000000 USD settled and 0.000000000 USD held "
        "of 100.000000000 USD."
    )
    assert msgspec.json.decode(str(row["detail"])) == {
        "scope": "acme/support",
        "window": "daily",
        "window_start": "2026-03-28T00:00:00Z",
        "resets_at": "2026-03-29T00:00:00Z",
        "unit": "usd",
        "mode": "enforce",
        "threshold": 80,
        "limit_usd": "100.000000000",
        "settled_usd": "80.500000000",
        "held_usd": "0.000000000",
    }


def test_a_crossing_and_its_notice_are_one_change(book: Book) -> None:
    """The key of the notice is what makes it one: scope, window, start, unit, threshold and limit."""
    book.set_limits(limits({"acme": 100}, monthly={"acme/support": 120}))
    book.spend(95)
    book.restart()
    book.spend(10)
    keys = [stored.notice.key for stored in book.state.notices(0, 100)]
    day, month = "acme|daily|2026-03-28T00:00:00Z|usd", "acme/support|monthly|2026-03-01T00:00:00Z|usd"
    assert keys == [f"{day}|80|100", f"{day}|90|100", f"{day}|100|100", f"{month}|80|120"]
    assert len(keys) == len(book.state.crossings(0)) == len(told(book))


@pytest.mark.parametrize(
    ("scope", "file"),
    [
        ("acme", "acme/org.yaml"),
        ("acme/support", "acme/support/tenant.yaml"),
        ("acme/support/triage", "acme/support/agents/triage.yaml"),
    ],
)
def test_a_notice_names_the_file_that_holds_the_limit(book: Book, scope: str, file: str) -> None:
    book.set_limits(limits({scope: 1_500_000_000}))
    book.spend(1_200_000_001)
    ((_, notice),) = book.state.notices(0, 100)
    assert f"change budgets.daily.usd in governance/{file}, or" in notice.text
    assert notice.text.startswith("1.200000001 USD are settled and 0.00 USD held of 1.50 USD, 80 % of")
    assert (notice.kind, notice.severity, notice.scope) == ("budget.alert", "info", scope)
    assert notice.data["resets_at"] == "2026-03-29T00:00:00Z"


def test_a_budget_of_nothing_is_told_to_be_used_up(book: Book) -> None:
    book.set_limits(limits({"acme": 0}))
    book.ask(1)
    ((_, notice),) = book.state.notices(0, 100)
    assert (notice.kind, notice.severity) == ("budget.block", "critical")
    assert "100 % of the daily budget of acme. Calls that do not fit are refused" in notice.text


def test_a_token_budget_is_told_in_tokens(book: Book) -> None:
    book.set_limits(limits(tokens={"platform": 1000}))
    book.spend(0, tokens=900)
    notices = [stored.notice for stored in book.state.notices(0, 100)]
    assert [notice.kind for notice in notices] == ["budget.alert", "budget.warning"]
    text = "900 tokens are settled and 0 tokens held of 1000 tokens, 90 % of the daily token budget of platform."
    assert notices[1].text.startswith(text)
    assert "change budgets.daily.tokens in governance/platform.yaml" in notices[1].text


def test_a_budget_that_only_warns_says_that_nothing_is_refused(book: Book) -> None:
    book.set_limits(limits({"acme": 100}, mode="warn"))
    book.spend(100)
    *_, (_, notice) = book.state.notices(0, 100)
    assert (notice.kind, notice.data["mode"]) == ("budget.block", "warn")
    assert "Its mode is warn, so nothing is refused." in notice.text


def test_one_call_too_large_for_an_untouched_budget_is_told_as_that_and_not_as_used_up(book: Book) -> None:
    book.set_limits(limits({"acme": 100}))
    book.ask(101)
    ((_, notice),) = book.state.notices(0, 100)
    assert (notice.kind, notice.title) == ("budget.block", "The daily budget of acme had no room for a call")
    rows = [msgspec.msgpack.decode(event, type=Event).row for _, event in book.state.events(0, 1000)]
    (crossed,) = (row["message"] for row in rows if row["kind"] == "budget_crossing")
    assert "had no room for a call, which counts as 100 %: 0.000000000 USD settled" in str(crossed)
