"""Messages between the two processes of one collector: ingest books, the owner keeps the state.

The owner applies a `Booking` in one transaction (budget counters, settled holds, dedupe keys, both
positions), so replaying it after a crash changes nothing: a booking whose `journal_frame` is not
above the stored one is answered and not applied.

Wire: 4-byte big-endian length, then one MessagePack value of the tagged union `ToOwner` or
`FromOwner`; one request is outstanding per connection.
"""

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One ledger entry that did not arrive as telemetry: a decision, a crossing, a key operation.

    `row` holds ledger columns by name (`schemas.tables`), without `seq`; absent columns are null.
    """

    row: dict[str, str | int | bool | None]


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Ingest starts and asks where it left off."""


class Position(msgspec.Struct, frozen=True, tag="position"):
    """Where ingest left off: the next spool frame to book and the next journal frame to write.

    `dedupe` holds the keys still inside the window, one item a booking, oldest first.
    """

    spool_frame: int
    journal_frame: int
    dedupe: list[bytes]


class Booking(msgspec.Struct, frozen=True, tag="booking"):
    """Everything one slab of frames changes in the state.

    `spool_frame` and `journal_frame` are the next positions once this is applied. `spends` is an
    Arrow IPC stream with columns org, tenant, agent (string), slot_time (int64, Unix ns of the start
    of a 15-minute slot of the call's own time), cost_nano_usd, tokens, calls (int64). `calls` is an Arrow IPC
    stream with one row a metered call: org, tenant, agent, provider, model, request_model, decision_id, entry_id,
    trace_id (string), start_time, end_time, received_time, cost_nano_usd, tokens (int64, null where nobody
    knows). Tokens are all input, cached included, and all output, reasoning included. `sightings` is an Arrow IPC
    stream that says who used the keys of agents: credential_id, agent (its path), what, user (string), first, last
    (int64, when the first and last of their records began). `outbox_taken` is the last event id this booking's
    journal frame contains.
    """

    spool_frame: int
    journal_frame: int
    outbox_taken: int
    dedupe: bytes
    spends: bytes
    calls: bytes
    sightings: bytes = b""


class Booked(msgspec.Struct, frozen=True, tag="booked"):
    """The booking is durable. `events` wait to be written to the journal, with their outbox ids."""

    events: list[tuple[int, Event]]


class Poll(msgspec.Struct, frozen=True, tag="poll"):
    """Ingest has nothing to book: answer when events wait, a seal is asked for, or after `wait_ms`."""

    wait_ms: int
    sealed: int = 0


class Pending(msgspec.Struct, frozen=True, tag="pending"):
    """Answer to `Poll`. `seal` is the number of the newest seal request; ingest answers with it in
    `Poll.sealed` once everything acknowledged before it is booked and sealed.
    """

    events: list[tuple[int, Event]]
    seal: int


ToOwner = Resume | Booking | Poll
FromOwner = Position | Booked | Pending
