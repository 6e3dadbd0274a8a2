"""A fleet that went home → how it ended: the stuck agent's budget, two reports, where to look next.

Invariant: the agents are gone and everything they sent is booked before a number is read.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from collector.demo.fleet import STUCK
from collector.demo.stage import Stage
from collector.demo.watch import usage_by_agent
from schemas.money import format_usd

TRAIL_ROWS = 10

REPORTS = (
    ("spend", "--by", "agent,model"),
    ("activity", "--agent", STUCK.path, "--outcome", "80,90,100,deny", "--limit", str(TRAIL_ROWS)),
)
"""The second is the trail of the block: what was crossed, what was refused."""


def close(stage: Stage) -> None:
    """Send the agents home, then show how it ended; raises `PartFailed`, `Stopped`."""
    screen, server = stage.screen, stage.server
    screen.say("closing", "the agents finish their calls and send their last spans")
    stage.stop_agents()
    stage.note_bill()
    server.seal()
    used = usage_by_agent(server.budgets())[STUCK.name]
    screen.say(
        "closing",
        f"{STUCK.name} stands at {format_usd(used.settled)} of {format_usd(used.limit)} USD; "
        f"overshoot {format_usd(used.overshoot)} USD",
    )
    for words in REPORTS:
        stage.parts.check()
        screen.block(f"\n$ {command()} report {' '.join(words)} --data {server.data}")
        text = server.report(*words, to_terminal=screen.is_terminal)
        if text:
            screen.block(text.rstrip())


def next_steps(data: Path) -> Iterator[str]:
    """Commands worth trying on the data directory that stays."""
    yield f"{command()} report spend --data {data} --by agent,day --format csv"
    yield f"{command()} report activity --data {data} --agent {STUCK.path} --kind hold"
    yield f"{command()} keys list --data {data}"
    yield f"{command()} report activity --data {data} --kind key,governance"


def command() -> str:
    """`spanward` as this user has to write it: by name, or by the path it was started with."""
    started = sys.argv[0]
    found = shutil.which("spanward")
    if Path(started).name != "spanward" or (found and Path(found).resolve() == Path(started).resolve()):
        return "spanward"
    return started
