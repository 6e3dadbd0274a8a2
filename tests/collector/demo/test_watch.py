"""What the demo's terminal says follows from what the server says."""

from pathlib import Path

import pytest

from collector.demo.fleet import FLEET, STUCK
from collector.demo.watch import Event, Watch
from schemas.control import BudgetView

LIMIT = 50


def view(settled: str, held: str = "0.000000000", *, window: str = "daily", scope: str = STUCK.path) -> BudgetView:
    return BudgetView(
        scope=scope,
        window=window,  # type: ignore[arg-type]
        unit="usd",
        limit=f"{LIMIT}.000000000",
        settled=settled,
        held=held,
        remaining="0.000000000",
        resets_at="2026-11-25T00:00:00Z",
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / f"{STUCK.name}.log"
    path.touch()
    return path


@pytest.fixture
def watch(log: Path) -> Watch:
    return Watch(log.parent)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_threshold_is_told_once_when_settled_and_held_money_reach_it(watch: Watch) -> None:
    assert kinds(watch.look([view("39.999999999")])[1]) == []
    assert kinds(watch.look([view("39.999999998", "0.000000002")])[1]) == ["alert"]
    assert kinds(watch.look([view("44.999999999")])[1]) == []
    assert kinds(watch.look([view("45.000000000")])[1]) == ["warn"]
    assert kinds(watch.look([view("49.000000000")])[1]) == []


def test_a_jump_over_both_thresholds_tells_both(watch: Watch) -> None:
    assert kinds(watch.look([view("49.500000000")])[1]) == ["alert", "warn"]


def test_the_first_refusal_is_the_block_with_the_servers_figures(watch: Watch, log: Path) -> None:
    log.write_text("refused by budget.daily.x: The daily budget is full. It resets tomorrow. To mend: Wait.\n")
    _, events = watch.look([view("50.000000001", "0.250000000")])
    assert events[-1] == Event(
        "blocked",
        STUCK.name,
        "at 100 %: its next call does not fit today's budget",
        {
            "why": "The daily budget is full. It resets tomorrow.",
            "rule": "budget.daily.x",
            "limit": "50.000000000 USD",
            "settled": "50.000000001 USD",
            "held": "0.250000000 USD",
            "overshoot": "0.000000001 USD",
            "resets at": "2026-11-25T00:00:00Z",
            "to mend": "Wait.",
        },
    )


def test_below_the_limit_the_overshoot_is_nothing(watch: Watch, log: Path) -> None:
    log.write_text("refused by budget.daily.x: Full.\n")
    assert watch.look([view("49.999999999")])[1][-1].details["overshoot"] == "0.000000000 USD"


def test_half_a_line_waits_for_its_other_half_and_later_refusals_are_counted(watch: Watch, log: Path) -> None:
    with log.open("a") as file:
        file.write("starting\nrefused by budget.daily.x: Fu")
        file.flush()
        assert watch.look([view("1.000000000")])[1] == []
        file.write("ll.\n")
        file.flush()
        assert kinds(watch.look([view("1.000000000")])[1]) == ["blocked"]
        file.write("refused by budget.daily.x: Full.\nrefused by budget.daily.x: Full.\n")
        file.flush()
        assert kinds(watch.look([view("1.000000000")])[1]) == ["refused", "refused"]
    assert watch.refusals == 3


def test_only_daily_budgets_of_the_fleet_are_shown_and_in_its_order(watch: Watch) -> None:
    views = [view("1.000000000", scope=agent.path) for agent in reversed(FLEET)]
    others = [view("2.000000000", scope="acme"), view("3.000000000", window="monthly")]
    usage, _ = watch.look([*others, *views])
    assert list(usage) == [agent.name for agent in FLEET]
    assert {used.settled for used in usage.values()} == {10**9}
