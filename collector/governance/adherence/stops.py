"""Kills as the matching of calls needs them: what was stopped, from when, until when."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from collector.governance.kills import Kills

# Kills of these scopes stop model calls; `new_keys` does not.
CALL_SCOPES = frozenset({"all", "llm"})
# Telemetry that was buffered longer than this is held against no kill that is over.
_LATE_NS = 7 * 86_400 * 10**9


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


def lately(kills: Kills, now_ns: int) -> list[Stop]:
    """The kills in force, and those that were released so lately that calls of before may still arrive."""
    return [
        Stop(row.id, row.scope, row.target, row.since, release.recorded_time if release else None, row.epoch)
        for row, release in kills.history()
        if release is None or now_ns - release.recorded_time <= _LATE_NS
    ]
