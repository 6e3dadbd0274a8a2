"""What the server and the agents say → what happened since the last look.

Invariant: every number shown was read from `GET /v1/budgets`; nothing is added up here. A threshold
is met by settled and held money together, as in the server, and is told once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from collector.demo.fleet import FLEET, STUCK
from schemas.control import BudgetView
from schemas.money import format_usd, parse_usd

ALERT_PERCENT = 80
WARN_PERCENT = 90
REFUSED = "refused by "
MEND = " To mend: "


class Usage(msgspec.Struct, frozen=True):
    """One agent's daily budget at one moment, nano-USD."""

    scope: str
    limit: int
    settled: int
    held: int
    resets_at: str

    @property
    def percent(self) -> int:
        """Whole percent of the limit that is settled or held, rounded down."""
        return (self.settled + self.held) * 100 // self.limit

    @property
    def overshoot(self) -> int:
        """What was settled beyond the limit."""
        return max(0, self.settled - self.limit)


class Event(msgspec.Struct, frozen=True):
    """Something worth a line: `kind` is alert, warn, blocked, refused or left; `details` are label → value."""

    kind: str
    agent: str
    text: str
    details: Mapping[str, str] = {}


class Watch:
    """Looks at the fleet again and again. Owned by the demo's one thread."""

    def __init__(self, logs: Path) -> None:
        self.refusals = 0
        self._told: set[tuple[str, int]] = set()
        self._log = logs / f"{STUCK.name}.log"
        self._read = 0

    def look(self, budgets: Sequence[BudgetView]) -> tuple[dict[str, Usage], list[Event]]:
        """Usage by agent, and what is new."""
        usage = usage_by_agent(budgets)
        events = [event for name, used in usage.items() for event in self._thresholds(name, used)]
        return usage, events + [self._refused(line, usage[STUCK.name]) for line in self._new_refusals()]

    def _thresholds(self, name: str, used: Usage) -> list[Event]:
        events = []
        for percent, kind in ((ALERT_PERCENT, "alert"), (WARN_PERCENT, "warn")):
            if used.percent >= percent and (name, percent) not in self._told:
                self._told.add((name, percent))
                text = (
                    f"{percent} % of today's budget: {format_usd(used.settled)} settled + {format_usd(used.held)} held"
                )
                events.append(Event(kind, name, f"{text} of {format_usd(used.limit)} USD"))
        return events

    def _refused(self, line: str, used: Usage) -> Event:
        self.refusals += 1
        rule, _, why = line.removeprefix(REFUSED).partition(": ")
        reason, _, mend = why.partition(MEND)
        if self.refusals > 1:
            return Event("refused", STUCK.name, f"asked again, refused again ({self.refusals} times so far)")
        details = {
            "why": reason,
            "rule": rule,
            "limit": f"{format_usd(used.limit)} USD",
            "settled": f"{format_usd(used.settled)} USD",
            "held": f"{format_usd(used.held)} USD",
            "overshoot": f"{format_usd(used.overshoot)} USD",
            "resets at": used.resets_at,
            "to mend": mend,
        }
        return Event("blocked", STUCK.name, "at 100 %: its next call does not fit today's budget", details)

    def _new_refusals(self) -> list[str]:
        """Whole lines the stuck agent wrote since the last look."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        return [line for line in whole.decode().splitlines() if line.startswith(REFUSED)]


def usage_by_agent(budgets: Sequence[BudgetView]) -> dict[str, Usage]:
    """The daily budgets of the fleet, in the order of the fleet."""
    daily = {view.scope: view for view in budgets if view.window == "daily"}
    return {agent.name: _usage(daily[agent.path]) for agent in FLEET if agent.path in daily}


def _usage(view: BudgetView) -> Usage:
    return Usage(
        scope=view.scope,
        limit=parse_usd(view.limit),
        settled=parse_usd(view.settled),
        held=parse_usd(view.held),
        resets_at=view.resets_at,
    )
