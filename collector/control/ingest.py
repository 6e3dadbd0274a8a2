"""Messages of ingest (`schemas.booking`) → state, and events back to the ledger.

A booking is parsed beside the loop and applied in one step: its spend, the holds its calls settle,
its dedupe keys and both positions become durable in one transaction, so sending it again after a
crash changes nothing. Events go out in order of their id, each once for a connected ingest; whatever
is not taken by a booking is sent again after a `Resume`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from collector.control.commit import Committer
from collector.control.owner import Owner
from collector.governance.adherence.judge import Adherence
from collector.governance.adherence.shared_keys import Sighting
from collector.governance.adherence.suspects import Suspects, Watch, suspects
from collector.governance.budgets import Budgets
from collector.governance.holds import Call
from collector.state.rows import Booked as BookedRow
from collector.state.rows import Positions, Spend
from collector.state.store import State
from schemas.booking import Booking, Poll, Position, Resume, ToOwner
from schemas.errors import Fatal, Retryable
from schemas.ids import AgentPath

# About two megabytes; what is left is sent with the next answer.
EVENTS_PER_ANSWER = 2_000

_ENCODE = msgspec.msgpack.Encoder().encode
_TO_OWNER: msgspec.msgpack.Decoder[ToOwner] = msgspec.msgpack.Decoder(ToOwner)


class _Booked(msgspec.Struct, frozen=True, tag="booked"):
    """`schemas.booking.Booked` on the wire, its events as they are stored."""

    events: list[tuple[int, msgspec.Raw]]


class _Pending(msgspec.Struct, frozen=True, tag="pending"):
    """`schemas.booking.Pending` on the wire, its events as they are stored."""

    events: list[tuple[int, msgspec.Raw]]
    seal: int


class Bell:
    """Wakes everybody who waits now."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something happened."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self) -> None:
        """Returns at the next ring."""
        await self._rung.wait()


class Seals:
    """Requests to seal, numbered; each waits until ingest reports its number."""

    def __init__(self, bell: Bell, *, now_ms: int) -> None:
        self._bell = bell
        # Numbers of an earlier owner are smaller, so what ingest reports of those ends no new wait.
        self._first = now_ms
        self.wanted = 0
        """The newest request, 0 before the first."""
        self._sealed = 0
        self._closed = False

    async def seal(self, timeout_s: float) -> None:
        """Returns once everything acknowledged before the call is sealed; raises `Retryable` after the time-out."""
        number = self.wanted = max(self.wanted, self._first) + 1
        self._bell.ring()
        try:
            async with asyncio.timeout(timeout_s):
                while self._sealed < number and not self._closed:
                    await self._bell.wait()
        except TimeoutError:
            raise Retryable(
                f"Nothing was sealed within extensions.control.seal_timeout ({timeout_s:g} s).",
                fix="Look at the collector's log, then ask again; sealing continues.",
            ) from None

        if self._sealed < number:
            raise Retryable(
                "The collector is shutting down.", fix="What is left is sealed by the stop or the next start."
            )

    def close(self) -> None:
        """Let nobody wait any longer: ingest is about to go."""
        self._closed = True
        self._bell.ring()

    def report(self, sealed: int) -> None:
        """Ingest has sealed everything up to this request."""
        if sealed > self._sealed:
            self._sealed = sealed
            self._bell.ring()


class Parts(NamedTuple):
    """What answering ingest takes; all of it belongs to the loop."""

    state: State
    budgets: Budgets
    adherence: Adherence
    committer: Committer
    owner: Owner
    seals: Seals
    bell: Bell


