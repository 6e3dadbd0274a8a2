"""Corrections of cost that an operator's command worked out → budgets and ledger entries, each once.

A chunk is applied in one step of the loop: the difference is added to the spend of the call's own
quarter of an hour, and the entry waits for the ledger, in one transaction. Invariant: an entry id is
applied once, so a chunk that is sent again changes nothing. What a call should cost is left to
`collector.rerate`.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from collector.control.owner import Limits, Owner, Parts
from collector.governance.entries import SOFTWARE_VERSION
from collector.governance.windows import slot_of
from collector.state.rows import Row, Spend
from schemas.errors import Permanent, Retryable
from schemas.ids import ID_PATTERN
from schemas.money import MAX_NANO_USD
from schemas.tables import LEDGER_COLUMNS

MAX_ROWS = 1_000
_TYPES: Mapping[str, type] = {"string": str, "int64": int, "bool": bool}
_COLUMNS = {column.name: _TYPES[column.type] for column in LEDGER_COLUMNS if column.name != "seq"}
_MAX_INT = 2**63 - 1
_Id = Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN.pattern}$")]


class _Correction(msgspec.Struct, frozen=True):
    """What every row must say."""

    entry_id: uuid.UUID
    kind: Literal["correction"]
    accounting_rule: Literal["rerated"]
    call_count: Literal[0]
    corrects: str
    org: _Id
    tenant: _Id
    agent: _Id
    event_time: Annotated[int, msgspec.Meta(ge=0, le=_MAX_INT)]
    cost_nano_usd: Annotated[int, msgspec.Meta(ge=-MAX_NANO_USD, le=MAX_NANO_USD)]


class Corrections(msgspec.Struct, frozen=True):
    """Body of `POST /v1/ledger/corrections`: ledger columns by name, null ones left out."""

    rows: list[Row]


class Recorded(msgspec.Struct, frozen=True):
    """The answer: how many rows are in the ledger's way now, and how many were before."""

    recorded: int
    repeated: int


class CorrectionBook:
    """Applies corrections. Owned by the loop; `_turn` lets one chunk after the other through."""

    def __init__(self, parts: Parts, owner: Owner, limits: Limits, *, clock: Callable[[], int]) -> None:
        self._state, self._budgets, self._committer = parts.state, parts.budgets, parts.committer
        self._owner = owner
        self._max_waiting = limits.max_outbox_events // 2
        self._clock = clock
        self._turn = asyncio.Lock()

    async def record(self, rows: Sequence[Row], *, actor: str) -> Recorded:
        """Apply those that were not applied before; durable when it returns.

        Raises `Permanent` when a row is not a correction of a cost, `Retryable` while too many entries
        wait for the ledger; either way nothing of the chunk is applied.
        """
        if len(rows) > MAX_ROWS:
            raise Permanent(f"{len(rows)} rows are more than {MAX_ROWS}.", fix="Send them in chunks.")
        given: dict[bytes, tuple[_Correction, Row]] = {}
        for number, row in enumerate(rows):
            checked = _checked(row, f"$.rows[{number}]")
            given[checked.entry_id.bytes] = (checked, row)
        async with self._turn:
            # The other half is for decisions, which a long correction must not hold up.
            if self._state.last_event - self._owner.outbox_taken > self._max_waiting:
                raise Retryable(
                    f"More than {self._max_waiting} entries (half of extensions.control.max_outbox_events) wait for "
                    "the ledger.",
                    fix="Send the same rows again in a moment.",
                )
            # What somebody sent who did not wait for his answer must be on disk before it is looked for.
            await self._committer.durable()
            for entry_id in self._state.corrections(list(given)):
                del given[entry_id]
            self._apply(given, actor)
            await self._committer.durable()
        return Recorded(len(given), len(rows) - len(given))

    def _apply(self, given: Mapping[bytes, tuple[_Correction, Row]], actor: str) -> None:
        now = self._clock()
        self._budgets.advance(now)
        self._budgets.book([_spend(checked) for checked, _ in given.values()], [], now)
        group = self._committer.group
        for entry_id, (_, row) in given.items():
            group.corrections.append((entry_id, now))
            group.event(row | {"received_time": now, "actor": actor, "software_version": SOFTWARE_VERSION})


def _spend(correction: _Correction) -> Spend:
    org, tenant, agent = correction.org, correction.tenant, correction.agent
    return Spend(org, tenant, agent, slot_of(correction.event_time), correction.cost_nano_usd)


def _checked(row: Row, place: str) -> _Correction:
    """A row that may be recorded."""
    for name, value in row.items():
        fits = type(value) is _COLUMNS.get(name) and (isinstance(value, str) or -_MAX_INT <= (value or 0) <= _MAX_INT)
        if not fits:
            raise _refused(f"`{place}.{name}` cannot be {value!r}")
    try:
        return msgspec.convert(row, _Correction)
    except msgspec.ValidationError as error:
        raise _refused(f"{error} in `{place}`") from None


def _refused(what: str) -> Permanent:
    return Permanent(f"The body cannot be used: {what}.", fix="Use `spanward prices rerate` of the server's version.")
