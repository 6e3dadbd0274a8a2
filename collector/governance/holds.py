"""Money set aside: one `Hold` from its decision until nothing can change it any more.

    held ──settle──▶ settled ──span──▶ settled (final)
     │ └──expire──▶ expired ──span──▶ settled (final)
     └──void──▶ void (final)

A hold that its client settled, or that expired, still waits for the span of its call: the span
knows the true usage, so its cost replaces the amount. After a grace time it is closed as it is.
Which transition is allowed is here; what it does to budgets is left to `budgets`.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collector.governance.counters import NOTHING, Account, Amount
from collector.state.rows import HoldRow, HoldStatus, SettledBy, StoredHold
from schemas.control import HoldBasis

# Below this many there is nothing to gain from dropping deadlines of holds that are gone.
_DEADLINES_MIN = 1024


class Terms(NamedTuple):
    """What a hold is made of. Times in Unix ns."""

    id: str
    decision_id: str
    credential_id: str
    provider: str
    model: str
    basis: HoldBasis
    amount: Amount
    created: int
    expires: int


class Call(NamedTuple):
    """A metered call as ingest saw it, for finding its hold. `None` is what nobody knows of it."""

    model: str
    request_model: str
    decision_id: str
    start_time: int
    end_time: int
    received_time: int
    cost: int | None
    tokens: int | None = None
    entry_id: str = ""


class Hold:
    """One hold. Changed only by `Budgets`."""

    __slots__ = ("account", "changes", "deadline", "final", "overdraw", "settled", "settled_by", "state", "terms")

    def __init__(self, account: Account, terms: Terms) -> None:
        self.account = account
        self.terms = terms
        self.state: HoldStatus = "held"
        self.settled: Amount | None = None
        self.settled_by: SettledBy = ""
        self.overdraw = NOTHING
        """What the call used beyond what was set aside for it when that became known."""
        self.changes = 0
        self.final = False
        self.deadline = terms.expires
        """When time changes it next: its expiry, then the end of its wait for a span."""

    @property
    def held(self) -> Amount:
        """What it takes out of its budgets now, beside what it settled."""
        return self.terms.amount if self.state == "held" else NOTHING

    @property
    def claim(self) -> Amount:
        """What it takes out of its budgets now in all."""
        return self.held if self.settled is None else self.settled

    def row(self) -> HoldRow:
        """The hold as it is stored."""
        terms, path = self.terms, self.account.path
        return HoldRow(
            terms.id,
            terms.decision_id,
            terms.credential_id,
            path.org,
            path.tenant,
            path.agent,
            terms.provider,
            terms.model,
            terms.basis,
            terms.created,
            terms.expires,
            *terms.amount,
        )


def restored(account: Account, stored: StoredHold, span_grace_ns: int) -> Hold:
    """A stored hold, back in memory."""
    made, change, overdraw = stored
    who = (made.id, made.decision_id, made.credential_id)
    amount = Amount(made.amount, made.tokens)
    hold = Hold(account, Terms(*who, made.provider, made.model, made.basis, amount, made.created, made.expires))
    if change is not None:
        settled = None if change.settled is None else Amount(change.settled, change.settled_tokens or 0)
        hold.state, hold.settled, hold.settled_by = change.state, settled, change.settled_by
        hold.changes, hold.final, hold.overdraw = change.number, bool(change.final), Amount(*overdraw)
        hold.deadline = change.recorded_time + span_grace_ns
    return hold


class HoldBook:
    """Holds that can still change, found by id, by decision, by the call they wait for and by time."""

    def __init__(self) -> None:
        self._by_id: dict[str, Hold] = {}
        self._by_decision: dict[str, Hold] = {}
        # Holds of one agent and model in the order they were made.
        self._waiting: dict[tuple[str, str], dict[str, Hold]] = {}
        # Holds move on before their deadline, so an item may be out of date; `due` looks at the hold.
        self._deadlines: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._by_id.values())

    def get(self, hold_id: str) -> Hold | None:
        """The hold of that id, final ones included until `forget`."""
        return self._by_id.get(hold_id)

    def add(self, hold: Hold) -> None:
        """Take in a hold that is not final."""
        terms = hold.terms
        self._by_id[terms.id] = hold
        self._by_decision[terms.decision_id] = hold
        self._waiting.setdefault((hold.account.text, terms.model), {})[terms.id] = hold
        self.schedule(hold)

    def schedule(self, hold: Hold) -> None:
        """Be told by `due` when the hold's deadline has come."""
        if len(self._deadlines) > 2 * len(self._by_id) + _DEADLINES_MIN:
            self._deadlines = [(waiting.deadline, hold_id) for hold_id, waiting in self._by_id.items()]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (hold.deadline, hold.terms.id))

    def due(self, now_ns: int) -> Hold | None:
        """A hold whose deadline has come, taken off the list; `None` when there is none."""
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            _, hold_id = heapq.heappop(self._deadlines)
            hold = self._by_id.get(hold_id)
            if hold is not None and not hold.final and hold.deadline <= now_ns:
                return hold
        return None

    def agents(self) -> set[str]:
        """Agents (ORG/TENANT/AGENT) with a hold that waits for its span."""
        return {agent for agent, _ in self._waiting}

    def waiting(self) -> Iterable[tuple[str, str]]:
        """Agent and model of the holds that wait for their span."""
        return self._waiting.keys()

    def covers(self, agent: str, model: str, at_ns: int, tolerance_ns: int) -> bool:
        """Whether a hold that waits for its span was in force at that time."""
        return any(
            hold.terms.created - tolerance_ns <= at_ns <= hold.terms.expires + tolerance_ns
            for hold in reversed(self._waiting.get((agent, model), {}).values())
        )

    def match(self, agent: str, call: Call, tolerance_ns: int) -> Hold | None:
        """The hold a call settles: the one of its decision; without a decision the oldest of agent and model.

        A hold made after the call ended is not its hold; `tolerance_ns` allows for the agent's clock. Nor is one
        made after the call's span was received: those two times are of our own clock and need no allowance.
        """
        if call.decision_id:
            hold = self._by_decision.get(call.decision_id)
            return hold if hold is not None and hold.account.text == agent and not hold.final else None
        made_until = min(call.end_time + tolerance_ns, call.received_time)
        candidates = [
            hold for model in {call.request_model, call.model} for hold in self._oldest((agent, model), made_until)
        ]
        return min(candidates, key=lambda hold: hold.terms.created, default=None)

    def end(self, hold: Hold) -> None:
        """The hold became final: no call finds it any more."""
        terms = hold.terms
        self._by_decision.pop(terms.decision_id, None)
        key = (hold.account.text, terms.model)
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.pop(terms.id, None) is not None and not waiting:
            del self._waiting[key]

    def forget(self, hold_id: str) -> None:
        """A final hold is durable: `State.hold` answers for it from now on."""
        self._by_id.pop(hold_id, None)

    def _oldest(self, key: tuple[str, str], made_until_ns: int) -> Iterator[Hold]:
        # They stand in the order they were made: when the first is too young, so are the others.
        first = next(iter(self._waiting.get(key, {}).values()), None)
        if first is not None and first.terms.created <= made_until_ns:
            yield first
