"""An operation on a credential becomes the ledger entry that tells of it.

Invariant: an entry names the key by its public id and never holds its text. Leaves to `keys` that
operation and entry are written in one transaction, and to the booker that it reaches the ledger.
"""

import datetime as dt
from importlib import metadata
from typing import Literal

import msgspec

from schemas.booking import Event
from schemas.ids import new_id
from schemas.tables import EntryKind

Action = Literal["keys.create", "keys.revoke"]

SOFTWARE_VERSION = metadata.version("spanward")


class KeyOperation(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to one credential. `owner` is (org, tenant, agent), empty strings where it has none."""

    action: Action
    actor: str
    key_id: str
    owner: tuple[str, str, str]
    at_ns: int
    message: str
    detail: dict[str, str | None]


def key_event(operation: KeyOperation) -> Event:
    """The ledger columns of one key operation (`schemas.tables`); columns that do not apply are left out."""
    assert operation.actor.startswith(("agent:", "user:", "system:")), "an actor says what kind of actor it is"
    row: dict[str, str | int | bool | None] = {
        "entry_id": new_id(),
        "kind": EntryKind.KEY,
        "event_time": operation.at_ns,
        "received_time": operation.at_ns,
        "attribution_source": "system",
        "actor": operation.actor,
        "action": operation.action,
        "subject": operation.key_id,
        "outcome": "ok",
        "message": operation.message,
        "detail": msgspec.json.encode(operation.detail).decode(),
        "software_version": SOFTWARE_VERSION,
    }
    # An admin token belongs to no organisation, a tenant's key to no agent: null says so, "" would look like a name.
    row.update((column, name) for column, name in zip(("org", "tenant", "agent"), operation.owner, strict=True) if name)
    return Event(row=row)


def utc_text(unix_ns: int) -> str:
    """Unix ns as RFC 3339 UTC, cut to whole seconds."""
    moment = dt.datetime.fromtimestamp(unix_ns // 10**9, dt.UTC)
    return moment.isoformat().replace("+00:00", "Z")
