"""Usage and events → a terminal a tired person can read: live when there is one, plain lines when not.

Invariant: both show the same numbers in the same words; only how they are drawn differs.
"""

import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.demo.watch import ALERT_PERCENT, WARN_PERCENT, Event, Usage
from schemas.money import NANO_PER_USD

PLAIN_WIDTH = 120
"""Of lines that go to a file, where nobody has said how wide it is."""

BAR_CELLS = 20
NAME_CELLS = 11
PLAIN_SPEND_EVERY_S = 5

_LABELS = {
    "alert": ("ALERT", "yellow"),
    "warn": ("WARN", "bold yellow"),
    "blocked": ("BLOCKED", "bold red"),
    "refused": ("REFUSED", "red"),
}


class Screen:
    """Plain lines with the time in front. The live screen draws usage its own way."""

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        self._console = console
        self._now = now
        self._blocked: set[str] = set()
        self._usage_shown_at: datetime | None = None

    @property
    def is_terminal(self) -> bool:
        """True when somebody is looking."""
        return self._console.is_terminal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Plain lines need no end."""

    def say(self, label: str, text: str, *, style: str = "cyan", details: Mapping[str, str] | None = None) -> None:
        """Time, label and text; below it the details, each with its name."""
        self._hang((f"{self._now():%H:%M:%S}", "dim"), (label, style), text)
        for name, value in (details or {}).items():
            self._hang(("", ""), ("", ""), value, name=name)

    def event(self, event: Event) -> None:
        """What happened to an agent."""
        label, style = _LABELS[event.kind]
        if event.kind == "blocked":
            self._blocked.add(event.agent)
        self.say(label, f"{event.agent}  {event.text}", style=style, details=event.details)

    def usage(self, usage: Mapping[str, Usage]) -> None:
        """Where every agent stands, every few seconds."""
        now = self._now()
        if self._usage_shown_at is None or (now - self._usage_shown_at).total_seconds() >= PLAIN_SPEND_EVERY_S:
            self._usage_shown_at = now
            self.say(
                "spend", "   ".join(f"{name} {dollars(u.settled)} of {dollars(u.limit)}" for name, u in usage.items())
            )

    def block(self, text: str) -> None:
        """Lines as they are."""
        self._console.print(Text(text), soft_wrap=True)

    def _hang(self, time: tuple[str, str], label: tuple[str, str], text: str, *, name: str = "") -> None:
        """One entry; what does not fit its line goes on below its own beginning."""
        heads = [(time, 10), (label, 10)] + ([((name, "dim"), NAME_CELLS)] if name else [])
        head = Text.assemble(*((words.ljust(cells), style) for (words, style), cells in heads))
        width = max(20, self._console.width - len(head))
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            self._console.print(head if number == 0 else " " * len(head), line, sep="", soft_wrap=True)


class LiveScreen(Screen):
    """A table that stays at the bottom; lines scroll by above it."""

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        super().__init__(console, now)
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the lines, take the table away."""
        self._live.stop()

    def usage(self, usage: Mapping[str, Usage]) -> None:
        """Draw the table anew."""
        self._live.update(standing(usage, self._blocked))


def standing(usage: Mapping[str, Usage], blocked: set[str]) -> Table:
    """One row an agent: how much of its day is gone. Fits 80 columns."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("\nagent", no_wrap=True)
    for title in ("settled", "held", "budget"):
        table.add_column(f"\n{title}", justify="right", no_wrap=True)
    table.add_column("\ntoday", no_wrap=True)
    for name, used in usage.items():
        money = (dollars(used.settled), dollars(used.held), dollars(used.limit))
        table.add_row(name, *money, _bar(used, blocked=name in blocked))
    return table


def _bar(used: Usage, *, blocked: bool) -> Text:
    colour = "red" if used.percent >= WARN_PERCENT else "yellow" if used.percent >= ALERT_PERCENT else "green"
    full = min(BAR_CELLS, used.percent * BAR_CELLS // 100)
    bar = Text.assemble(("█" * full, colour), ("░" * (BAR_CELLS - full), "dim"), f" {used.percent:3d} %")
    return bar.append("  BLOCKED", "bold red") if blocked else bar


def dollars(nano_usd: int) -> str:
    """Dollars and cents for a glance, rounded down; exact amounts are in the events and reports."""
    cents = nano_usd * 100 // NANO_PER_USD
    return f"${cents // 100}.{cents % 100:02d}"


def screen_for(console: Console) -> Screen:
    """The screen this console can show."""

    def now() -> datetime:
        return datetime.now(UTC).astimezone()

    return LiveScreen(console, now) if console.is_terminal else Screen(console, now)


def console_for_stdout() -> Console:
    """Standard output, as wide as its terminal; lines for a file have a width of their own."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
