"""Usage and events → a terminal a tired person can read: live when there is one, plain lines when not.

Invariant: both show the same numbers in the same words; only how they are drawn differs.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.demo.fleet import FLEET
from collector.demo.watch import ALERT_PERCENT, WARN_PERCENT, Event, Usage
from schemas.money import NANO_PER_USD

BAR_CELLS = 24
PLAIN_SPEND_EVERY_S = 5

LABELS = {
    "alert": ("ALERT", "yellow"),
    "warn": ("WARN", "dark_orange"),
    "blocked": ("BLOCKED", "bold red"),
    "refused": ("REFUSED", "red"),
}


class Screen:
    """Plain lines with the time in front. The live screen draws usage its own way."""

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        self._console = console
        self._now = now
        self._usage_shown_at: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Plain lines need no end."""

    def say(self, label: str, text: str, *, style: str = "") -> None:
        """One line: time, label, text."""
        line = Text.assemble((f"{self._now():%H:%M:%S}  ", "dim"), (f"{label:<10}", style or "cyan"), text)
        self._console.print(line, soft_wrap=True)

    def event(self, event: Event) -> None:
        """What happened, with its details below it."""
        label, style = LABELS[event.kind]
        self.say(label, f"{event.agent}  {event.text}", style=style)
        for name, value in event.details.items():
            self._console.print(Text.assemble(f"{'':20}{name:<10} ", (value, "bold")), soft_wrap=True)

    def usage(self, usage: Mapping[str, Usage]) -> None:
        """Where every agent stands, every few seconds."""
        now = self._now()
        if self._usage_shown_at is None or (now - self._usage_shown_at).total_seconds() >= PLAIN_SPEND_EVERY_S:
            self._usage_shown_at = now
            standing = (f"{name} {dollars(used.settled)} of {dollars(used.limit)}" for name, used in usage.items())
            self.say("spend", "   ".join(standing))

    def block(self, text: str) -> None:
        """Lines as they are."""
        self._console.print(Text(text), soft_wrap=True)


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
        self._live.update(standing(usage))


def standing(usage: Mapping[str, Usage]) -> Table:
    """One row an agent: how much of its day is gone."""
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    for title, justify in (
        ("agent", "left"),
        ("settled", "right"),
        ("held", "right"),
        ("budget", "right"),
        ("", "left"),
    ):
        table.add_column(title, justify="right" if justify == "right" else "left", header_style="dim")
    abouts = {agent.name: agent.about for agent in FLEET}
    for name, used in usage.items():
        colour = "red" if used.percent >= WARN_PERCENT else "yellow" if used.percent >= ALERT_PERCENT else "green"
        full = min(BAR_CELLS, used.percent * BAR_CELLS // 100)
        bar = Text.assemble(("█" * full, colour), ("░" * (BAR_CELLS - full), "dim"), f" {used.percent:3d} %")
        about = Text(abouts[name], style="dim")
        table.add_row(
            name, dollars(used.settled), dollars(used.held), dollars(used.limit), Text.assemble(bar, "  ", about)
        )
    return table


def dollars(nano_usd: int) -> str:
    """Dollars and cents for a glance, rounded down; exact amounts are in the events and reports."""
    cents = nano_usd * 100 // NANO_PER_USD
    return f"${cents // 100}.{cents % 100:02d}"


def screen_for(console: Console, *, live: bool) -> Screen:
    """The screen this terminal can show."""

    def now() -> datetime:
        return datetime.now(UTC).astimezone()

    return LiveScreen(console, now) if live else Screen(console, now)
