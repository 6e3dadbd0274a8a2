"""Received rows in, the same rows with what they count for, and the corrections they cause, out.

The first booking is made at once, from what is known then; whatever arrives later and tells more
of the same call (a second instrumentation, a parent that names the agent, a child that proves a
parent to be a sum) corrects it by entries of its own. Invariant: original plus corrections sum to
what the whole set of records says, in whatever order, pieces and repetitions it came, as long as it
fits the window.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.accounting.corrections import rebooking, reversal
from collector.accounting.merge import LINE, Told, as_told, attribute, differs, merged
from collector.accounting.records import COLUMNS, NO_ROLE, Ints, Records, Row, records
from collector.accounting.resolve import BILLED, COUNTED, RULES, Resolution, resolve
from collector.accounting.window import Relatives, Window, counts_something
from collector.columns import Bools, by_distinct, constant, replaced
from schemas.accounting import Role, Rule
from schemas.ids import agent_id
from schemas.tables import EntryKind

UNATTRIBUTED = "unattributed"
_DECIDED = ("accounting_rule", "call_count", "failed_count")
_AS_TOLD = tuple(name for name in LINE if name not in _DECIDED)
_MEMBER_COLUMNS = tuple(name for name in dict.fromkeys((*LINE, *COLUMNS)) if name not in _DECIDED)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Recognising what is one call."""

    max_records: int = 200_000
    """How many of the newest records are remembered to be joined with later ones, at about 1 kB of
    memory each. A record that comes after more than this many others is booked as if it were alone."""


class Plan(NamedTuple):
    """What a slab of rows changes. `reversals` are whole; `rebooked` has, by record number, what `rebookings` makes
    entries of; `together` the same by the place of a new row whose call is booked as others tell it too.

    The rest is what `Account.commit` remembers: the new records with what they are, the old ones
    whose state changed, and the lines booked for old ones from now on (None: nothing).
    """

    rows: pa.Table
    reversals: list[Row]
    rebooked: dict[int, tuple[Row, Row]]
    together: dict[int, Row]
    records: Records
    names: dict[int, str]
    known: Ints
    known_records: Records
    lines: dict[int, Row | None]
    known_use: set[str]
    """Entries that carry a call whose cost or tokens were booked before: no hold waits for it any more."""


