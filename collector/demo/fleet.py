"""The fleet of the demo → the governance files a platform team would write for it.

Budgets are narrower below than above: the three agents together could spend 95 USD a day, their
tenant may spend 120. Nothing here limits the agents themselves.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

ORG = "acme"
TENANT = "support"

MIDNIGHT_MARGIN = timedelta(minutes=15)
"""A demo that begins this close before midnight would see its daily budgets reset in the middle."""


class Agent(msgspec.Struct, frozen=True):
    """One agent: its name, the program that is it, the door it exports to, its daily budget in USD."""

    name: str
    module: str
    door: Literal["otlp_http", "otlp_grpc"]
    daily_usd: int
    about: str

    @property
    def path(self) -> str:
        """Its name among all agents, and its budget scope."""
        return f"{ORG}/{TENANT}/{self.name}"


STUCK = Agent(
    "retry-loop", "collector.demo.agents.retry_loop", "otlp_http", 50, "its tool keeps failing, it never gives up"
)

FLEET = (
    Agent("summariser", "collector.demo.agents.summariser", "otlp_http", 20, "one report in, one summary out"),
    Agent("researcher", "collector.demo.agents.researcher", "otlp_grpc", 25, "calls a tool, exports over gRPC"),
    STUCK,
)

_ORG_FILE = """\
display_name: Acme Corporation
time_zone: {zone}
budgets:
  daily: {{usd: 500}}
  monthly: {{usd: 10000}}
"""

_TENANT_FILE = """\
display_name: Customer support
budgets:
  daily: {usd: 120}
  monthly: {usd: 2500}
"""

_AGENT_FILE = """\
display_name: {name} ({about})
budgets:
  daily: {{usd: {daily_usd}}}
"""


def write_governance(folder: Path, now: datetime) -> None:
    """Write `ORG/org.yaml`, `ORG/TENANT/tenant.yaml` and a file for each agent below `folder`."""
    agents = folder / ORG / TENANT / "agents"
    agents.mkdir(parents=True, exist_ok=True)
    (folder / ORG / "org.yaml").write_text(_ORG_FILE.format(zone=time_zone(now)))
    (folder / ORG / TENANT / "tenant.yaml").write_text(_TENANT_FILE)
    for agent in FLEET:
        text = _AGENT_FILE.format(name=agent.name, about=agent.about, daily_usd=agent.daily_usd)
        (agents / f"{agent.name}.yaml").write_text(text)


def time_zone(now: datetime) -> str:
    """UTC, or a zone whose day does not end during the demo."""
    tomorrow = (now.astimezone(UTC) + MIDNIGHT_MARGIN).date()
    # In POSIX names of zones the sign is turned around: Etc/GMT-6 is six hours ahead of UTC.
    return "UTC" if tomorrow == now.astimezone(UTC).date() else "Etc/GMT-6"
