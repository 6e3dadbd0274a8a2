"""Settings of the matching of decisions with calls."""

from typing import Literal

import msgspec

from schemas.quantities import Duration


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What becomes a finding. How far clocks may differ is `processors.budgets.clock_tolerance`."""

    on_unasked: Literal["auto", "finding", "ignore"] = "auto"
    """A call that nobody asked for: `auto` is a finding for agents that asked within `asked_within`, so that a
    fleet that only emits telemetry makes none; `finding` is one for every agent; `ignore` for none."""

    asked_within: Duration = Duration("7d")
    """How long after its last question an agent counts as one that asks."""

    denial_window: Duration = Duration("15m")
    """How long after a refusal a call of the same agent and model that names no decision counts as made in spite of
    it, unless the agent was allowed that model since."""

    report_interval: Duration = Duration("1m")
    """A finding is told at its first call; what is added to it later is told this often at most, and before a seal."""

    max_rulings: int = 100_000
    """Refusals, and permissions that held no money, that are remembered; about 500 bytes each."""

    max_findings: int = 10_000
    """Findings that are added to; beyond it the one that rested longest is closed."""

    shared_key: Literal["both", "agents", "hosts", "off"] = "both"
    """What makes a shared key of an agent's key: use by two `agents` (other names in what they send), by two `hosts`
    at once, by `both` of these, or nothing. Fleets whose replicas share their agent's key set `agents`."""

    shared_key_window: Duration = Duration("10m")
    """Two names or hosts share a key when they use it within this time of each other."""

    shared_key_overlap: Duration = Duration("30s")
    """How long an old host may go on after a new one came, as in a rolling restart. The default is how long
    Kubernetes lets a pod end (terminationGracePeriodSeconds)."""
