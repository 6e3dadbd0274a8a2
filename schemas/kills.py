"""Messages of the kill switch and of the feedback stream, and which kill concerns whom.

A kill stops what it names until it is released. `epoch` numbers the kill state: it grows by one with
each kill and each release and never goes back, so a client that acknowledged epoch N knows every
kill up to N. Times are RFC 3339 UTC.
"""

from typing import Literal

import msgspec

from schemas.control import BudgetView
from schemas.ids import PLATFORM

KillScope = Literal["all", "llm", "new_keys"]
EndReason = Literal["slow_consumer", "shutdown", "key"]

MODEL, TOOL = "model:", "tool:"


class Kill(msgspec.Struct, frozen=True):
    """A kill in force: what is stopped (`scope`) for whom or which (`target`), why, by whom and since when."""

    id: str
    scope: KillScope
    target: str
    reason: str
    actor: str
    since: str
    epoch: int


class KillRequest(msgspec.Struct, frozen=True):
    """Body of `POST /v1/admin/kills`.

    `target` is `platform`, `ORG`, `ORG/TENANT`, `ORG/TENANT/AGENT`, `model:NAME` or `tool:NAME`. One that
    nobody has ever heard of is refused unless `allow_unmatched` says that it is meant. `actor` is read
    only from commands of the collector's own machine; for everybody else the token says who acts.
    """

    scope: KillScope
    target: str
    reason: str
    allow_unmatched: bool = False
    actor: str = ""


class ReasonRequest(msgspec.Struct, frozen=True):
    """Body of a release and of a drill: why. `actor` as in `KillRequest`."""

    reason: str
    actor: str = ""


class Released(msgspec.Struct, frozen=True):
    """A kill that was released, by whom, why and under which epoch."""

    kill: Kill
    reason: str
    actor: str
    released_at: str
    epoch: int


class ClientAck(msgspec.Struct, frozen=True):
    """One connected client and how long its acknowledgement took; `ms` is null while it is awaited."""

    client: str
    key_id: str
    speaks_for: str
    ms: float | None


class Acks(msgspec.Struct, frozen=True):
    """How far something that was pushed has come: milliseconds from its acceptance to the acknowledgements."""

    connected: int
    acked: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    finished: bool
    clients: list[ClientAck]


class KillStatus(msgspec.Struct, frozen=True):
    """A kill in force and its acknowledgements; those of a kill made before the last start are in the ledger only."""

    kill: Kill
    acks: Acks | None


class KillList(msgspec.Struct, frozen=True):
    """Answer of `GET /v1/admin/kills`: every kill in force, oldest first."""

    epoch: int
    kills: list[KillStatus]


class Drill(msgspec.Struct, frozen=True):
    """A drill: everybody connected is asked to acknowledge, and nobody is stopped."""

    id: str
    reason: str
    actor: str
    since: str
    acks: Acks


class Snapshot(msgspec.Struct, frozen=True):
    """All a client has to know to start with: event `snapshot`, and the answer of `GET /v1/feedback/state`."""

    epoch: int
    kills: list[Kill]
    policy_digest: str
    budgets: list[BudgetView]


class KillsEvent(msgspec.Struct, frozen=True):
    """Event `kills`: all kills in force that concern the stream's key."""

    epoch: int
    kills: list[Kill]


class BudgetsEvent(msgspec.Struct, frozen=True):
    """Event `budgets`: the budgets that changed."""

    budgets: list[BudgetView]


class PolicyEvent(msgspec.Struct, frozen=True):
    """Event `policy`: other governance files are in force."""

    policy_digest: str


class DrillEvent(msgspec.Struct, frozen=True):
    """Event `drill`: acknowledge it, and do nothing else."""

    drill_id: str


class KeyEvent(msgspec.Struct, frozen=True):
    """Event `key`: the stream's key has ended; `end` follows."""

    key_id: str
    state: Literal["revoked", "expired"]


class EndEvent(msgspec.Struct, frozen=True):
    """Event `end`, the last of a stream, and why."""

    reason: EndReason
    message: str


class Ack(msgspec.Struct, frozen=True):
    """Body of `POST /v1/feedback/acks`: this client acts by epoch `epoch`, and has seen drill `drill_id`."""

    client: str
    epoch: int
    drill_id: str = ""


class Acked(msgspec.Struct, frozen=True):
    """Answer to an acknowledgement: the epoch that was taken."""

    epoch: int


def concerns(target: str, owner: str) -> bool:
    """Whether a kill of `target` concerns a key of `owner`.

    `owner` is `ORG/TENANT/AGENT`, `ORG/TENANT` for a tenant's key, which speaks for every agent of it, or
    "" for an administrator, whom everything concerns. Models and tools concern everybody.
    """
    return (
        not owner
        or target == PLATFORM
        or target.startswith((MODEL, TOOL))
        or f"{owner}/".startswith(f"{target}/")
        or (owner.count("/") == 1 and target.startswith(f"{owner}/"))
    )
