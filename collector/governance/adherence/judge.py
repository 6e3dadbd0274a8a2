"""Suspects, and the holds that calls of the same booking were matched with → findings.

Owned by the owner's loop; called in the step that applies a booking, so that findings become durable
with it and a booking that is sent again makes none. Each call is counted by one rule at most, the
first of: after a kill, after a refusal, another model, after expiry, unasked. Invariant: when it is
not known what was decided, because it was long ago or another collector decided, there is no finding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, numpy_of
from collector.governance.adherence.config import Config
from collector.governance.adherence.findings import Breach, FindingBook
from collector.governance.adherence.rulings import Decided, Rulings
from collector.governance.adherence.shared_keys import SharedKeys, Sighting
from collector.governance.adherence.stops import Stops
from collector.governance.adherence.suspects import PATH, Ints, Suspects, Watch, ids_of
from collector.governance.budgets import Budgets
from collector.governance.entries import DECISION_PREFIX, HOLD_PREFIX
from collector.governance.holds import Call, Hold
from collector.governance.kills import Identities
from collector.governance.windows import utc_text
from collector.state.rows import Asker, Group, Ruling, StoredHold
from schemas.ids import time_of
from schemas.tables import FindingRule

HOUR_NS = 3600 * 10**9
# Decisions that the state is asked for, a booking. A flood of invented ones is a finding by then.
_LOOKED_UP = 500
_NEVER = np.iinfo(np.int64).max


class Terms(NamedTuple):
    """What a decision allowed, as far as a call can break it."""

    agent: str
    provider: str
    model: str
    expires: int


class Stored(NamedTuple):
    """What the state remembers of adherence. `since_ns`: older decisions were not written down."""

    since_ns: int
    rulings: Sequence[Ruling]
    askers: Sequence[Asker]
    findings: Sequence[tuple[str, bytes]]


class Outside(NamedTuple):
    """What the matching asks others: the ids of a model, the kills, and stored holds by their ids."""

    identities: Identities
    stops: Stops
    holds: Callable[[Sequence[str]], Mapping[str, StoredHold]]


class Adherence:
    """Decisions as they are made and calls as they arrive, held against each other."""

    def __init__(self, config: Config, budgets: Budgets, outside: Outside) -> None:
        def group() -> Group:
            return budgets.group

        self._config = config
        self._budgets = budgets
        self._identities, self._stops, self._stored_holds = outside
        self._rulings = Rulings(config, self._identities, group)
        self._findings = FindingBook(group, interval_ns=config.report_interval.ns, most=config.max_findings)
        self._shared_keys = SharedKeys(config, self._findings)

    def restore(self, stored: Stored) -> None:
        """Take back what was stored."""
        self._rulings.restore(stored.rulings, stored.askers, stored.since_ns)
        self._findings.restore(stored.findings)

    def decided(self, made: Decided) -> None:
        """A decision about a model call was made; it is recorded in the group at hand."""
        self._rulings.decided(made)

    def watch(self) -> Watch:
        """What the calls of a booking are looked at for."""
        budgets = self._budgets.config
        return Watch(
            identities=self._identities,
            tolerance_ns=budgets.clock_tolerance.ns,
            denial_window_ns=self._config.denial_window.ns,
            late_ns=budgets.span_grace.ns,
            stops=self._stops(),
            refused=self._rulings.refused(),
            ruling=self._rulings.find,
            asks_since=self._asks_since,
        )

    def judge(self, suspects: Suspects, matched: Sequence[tuple[Call, Hold]], now_ns: int) -> None:
        """Record the findings of a booking; `matched` are its calls that took the money of a hold."""
        if len(suspects.table):
            self._findings.add(_Judgement(self, suspects, matched).breaches(), now_ns)

    def seen(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """These keys were used by these agents and hosts."""
        self._shared_keys.seen(sightings, now_ns)

    def tick(self, now_ns: int) -> None:
        """Let time pass: tell of findings that grew."""
        self._findings.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Tell of everything: the ledger is about to be sealed."""
        self._findings.flush(now_ns, everything=True)

    def forget(self, now_ns: int) -> None:
        """Drop what no call is held against any more."""
        self._rulings.forget(now_ns)
        self._shared_keys.forget(now_ns)

    # What a call is held against -----------------------------------------------------------------

    def terms(self, decision_ids: Sequence[str]) -> dict[str, Terms | None]:
        """What these decisions allowed. `None`: there was no such decision; absent: nobody can know."""
        found: dict[str, Terms | None] = {}
        asked: dict[str, str] = {}
        for decision_id in dict.fromkeys(decision_ids):
            hold_id = HOLD_PREFIX + decision_id.removeprefix(DECISION_PREFIX)
            hold = self._budgets.find(hold_id)
            ruling = self._rulings.find(decision_id)
            if hold is not None:
                made = hold.terms
                found[decision_id] = Terms(hold.account.text, made.provider, made.model, made.expires)
            elif ruling is not None:
                found[decision_id] = Terms(ruling.agent, ruling.provider, ruling.model, _NEVER)
            elif len(asked) < _LOOKED_UP:
                asked[hold_id] = decision_id
        stored = self._stored_holds(list(asked)) if asked else {}
        for hold_id, decision_id in asked.items():
            if hold_id in stored:
                found[decision_id] = _terms(stored[hold_id])
            elif self._would_be_known(decision_id):
                found[decision_id] = None
        return found

    def same_model(self, terms: Terms, provider: str, models: Sequence[str]) -> bool:
        """Whether a call of these names ran on the model of a decision; one that names none may run on any."""
        named = [model for model in models if model]
        if not terms.model or not named or terms.model in named:
            return True
        decided = self._identities(terms.provider, terms.model) | self._identities(provider, terms.model)
        return any(decided & self._identities(provider, model) for model in named)

    def asked_for(self, call: tuple[str, str, str, str], first_ns: int, waiting: Mapping[str, set[str]]) -> bool:
        """Whether calls of (agent, provider, model, request model) from `first_ns` on may be those of a permission
        that cannot be told from them: one that held no money, or a hold under another name of the model.
        """
        agent, provider, *models = call
        ids = ids_of(self._identities, provider, *models)
        since = first_ns - self._budgets.config.hold_ttl.ns
        free = [self._rulings.freely_allowed(agent, each) for each in ids]
        if any(at is not None and at >= since for at in free):
            return True
        return any(self._identities(provider, model) & ids for model in waiting.get(agent, ()))

    def waiting(self) -> dict[str, set[str]]:
        """The models of holds that wait for their span, by agent."""
        found: dict[str, set[str]] = {}
        for agent, model in self._budgets.waiting():
            found.setdefault(agent, set()).add(model)
        return found

    def overstayed(self, call: Call, hold: Hold) -> bool:
        """Whether a call that names no decision began after its hold's expiry, and under no other hold."""
        tolerance = self._budgets.config.clock_tolerance.ns
        if call.start_time <= hold.terms.expires + tolerance:
            return False
        return not self._budgets.covered(hold.account.text, hold.terms.model, call.start_time, tolerance)

    @property
    def tolerance_ns(self) -> int:
        """How far clocks may differ."""
        return self._budgets.config.clock_tolerance.ns

    def judges_unasked(self, agent: str) -> bool:
        """Whether a call of this agent without a decision is a finding."""
        return self._config.on_unasked != "ignore" and self._asks_since(agent) is not None

    def _asks_since(self, agent: str) -> int | None:
        if self._config.on_unasked == "finding":
            return 0
        asker = self._rulings.askers.get(agent)
        return None if asker is None else asker.since

    def _would_be_known(self, decision_id: str) -> bool:
        made = time_of(decision_id.removeprefix(DECISION_PREFIX))
        return made is None or made >= self._rulings.since_ns


