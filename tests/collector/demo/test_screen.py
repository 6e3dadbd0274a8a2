"""What a person sees: lines with the time in front, and a table where a terminal can show one."""

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from collector.demo.fleet import STUCK
from collector.demo.screen import LiveScreen, Screen, dollars, standing
from collector.demo.watch import Event, Usage

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
USAGE = {STUCK.name: Usage(STUCK.path, 50 * 10**9, 41_239_999_999, 500_000_000, "2026-11-25T00:00:00Z")}


def drawn(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def test_an_event_is_a_line_with_its_details_below() -> None:
    screen = Screen(console(), lambda: NOON)
    screen.event(Event("blocked", "retry-loop", "The budget is full.", {"rule": "budget.daily", "limit": "50 USD"}))
    assert drawn(screen._console) == (
        "12:00:00  BLOCKED   retry-loop  The budget is full.\n"
        "                    rule       budget.daily\n"
        "                    limit      50 USD\n"
    )


def test_what_does_not_fit_its_line_goes_on_below_its_beginning() -> None:
    screen = Screen(console(), lambda: NOON)
    screen.say("closing", "word " * 40, details={"why": "reason " * 30})
    lines = drawn(screen._console).splitlines()
    assert all(len(line) <= 120 for line in lines)
    assert [line[:20].strip() for line in lines] == ["12:00:00  closing", "", "", "", ""]
    assert lines[1].startswith(f"{'':20}word")
    assert lines[3].startswith(f"{'':31}reason")


def test_spend_is_told_every_few_seconds_only() -> None:
    clock = NOON
    screen = Screen(console(), lambda: clock)
    for step in range(12):
        clock = NOON + timedelta(seconds=step)
        screen.usage(USAGE)
    assert drawn(screen._console).count("retry-loop $41.23 of $50.00") == 3


def test_the_live_table_shows_settled_held_budget_and_share() -> None:
    target = console()
    target.print(standing(USAGE, {STUCK.name}))
    row = drawn(target).splitlines()[-1]
    assert row.split()[:4] == ["retry-loop", "$41.23", "$0.50", "$50.00"]
    assert row.rstrip().endswith(" 83 %  BLOCKED")
    assert row.count("█") == 20 * 83 // 100
    assert len(row.rstrip()) < 80


def test_the_live_screen_leaves_its_lines_behind_when_it_closes() -> None:
    with LiveScreen(console(terminal=True), lambda: NOON) as screen:
        screen.usage(USAGE)
        screen.say("server", "ready")
    assert "server    ready" in drawn(screen._console)


def test_dollars_are_rounded_down_so_that_a_budget_never_looks_spent_too_early() -> None:
    assert dollars(49_999_999_999) == "$49.99"
    assert dollars(50_000_000_000) == "$50.00"
    assert dollars(0) == "$0.00"