class Account:
    """What was booked lately and what it was booked as. Owned by the booker thread."""

    def __init__(self, config: Config, clock: Callable[[], int]) -> None:
        self._window = Window(config.max_records)
        self._clock = clock

    def plan(self, rows: pa.Table) -> Plan:
        """What these rows (normalised, each with an `entry_id`) are and change; nothing is remembered."""
        rows = _prepared(rows)
        new = records(rows)
        relatives = self._window.related(new)
        known, cut = relatives
        together = np.concatenate([self._window.records(known), new])
        found = resolve(together)
        slab = _Slab(rows, relatives, together, found, self._window)
        draft = slab.settle(self._clock())
        decided = np.append(~cut, np.ones(len(new), np.bool_))
        together["state"] = np.where(decided, found.state, together["state"])
        return Plan(
            rows=_counted(slab, draft.updates),
            reversals=draft.reversals,
            rebooked=draft.rebooked,
            together=draft.together,
            records=together[len(known) :],
            names={place: slab.names[place] for place in np.flatnonzero(new["claims"]).tolist()},
            known=known,
            known_records=together[: len(known)],
            lines=draft.lines,
            known_use=draft.known_use,
        )

    def rebookings(self, plan: Plan, rows: pa.Table) -> list[Row]:
        """The plan's rebookings, without their cost; `rows` are its rows as ledger entries."""
        now_ns = self._clock()
        carriers = rows.take(pa.array(list(plan.together), pa.int64())).to_pylist()
        pairs = [*plan.rebooked.values(), *zip(carriers, plan.together.values(), strict=True)]
        return [rebooking(carrier, line, now_ns) for carrier, line in pairs]

    def commit(self, plan: Plan, rows: pa.Table, rebookings: pa.Table) -> None:
        """The plan is booked: `rows` are its rows as ledger entries, `rebookings` its rebookings with their prices."""
        self._window.set_states(plan.known, plan.known_records)
        for number, line in plan.lines.items():
            self._window.set_line(number, line)
        number_of = self._remember(plan.records, rows, plan.names)
        numbers = [*plan.rebooked, *(int(number_of[place]) for place in plan.together)]
        for number, line in zip(numbers, rebookings.to_pylist(), strict=True):
            self._window.set_line(number, line)

    def rerated(self, corrections: Iterable[Row]) -> None:
        """These corrections of cost alone were booked by others: a later reversal must take them back too."""
        self._replay([row for row in corrections if row.get("accounting_rule") == Rule.RERATED])

    def restore(self, tables: Iterable[pa.Table]) -> None:
        """Remember what the ledger says was booked, from its newest entries in their order."""
        corrections: list[Row] = []
        for table in tables:
            corrections += table.filter(pc.equal(table["kind"], EntryKind.CORRECTION)).to_pylist()
            # Points of metrics are no records: they would only push calls out of the window.
            rows = table.filter(pc.and_(pc.is_valid(table["signal"]), pc.not_equal(table["kind"], EntryKind.METRIC)))
            made = records(_with_raw_ids(rows))
            claimed = rows["claimed_agent"].to_pylist()
            names = {place: claimed[place] for place in np.flatnonzero(made["claims"]).tolist()}
            self._remember(made, rows, names)
        everything = self._window.everything()
        together = self._window.records(everything)
        together["state"] = resolve(together).state
        self._window.set_states(everything, together)
        self._replay(corrections)

    def _replay(self, corrections: list[Row]) -> None:
        """Take over what these corrections made of the lines they correct, in their order."""
        if not corrections:
            return
        known = self._window.find({row["corrects"] for row in corrections if row["corrects"]})
        for row in (row for row in corrections if row["corrects"] in known):
            number, own = known[row["corrects"]]
            if row["accounting_rule"] == Rule.RERATED:
                line = _rerated(self._window.line(number, own), row)
            else:
                line = row if counts_something(row) else None
            self._window.set_line(number, line)

    def _remember(self, made: Records, rows: pa.Table, names: dict[int, str]) -> Ints:
        """Put these records into the window; returns the number of each."""
        order = np.argsort(made["trace"], kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        start = self._window.add(made[order], rows, order, {int(place[at]): name for at, name in names.items()})
        return place + start


class _Draft(NamedTuple):
    """What settling units made: columns of new rows by their place, corrections, and lines by record number.

    `given_back` are the traces of lines with a cost that were taken back without being booked again.
    """

    updates: dict[int, Row]
    reversals: list[Row]
    rebooked: dict[int, tuple[Row, Row]]
    together: dict[int, Row]
    lines: dict[int, Row | None]
    known_use: set[str]
    given_back: list[int]


class _Slab:
    """New rows among the old records they have to do with. Places below `old` are old ones'."""

    def __init__(
        self, rows: pa.Table, relatives: Relatives, together: Records, found: Resolution, window: Window
    ) -> None:
        self.together, self.found = together, found
        self.known, self.cut = relatives
        self.old = len(self.known)
        self._window = window
        claims = np.flatnonzero(together["claims"][self.old :])
        claimed = rows["claimed_agent"].take(pa.array(claims)).to_pylist()
        self.names: dict[int, str] = dict(zip(claims.tolist(), claimed, strict=True))
        self.rows = _with_agents(self._inherited(rows))

    def _inherited(self, rows: pa.Table) -> pa.Table:
        """The new rows with the agents named above them."""
        claim = self.found.claim[self.old :]
        heirs = (claim >= 0) & (claim != np.arange(len(claim)) + self.old)
        if not heirs.any():
            return rows
        places, which = np.unique(claim[heirs], return_inverse=True)
        names = pa.array([self.name(int(place)) for place in places]).take(pa.array(which))
        rows = _replaced(rows, "claimed_agent", heirs, names)
        return _replaced(rows, "claim_source", heirs, constant("ancestor", len(names)))

    def name(self, place: int) -> str:
        """The agent that the record at this place names."""
        return self.names[place - self.old] if place >= self.old else self._window.name(int(self.known[place]))

    def settle(self, now_ns: int) -> _Draft:
        """Book every unit that is more than one new record, or changed."""
        draft = _Draft({}, [], {}, {}, {}, set(), [])
        for unit in self._units().values():
            self._settle(unit, draft, now_ns)
        self._pass_on(draft)
        return draft

    def _units(self) -> dict[int, list[Told]]:
        """The units to look at closely, by their name."""
        found, together = self.found, self.together
        has_role = together["role"] != NO_ROLE
        _, of, counts = np.unique(found.unit, return_inverse=True, return_counts=True)
        alone = (counts[of] == 1) & (np.arange(len(together)) >= self.old)
        changed = has_role & (found.state != together["state"]) & ~alone
        members = np.flatnonzero(has_role & np.isin(found.unit, found.unit[changed]))
        units: dict[int, list[Told]] = defaultdict(list)
        for place, (row, booked) in zip(members.tolist(), self._rows(members), strict=True):
            units[int(found.unit[place])].append(self._told(place, row, booked))
        return units

    def _rows(self, places: Ints) -> list[tuple[Row, Row | None]]:
        """The rows at these places as they were told, each with what is booked for it."""
        numbers = self.known[places[places < self.old]]
        new = pa.array(places[places >= self.old] - self.old)
        booked = self._window.rows(numbers)
        lines = (self._window.line(number, row) for number, row in zip(numbers.tolist(), booked, strict=True))
        fresh = self.rows.select(_MEMBER_COLUMNS).take(new).to_pylist() if len(new) else []
        return [*zip(map(as_told, booked), lines, strict=True), *((row, None) for row in fresh)]

    def _told(self, place: int, row: Row, booked: Row | None) -> Told:
        claim = int(self.found.claim[place])
        if place < self.old and claim not in (-1, place):
            row = dict(row)
            attribute(row, self.name(claim), "ancestor")
        return Told(place, int(self.together["start"][place]), int(self.together["end"][place]), row, booked)

    def _settle(self, unit: list[Told], draft: _Draft, now_ns: int) -> None:
        rule = RULES[self.found.code[unit[0].place]]
        for told in unit:
            if told.place >= self.old:
                draft.updates[told.place - self.old] = _decided(self._why(told, rule), 0)
        old = [told.place for told in unit if told.place < self.old]
        if self.cut[old].any():
            # What else belongs to it is not known here, and whoever carries it was booked.
            return
        booked = [(told, told.booked) for told in unit if told.booked is not None]
        if rule not in COUNTED:
            self._reverse(booked, rule, draft, now_ns)
            draft.given_back.extend(self._booked_traces(booked))
            return
        carrier, line = merged(unit, rule)
        kept = next((told for told, was in booked if not differs(was, line)), None)
        again = [(told, was) for told, was in booked if told is not kept]
        self._reverse(again, rule, draft, now_ns, carrier)
        if kept is None:
            if self._booked_traces(booked):
                draft.known_use.add(carrier.row["entry_id"])
            self._book(carrier, line, draft)

    def _book(self, carrier: Told, line: Row, draft: _Draft) -> None:
        place = carrier.place - self.old
        if place < 0:
            draft.rebooked[int(self.known[carrier.place])] = (carrier.row, line)
        elif all(line[name] == carrier.row[name] for name in _AS_TOLD):
            draft.updates[place] = {name: line[name] for name in _DECIDED}
        else:
            # The row stays what was told; what is booked is more than that.
            draft.updates[place] = _decided(Rule.TOGETHER, 0)
            draft.together[place] = line

    def _reverse(
        self, booked: list[tuple[Told, Row]], rule: str, draft: _Draft, now_ns: int, carrier: Told | None = None
    ) -> None:
        for told, line in booked:
            why = Rule.CORRECTED if told is carrier else self._why(told, rule)
            draft.reversals.append(reversal(line, told.row["entry_id"], why, now_ns))
            draft.lines[int(self.known[told.place])] = None

    def _booked_traces(self, booked: list[tuple[Told, Row]]) -> list[int]:
        """The trace of each line that budgets have heard of."""
        heard = ("cost_nano_usd", "input_tokens", "output_tokens")
        return [
            int(self.together["trace"][told.place])
            for told, line in booked
            if any(line[name] is not None for name in heard)
        ]

    def _pass_on(self, draft: _Draft) -> None:
        """A call that is booked in place of one given back in its trace settles no hold: that one did."""
        if not draft.given_back:
            return
        usage = self.found.code == RULES.index(Rule.USAGE)
        rebooked = np.isin(self.known, np.array(list(draft.rebooked), np.int64))
        booked = np.flatnonzero(usage & np.append(rebooked, np.ones(len(self.together) - self.old, np.bool_)))
        in_order = booked[np.lexsort((self.together["node"][booked], self.together["start"][booked]))]
        entry_of = {int(self.known.searchsorted(n)): pair[0]["entry_id"] for n, pair in draft.rebooked.items()}
        ids = self.rows["entry_id"]
        for trace in draft.given_back:
            for place in in_order.tolist():
                entry = entry_of[place] if place < self.old else ids[place - self.old].as_py()
                if self.together["trace"][place] == trace and entry not in draft.known_use:
                    draft.known_use.add(entry)
                    break

    def _why(self, told: Told, rule: str) -> str:
        return rule if told.row["accounting_role"] == Role.AGGREGATE else self.found.why.get(told.place, rule)


def _rerated(line: Row | None, change: Row) -> Row | None:
    if line is None:
        return None
    return line | {"cost_nano_usd": (line["cost_nano_usd"] or 0) + (change["cost_nano_usd"] or 0)}


def _decided(rule: str, count: int) -> Row:
    return {"accounting_rule": rule, "call_count": count, "failed_count": 0}


def attributed(rows: pa.Table) -> pa.Table:
    """Normalised rows with whose they are as far as each knows alone, for what has no place in an account."""
    return _with_agents(_prepared(rows))


def _prepared(rows: pa.Table) -> pa.Table:
    """The rows with the columns that say whose they are, as far as each knows alone."""
    own = pc.is_valid(rows["claimed_agent"])
    source = pc.case_when(
        pc.make_struct(own, pc.is_valid(rows["resource_agent"]), pc.is_valid(rows["service_name"])),
        "span",
        "main_agent",
        "service",
    )
    claimed = pc.coalesce(rows["claimed_agent"], rows["resource_agent"], rows["service_name"])
    rows = replaced(rows, "claimed_agent", claimed)
    rows = rows.append_column("claim_source", source)
    rows = rows.append_column("duration_ns", pc.subtract(rows["end_time"], rows["start_time"]))
    named = pc.if_else(pc.is_valid(rows["agent"]), "credential", pa.scalar(None, pa.string()))
    return rows.append_column("attribution_source", named)


def _counted(slab: _Slab, updates: dict[int, Row]) -> pa.Table:
    """The new rows with rule and counts; those of `updates` as settled."""
    rows, found, old = slab.rows, slab.found, slab.old
    code = found.code[old:]
    rule = pa.array(RULES).take(pa.array(code))
    rows = replaced(rows, "accounting_rule", pc.if_else(pc.equal(rule, ""), pa.scalar(None, pa.string()), rule))
    billed = np.isin(code, [RULES.index(each) for each in BILLED])
    has_role = slab.together["role"][old:] != NO_ROLE
    failed = code == RULES.index(Rule.FAILED)
    rows = rows.append_column("call_count", pa.array(billed.astype(np.int64), mask=~has_role))
    rows = rows.append_column("failed_count", pa.array(failed.astype(np.int64), mask=~has_role))
    rows = _updated(rows, updates)
    billed_sum = pc.and_(pc.equal(rows["accounting_role"], Role.AGGREGATE), pc.equal(rows["call_count"], 1))
    kind = pc.if_else(pc.fill_null(billed_sum, False), EntryKind.CALL, rows["entry_kind"])
    return replaced(rows, "entry_kind", kind)


def _with_agents(rows: pa.Table) -> pa.Table:
    """The agent of rows whose key does not name one: whoever they are claimed for."""
    if not rows["agent"].null_count:
        return rows
    nameless = pc.is_null(rows["agent"])
    ids = by_distinct(pc.fill_null(rows["claimed_agent"], UNATTRIBUTED), agent_id)
    rows = replaced(rows, "agent", pc.if_else(nameless, ids, rows["agent"]))
    return replaced(rows, "attribution_source", pc.if_else(nameless, rows["claim_source"], rows["attribution_source"]))


def _updated(rows: pa.Table, updates: dict[int, Row]) -> pa.Table:
    if not updates:
        return rows
    places = sorted(updates)
    mask = np.zeros(len(rows), np.bool_)
    mask[places] = True
    for name in _DECIDED:
        rows = _replaced(rows, name, mask, pa.array([updates[place][name] for place in places], rows[name].type))
    return rows


def _replaced(rows: pa.Table, name: str, where: Bools, values: pa.Array) -> pa.Table:
    column = rows[name].combine_chunks()
    return replaced(rows, name, pc.replace_with_mask(column, pa.array(where), values))


def _with_raw_ids(rows: pa.Table) -> pa.Table:
    """Ledger rows with their ids as the bytes they arrived as."""
    for name in ("trace_id", "span_id", "parent_span_id"):
        raw = [None if text is None else bytes.fromhex(text) for text in rows[name].to_pylist()]
        rows = replaced(rows, name, pa.array(raw, pa.binary()))
    return rows
