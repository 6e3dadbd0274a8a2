"""A fleet that went home → how it ended: the stuck agent's budget, two reports, where to look next.

Invariant: the agents are gone and everything they sent is booked before a number is read.
"""

from collections.abc import Iterator
from pathlib import Path

from collector.demo.fleet import ORG, STUCK
from collector.demo.stage import Stage
from collector.demo.watch import usage_by_agent
from schemas.money import format_usd

ACTIVITY_ROWS = 12


def close(stage: Stage) -> None:
    """Send the agents home, then show how it ended; raises `PartFailed`."""
    screen, server = stage.screen, stage.server
    screen.say("closing", "the agents finish their calls and send their last spans")
    stage.send_home()
    server.command("seal")
    used = usage_by_agent(server.budgets())[STUCK.name]
    screen.say(
        "closing",
        f"{STUCK.name} stands at {format_usd(used.settled)} of {format_usd(used.limit)} USD; "
        f"overshoot {format_usd(used.overshoot)} USD",
    )
    reports = (
        ("spend", "--by", "agent,model"),
        ("activity", "--kind", "budget_crossing,decision", "--outcome", "deny", "--limit", str(ACTIVITY_ROWS)),
    )
    for words in reports:
        screen.block(f"\n$ spanward report {' '.join(words)} --data {server.data}")
        screen.block(server.command("report", *words).rstrip())


def next_steps(data: Path) -> Iterator[str]:
    """Commands worth trying on the data directory that stays."""
    yield f"spanward report spend --data {data} --by agent,day --format csv"
    yield f"spanward report activity --data {data} --agent {ORG}/support/{STUCK.name}"
    yield f"spanward keys list --data {data}"
    yield f"spanward demo --data {data} --keep"