class IngestDoor:
    """Answers the messages of ingest."""

    def __init__(self, parts: Parts, *, clock: Callable[[], int]) -> None:
        self._state, self._budgets, self._adherence, self._committer, self._owner, self._seals, self._bell = parts
        self._clock = clock
        self._positions = self._state.positions()
        self._handed = self._positions.outbox_taken
        """The last event ingest was given since its `Resume`."""

    def committed(self) -> None:
        """A group is durable: there may be events."""
        if self._state.last_event > self._handed:
            self._bell.ring()

    async def answer(self, message: bytes) -> bytes:
        """The answer to one message; sent again, a message changes nothing."""
        return _ENCODE(await self._answer(_decode(message)))

    async def _answer(self, message: ToOwner) -> Position | _Booked | _Pending:
        match message:
            case Resume():
                # A new ingest has nothing in hand: what no booking took is sent again.
                self._handed = self._positions.outbox_taken
                return Position(self._positions.spool_frame, self._positions.journal_frame, self._state.dedupe())
            case Booking():
                await self._book(message)
                return _Booked(self._hand())
            case Poll():
                return await self._poll(message)

    async def _book(self, booking: Booking) -> None:
        # The same booking again, after a crash between its commit and its answer.
        if booking.journal_frame <= self._positions.journal_frame:
            return
        parsed = await asyncio.to_thread(_parse, booking, self._budgets.waiting_agents(), self._adherence.watch())
        now = self._clock()
        self._budgets.advance(now)
        matched = self._budgets.book(parsed.spends, parsed.calls, now)
        self._adherence.judge(parsed.suspects, matched, now)
        self._adherence.seen(parsed.sightings, now)
        taken = max(booking.outbox_taken, self._positions.outbox_taken)
        self._positions = Positions(booking.spool_frame, booking.journal_frame, taken)
        self._handed = max(self._handed, taken)
        self._committer.group.booked = BookedRow(self._positions, booking.dedupe)
        await self._committer.durable()
        self._owner.outbox_taken = taken

    async def _poll(self, poll: Poll) -> _Pending:
        self._seals.report(poll.sealed)
        if poll.wait_ms == 0:
            # Ingest is about to seal.
            self._adherence.flush(self._clock())
            await self._committer.durable()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(poll.wait_ms / 1000):
                while self._state.last_event <= self._handed and self._seals.wanted <= poll.sealed:
                    await self._bell.wait()
        return _Pending(self._hand(), self._seals.wanted)

    def _hand(self) -> list[tuple[int, msgspec.Raw]]:
        """Events ingest has not been given yet."""
        events = self._state.events(self._handed, EVENTS_PER_ANSWER)
        if events:
            self._handed = events[-1][0]
        return [(number, msgspec.Raw(event)) for number, event in events]


def _decode(message: bytes) -> ToOwner:
    try:
        return _TO_OWNER.decode(message)
    except msgspec.DecodeError as error:
        raise Fatal(
            f"Ingest sent a message of another version: {error}.", fix="Stop all processes, then start."
        ) from error


class _Parsed(NamedTuple):
    """A booking as the loop applies it: `calls` are those whose agent has a hold that waits for one."""

    spends: list[Spend]
    calls: list[tuple[AgentPath, Call]]
    suspects: Suspects
    sightings: list[Sighting]


def _parse(booking: Booking, waiting: set[str], watch: Watch) -> _Parsed:
    columns = ("org", "tenant", "agent", "slot_time", "cost_nano_usd", "tokens")
    spends = map(Spend, *_columns(_table(booking.spends), columns))
    calls = _table(booking.calls)
    seen = map(Sighting, *_columns(_table(booking.sightings), Sighting._fields)) if booking.sightings else ()
    return _Parsed(list(spends), _calls(calls, waiting) if waiting else [], suspects(calls, watch), list(seen))


def _calls(table: pa.Table, waiting: set[str]) -> list[tuple[AgentPath, Call]]:
    agents = pc.binary_join_element_wise(table["org"], table["tenant"], table["agent"], "/")
    table = table.filter(pc.is_in(agents, pa.array(sorted(waiting), pa.string())))
    paths = map(AgentPath, *_columns(table, ("org", "tenant", "agent")))
    texts = [pc.fill_null(table[name], "").to_pylist() for name in ("model", "request_model", "decision_id")]
    end_time = pc.coalesce(table["end_time"], table["start_time"]).to_pylist()
    start_time, *others = _columns(table, ("start_time", "received_time", "cost_nano_usd", "tokens", "entry_id"))
    return list(zip(paths, map(Call, *texts, start_time, end_time, *others), strict=True))


def _columns(table: pa.Table, names: tuple[str, ...]) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def _table(stream: bytes) -> pa.Table:
    return pa.ipc.open_stream(stream).read_all()
