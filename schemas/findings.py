"""What a ledger entry of kind `finding` says in its `detail`, for reports and auditors."""

from typing import Final

import msgspec


class FindingRule:
    """The values of `action` on entries of kind `finding`."""

    AFTER_DENY: Final = "adherence.after_deny"
    """A metered call that ran although its decision refused it."""
    AFTER_KILL: Final = "adherence.after_kill"
    """A metered call that began while a kill stopped it."""
    AFTER_EXPIRY: Final = "adherence.after_expiry"
    """A metered call that began after the hold of its decision had expired."""
    UNASKED: Final = "adherence.unasked"
    """A metered call that nobody asked for."""
    MODEL: Final = "adherence.model"
    """A metered call on another model than was decided."""
    SHARED_KEY: Final = "keys.shared"
    """An agent's key that two agents or two hosts use."""


class FindingDetail(msgspec.Struct, frozen=True):
    """`detail` of a finding. Several entries may tell of one finding: their `count` and `cost_usd` add up."""

    finding: str
    """What all entries of one finding have in common: rule, agent, subject and cause."""
    cause: str
    """The kill's id, the hour (UTC) in which the calls began, or for a shared key the day and who shares it."""
    count: int
    """Calls this entry adds."""
    total: int
    """Calls of the finding so far."""
    cost_usd: str
    """What the calls this entry adds cost, where that is known."""
    unpriced: int
    """Calls this entry adds whose cost is not known."""
    first: str
    """When the first call of the finding began, RFC 3339 UTC, by the emitter's clock."""
    last: str
    """When the last one did."""
    decisions: list[str]
    """Up to five decisions that the calls named or ignored."""
    entries: list[str]
    """Up to five `entry_id`s of calls that this entry adds."""
    traces: list[str]
    """Up to five of their traces."""
