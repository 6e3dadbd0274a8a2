"""Kills as the matching of calls needs them: what was stopped, from when, until when."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

# Kills of these scopes stop model calls; `new_keys` does not.
CALL_SCOPES = frozenset({"all", "llm"})


class Stop(NamedTuple):
    """One kill, in force or released. Times in Unix ns; `until_ns` is `None` while it is in force.

    `target` is platform, ORG, ORG/TENANT, ORG/TENANT/AGENT, model:NAME or tool:NAME.
    """

    id: str
    scope: str
    target: str
    since_ns: int
    until_ns: int | None
    epoch: int


Stops = Callable[[], Sequence[Stop]]
"""The kills that calls which still arrive may have ignored: those in force, and those released lately."""


def no_stops() -> Sequence[Stop]:
    """Nothing was ever killed."""
    return ()


def concerns_agent(target: str, agent: str) -> bool:
    """Whether a kill of this target stops all calls of an agent (ORG/TENANT/AGENT)."""
    return target in {"platform", agent} or agent.startswith(f"{target}/")
