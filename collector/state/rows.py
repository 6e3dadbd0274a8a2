"""The rows of `state.db` as Python sees them, and the `Group` that collects what one transaction writes.

Amounts are nano-USD, times Unix ns; `tokens` stands beside each amount that is counted in both. What
the rows mean is left to `governance`.
"""

from typing import Literal, NamedTuple

import msgspec

from collector.state.notices import Notice
from schemas.control import HoldBasis, Verdict
from schemas.kills import KillScope

_ENCODE = msgspec.msgpack.Encoder().encode

Row = dict[str, str | int | bool | None]
HoldStatus = Literal["held", "settled", "void", "expired"]
SettledBy = Literal["", "client", "span", "expiry"]
DeliveryState = Literal["pending", "delivered", "failed"]
HoldChangeKind = Literal["settle", "void", "expire", "correct", "close"]


class HoldRow(NamedTuple):
    """One hold as it was made."""

    id: str
    decision_id: str
    credential_id: str
    org: str
    tenant: str
    agent: str
    provider: str
    model: str
    basis: HoldBasis
    created: int
    expires: int
    amount: int
    tokens: int


class HoldChange(NamedTuple):
    """What became of a hold, and what that added to settled, held and overdraw.

    `number` counts the changes of one hold from 1; nothing follows a `final` one.
    """

    hold_id: str
    number: int
    kind: HoldChangeKind
    state: HoldStatus
    settled: int | None
    settled_by: SettledBy
    final: bool
    settled_added: int
    held_added: int
    overdraw_added: int
    recorded_time: int
    settled_tokens: int | None
    settled_tokens_added: int
    held_tokens_added: int
    overdraw_tokens_added: int


class StoredHold(NamedTuple):
    """A hold, its last change, if any, and what all of them added to overdraw (nano-USD, tokens)."""

    made: HoldRow
    change: HoldChange | None
    overdraw: tuple[int, int] = (0, 0)


class SpendLine(NamedTuple):
    """Spend that one booking added to one agent's quarter of an hour."""

    org: str
    tenant: str
    agent: str
    slot_time: int
    amount: int
    recorded_time: int
    tokens: int


class Entry(NamedTuple):
    """One line of the budget book: what a hold, a change of one or spend added."""

    kind: str
    hold_id: str | None
    org: str
    tenant: str
    agent: str
    time: int
    settled: int
    held: int
    overdraw: int
    recorded_time: int
    settled_tokens: int
    held_tokens: int
    overdraw_tokens: int


class Crossing(NamedTuple):
    """A threshold that was reached, recorded once for each limit it was measured against."""

    window_start: int
    scope: str
    window: str
    unit: str
    threshold: int
    limit: int
    recorded_time: int


class KeptDecision(NamedTuple):
    """An answer kept so that a repeated question gets it again."""

    credential_id: str
    idempotency_key: str
    request_digest: bytes
    response: bytes
    recorded_time: int


class Ruling(NamedTuple):
    """A decision that no hold tells of: a refusal, what was allowed without money, what lifted a refusal."""

    decision_id: str
    agent: str
    provider: str
    model: str
    verdict: Verdict
    rule: str
    recorded_time: int


class Asker(NamedTuple):
    """An agent that asks before it acts, with its first question and, to the hour, its last."""

    agent: str
    since: int
    until: int


class KillRow(NamedTuple):
    """A kill as it was made."""

    id: str
    scope: KillScope
    target: str
    reason: str
    actor: str
    since: int
    epoch: int


class ReleaseRow(NamedTuple):
    """The release of a kill."""

    kill_id: str
    reason: str
    actor: str
    recorded_time: int
    epoch: int


class Named(NamedTuple):
    """A model or a tool that somebody asked about."""

    kind: Literal["model", "tool"]
    name: str


class Increase(NamedTuple):
    """A limit that is higher by so much until a moment."""

    id: str
    scope: str
    window: str
    usd: int
    tokens: int
    since: int
    until: int
    actor: str
    reason: str


class Spend(NamedTuple):
    """What one agent settled in one quarter of an hour."""

    org: str
    tenant: str
    agent: str
    slot_time: int
    settled: int
    tokens: int = 0


class Positions(NamedTuple):
    """Where ingest stands: the next frames, and the last event id that is in the journal."""

    spool_frame: int = 0
    journal_frame: int = 0
    outbox_taken: int = 0


class Booked(NamedTuple):
    """Where ingest stands once this group is durable, and the dedupe keys it adds."""

    positions: Positions
    dedupe: bytes


class StoredNotice(NamedTuple):
    """A notice and its number; a later one has a higher number."""

    number: int
    notice: Notice


class Delivery(NamedTuple):
    """How far one notice has come to one target. `error` is of the last attempt, `created` when the first was due."""

    notice_number: int
    target: str
    state: DeliveryState
    attempts: int
    error: str
    created: int


class Keep(NamedTuple):
    """What pruning leaves: rows from these times on, and how many decisions, dedupe keys, rulings and findings."""

    spends_since: int
    entries_since: int
    decisions_since: int
    decisions: int
    dedupe_keys: int
    rulings: int
    askers_since: int
    findings: int


class Group:
    """Everything one transaction writes. Owned by the loop until it is handed to the committing thread."""

    __slots__ = (
        "askers", "booked", "changes", "corrections", "crossings", "decisions", "deliveries", "ended", "events",
        "finals", "findings", "holds", "increases", "kills", "lines", "meta", "named", "notices", "releases", "rulings",
        "spends",
    )  # fmt: skip

    def __init__(self) -> None:
        self.holds: list[HoldRow] = []
        self.changes: list[HoldChange] = []
        self.finals: list[str] = []
        """Holds whose final change is among `changes`: not written, but forgotten in memory once this is durable."""
        self.lines: list[SpendLine] = []
        self.spends: dict[tuple[str, str, str, int], tuple[int, int]] = {}
        """Change of the settled sums, nano-USD and tokens, by org, tenant, agent and slot time."""
        self.crossings: list[Crossing] = []
        self.corrections: list[tuple[bytes, int]] = []
        """Entry id (16 bytes) and recorded time of each correction of cost that was handed in."""
        self.increases: list[Increase] = []
        self.ended: list[str] = []
        """Ids of the increases whose time is over."""
        self.decisions: list[KeptDecision] = []
        self.rulings: list[Ruling] = []
        self.askers: dict[str, Asker] = {}
        self.findings: dict[str, tuple[bytes, int]] = {}
        """A finding as it stands, and when it was last changed, by its key."""
        self.notices: list[Notice] = []
        self.deliveries: list[Delivery] = []
        self.kills: list[KillRow] = []
        self.releases: list[ReleaseRow] = []
        self.named: list[Named] = []
        self.events: list[bytes] = []
        self.meta: dict[str, bytes] = {}
        self.booked: Booked | None = None

    def event(self, row: Row) -> None:
        """Queue one ledger entry, encoded as a `schemas.booking.Event`."""
        self.events.append(_ENCODE({"row": row}))

    def notify(self, notice: Notice) -> None:
        """Let people know, once for each `key` there ever was; it is delivered after this group is durable."""
        self.notices.append(notice)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)