class _Judgement:
    """One booking's suspects on their way to breaches."""

    def __init__(self, adherence: Adherence, suspects: Suspects, matched: Sequence[tuple[Call, Hold]]) -> None:
        self._adherence = adherence
        self._suspects = suspects
        self._hold_of = {call.entry_id: (call, hold) for call, hold in matched}
        table = suspects.table
        self._start = numpy_of(table["start_time"])
        self._named = suspects.claim >= 0
        self._matched = _is_in(table["entry_id"], list(self._hold_of))
        self._open = np.ones(len(table), np.bool_)

    def breaches(self) -> list[Breach]:
        """All breaches, each call in one of them at most."""
        return [
            *self._after_kill(),
            *self._after_deny(),
            *self._other_model(),
            *self._after_expiry(),
            *self._unasked(),
        ]

    def _after_kill(self) -> list[Breach]:
        found = []
        for place in np.unique(self._suspects.stop[self._suspects.stop >= 0]).tolist():
            stop = self._suspects.stops[place]
            why = f"although kill {stop.id} of {stop.target} stopped it at {utc_text(stop.since_ns)}."
            found += self._take(self._suspects.stop == place, FindingRule.AFTER_KILL, why, cause=stop.id)
        return found

    def _after_deny(self) -> list[Breach]:
        found = []
        refusal = np.where(self._named | ~self._matched, self._suspects.refusal, -1)
        for place in np.unique(refusal[refusal >= 0]).tolist():
            ruling = self._suspects.refusals[place]
            why = f"although decision {ruling.decision_id} had refused it ({ruling.rule})."
            found += self._take(refusal == place, FindingRule.AFTER_DENY, why, decision=ruling.decision_id)
        return found

    def _other_model(self) -> list[Breach]:
        """Calls that name a decision on another model; those of no decision, or of somebody else's, are unasked."""
        self._expires = np.full(len(self._start), _NEVER, np.int64)
        found: list[Breach] = []
        at = np.unique(self._suspects.claim[self._named & self._open]).tolist()
        claims = self._suspects.claims
        terms = self._adherence.terms([claims[number][1] for number in at])
        expires = np.full(len(claims) + 1, _NEVER, np.int64)
        for number in at:
            path, decision_id, provider, *models = claims[number]
            if decision_id not in terms:
                continue
            known, here = terms[decision_id], self._suspects.claim == number
            if known is None or known.agent != path:
                if self._adherence.judges_unasked(path):
                    whose = "does not exist" if known is None else f"is of {known.agent}"
                    why = f"without asking: decision {decision_id}, which it names, {whose}."
                    found += self._take(here, FindingRule.UNASKED, why)
            elif not self._adherence.same_model(known, provider, models):
                found += self._take(here, FindingRule.MODEL, f"but decision {decision_id} is for {known.model}.")
            else:
                expires[number] = known.expires
        self._expires = expires[self._suspects.claim]
        return found

    def _after_expiry(self) -> list[Breach]:
        tolerance = self._adherence.tolerance_ns
        late = (
            self._named
            & self._suspects.timed
            & (self._start > np.minimum(self._expires, _NEVER - tolerance) + tolerance)
        )
        found = []
        for number in np.unique(self._suspects.claim[late & self._open]).tolist():
            decision_id = self._suspects.claims[number][1]
            where = late & (self._suspects.claim == number)
            found += self._take(where, FindingRule.AFTER_EXPIRY, _expired(decision_id))
        overstayed = {
            entry_id: hold
            for entry_id, (call, hold) in self._hold_of.items()
            if not call.decision_id and self._adherence.overstayed(call, hold)
        }
        if overstayed:
            ids = self._suspects.table["entry_id"]
            for entry_id, hold in overstayed.items():
                where = numpy_of(pc.equal(ids, entry_id))
                decision_id = hold.terms.decision_id
                found += self._take(where, FindingRule.AFTER_EXPIRY, _expired(decision_id), decision=decision_id)
        return found

    def _unasked(self) -> list[Breach]:
        where = self._suspects.unasked & ~self._matched & self._open
        if not where.any():
            return []
        columns = [PATH, "provider", "model", "request_model"]
        rows = self._suspects.table.append_column("at", pa.array(np.arange(len(where)))).filter(pa.array(where))
        groups = rows.group_by(columns, use_threads=False).aggregate([("start_time", "min"), ("at", "list")])
        waiting = self._adherence.waiting()
        guilty = np.zeros(len(where), np.bool_)
        for group in groups.to_pylist():
            agent, provider, model, request_model = (group[name] or "" for name in columns)
            call = (agent, provider, model, request_model)
            if self._adherence.judges_unasked(agent) and not self._adherence.asked_for(
                call, group["start_time_min"], waiting
            ):
                guilty[group["at_list"]] = True
        return self._take(guilty, FindingRule.UNASKED, "without asking.")

    def _take(self, where: Bools, rule: str, why: str, *, cause: str = "", decision: str = "") -> list[Breach]:
        """The open ones of these calls as breaches, by agent, model and, where nothing else is the cause, hour."""
        where = where & self._open
        if not where.any():
            return []
        self._open &= ~where
        hours: Ints = np.zeros(len(where), np.int64) if cause else self._start // HOUR_NS
        rows = self._suspects.table.append_column("hour", pa.array(hours)).filter(pa.array(where))
        groups = rows.group_by([PATH, "model", "hour"], use_threads=False).aggregate(_SUMS)
        return [
            Breach(
                rule=rule,
                agent=group[PATH],
                subject=group["model"] or "",
                cause=cause or utc_text(group["hour"] * HOUR_NS),
                calls=group["entry_id_count"],
                first=group["start_time_min"],
                last=group["start_time_max"],
                cost=group["cost_nano_usd_sum"] or 0,
                unpriced=group["entry_id_count"] - group["cost_nano_usd_count"],
                why=why,
                decisions=[decision] if decision else [group["decision_id_first"], group["decision_id_last"]],
                entries=[group["entry_id_first"], group["entry_id_last"]],
                traces=[group["trace_id_first"], group["trace_id_last"]],
            )
            for group in groups.to_pylist()
        ]


_SUMS = [
    ("entry_id", "count"),
    ("entry_id", "first"),
    ("entry_id", "last"),
    ("trace_id", "first"),
    ("trace_id", "last"),
    ("decision_id", "first"),
    ("decision_id", "last"),
    ("start_time", "min"),
    ("start_time", "max"),
    ("cost_nano_usd", "sum"),
    ("cost_nano_usd", "count"),
]


def _expired(decision_id: str) -> str:
    return f"after the hold of decision {decision_id} had expired."


def _terms(stored: StoredHold) -> Terms:
    made = stored.made
    return Terms(f"{made.org}/{made.tenant}/{made.agent}", made.provider, made.model, made.expires)


def _is_in(column: pa.ChunkedArray, texts: list[str]) -> Bools:
    if not texts:
        return np.zeros(len(column), np.bool_)
    return numpy_of(pc.is_in(column, pa.array(texts, pa.string())))
