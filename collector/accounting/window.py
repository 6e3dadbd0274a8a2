"""The records that were booked lately, and how to find those a new one may have to do with.

Bounded in records: two generations, the older forgotten when the newer is full. What is forgotten is
in the ledger as it was booked; a record that comes later finds nobody. Nothing is remembered before
its booking is committed, so that a booking that failed can be made again.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.accounting.links import rivals
from collector.accounting.records import CALL, RECORD, Ints, Records, Row
from collector.columns import Bools, numpy_of
from schemas.tables import LEDGER_COLUMNS

# Columns that are null throughout are not kept.
_NOTHING: Row = dict.fromkeys(column.name for column in LEDGER_COLUMNS if column.name != "seq")
# "Whoever is related to a relative" ends by itself but for chains made on purpose.
_MAX_ROUNDS = 16
_MAX_FOUND = 50_000
# No call has so many tellings: whoever gives one id to all of its calls must not make them all be looked at.
_MAX_SAME_ID = 1_000
# Slabs of up to this many records are joined: a table costs some 20 kB however few its rows.
_SMALL = 4_096
# Of one trace or service no more than the newest are looked at again.
_MAX_RELATIVES = 10_000


def counts_something(row: Row) -> bool:
    """Whether this row books a call, one that failed, or a tool execution."""
    return bool(row["call_count"] == 1 or row["failed_count"] == 1)


class _Slab(NamedTuple):
    """The records of consecutive bookings, each sorted by trace, from number `start` on.

    `row_of` is the place of each record's row in `rows`. `before` says, by
    index, which earlier record has the same key: a chain from the newest to the oldest.
    """

    start: int
    records: Records
    row_of: Ints
    rows: pa.Table
    before: dict[str, Ints]
    run: Ints
    """How many records of one trace follow each other, at the first of them."""


def _joined(first: _Slab, second: _Slab) -> _Slab:
    """Two slabs that follow each other as one."""
    return _Slab(
        first.start,
        np.concatenate([first.records, second.records]),
        np.concatenate([first.row_of, second.row_of + len(first.rows)]),
        pa.concat_tables([first.rows, second.rows], promote_options="default").combine_chunks(),
        {name: np.concatenate([chain, second.before[name]]) for name, chain in first.before.items()},
        np.concatenate([first.run, second.run]),
    )


class _Generation:
    """Consecutive records from number `base` on, found by trace, response id, tool call and service."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.size = 0
        self.slabs: list[_Slab] = []
        self.newest: dict[str, dict[int, int]] = {"trace": {}, "response": {}, "tool_call": {}}
        """Number of the newest record of each key, by index."""
        self.by_service: dict[int, list[Ints]] = {}
        self.scopes: dict[int, set[int]] = {}

    def add(self, records: Records, rows: pa.Table, row_of: Ints) -> None:
        """Append records sorted by trace, each with the place of its row."""
        start = self.base + self.size
        run = np.zeros(len(records), np.int64)
        _, first, counts = np.unique(records["trace"], return_index=True, return_counts=True)
        run[first] = counts
        named = {name: np.flatnonzero(records[name] != 0) for name in ("response", "tool_call")}
        before = {name: self._chain(name, records, where, start) for name, where in ({"trace": first} | named).items()}
        self.slabs.append(_Slab(start, records, row_of, rows, before, run))
        self.size += len(records)
        while len(self.slabs) > 1 and len(self.slabs[-2].records) <= len(self.slabs[-1].records) <= _SMALL:
            self.slabs[-2:] = [_joined(*self.slabs[-2:])]
        calls = np.flatnonzero(records["role"] == CALL)
        services = records["service"][calls]
        for service in np.unique(services).tolist():
            mine = calls[services == service]
            self.by_service.setdefault(service, []).append(mine + start)
            self.scopes.setdefault(service, set()).update(np.unique(records["scope"][mine]).tolist())

    def find(self, name: str, keys: set[int]) -> tuple[list[int], list[int]]:
        """Numbers of the newest records of these keys; and of those whose key has more that are not looked at."""
        newest = self.newest[name]
        most = _MAX_RELATIVES if name == "trace" else _MAX_SAME_ID
        found: list[int] = []
        cut: list[int] = []
        for key in keys & newest.keys():
            first, number = len(found), newest[key]
            while number >= 0 and len(found) < first + most:
                found.append(number)
                slab = self.slab(number)
                number = int(slab.before[name][number - slab.start])
            if number >= 0:
                cut += found[first:]
        return found, cut

    def run(self, first: int) -> Ints:
        """The records of one trace that follow each other, from the first of them on."""
        slab = self.slab(first)
        return np.arange(first, first + slab.run[first - slab.start])

    def slab(self, number: int) -> _Slab:
        """The slab that holds a record."""
        return self.slabs[bisect_right(self.slabs, number, key=lambda slab: slab.start) - 1]

    def _chain(self, name: str, records: Records, where: Ints, start: int) -> Ints:
        """Put these records in front of the chains of their keys."""
        before = np.full(len(records), -1, np.int64)
        newest = self.newest[name]
        keys, numbers = records[name][where].tolist(), (where + start).tolist()
        if len(set(keys)) == len(keys):
            before[where] = [newest.get(key, -1) for key in keys]
            newest.update(zip(keys, numbers, strict=True))
            return before
        for key, place, number in zip(keys, where.tolist(), numbers, strict=True):
            before[place] = newest.get(key, -1)
            newest[key] = number
        return before


class Relatives(NamedTuple):
    """Remembered records that new ones have to do with: their numbers, ascending.

    `cut` marks those whose own relatives were not all looked at: what they are cannot be decided again.
    """

    numbers: Ints
    cut: Bools


class _Seen(NamedTuple):
    """What was looked up already."""

    traces: set[int]
    ids: set[int]


class Window:
    """The records of the newest bookings. Owned by the booker thread."""

    def __init__(self, max_records: int) -> None:
        self._max_generation = max(1, max_records // 2)
        self._older, self._newer = _Generation(0), _Generation(0)
        self._lines: dict[int, Row | None] = {}
        """What is booked for a record now, where that is no longer what its row says."""
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return self._older.size + self._newer.size

    def add(self, records: Records, rows: pa.Table, row_of: Ints, names: dict[int, str]) -> int:
        """Remember committed records, sorted by trace, with the places of their rows and the agents they name.

        Returns the number of the first.
        """
        if self._newer.size and self._newer.size + len(records) > self._max_generation:
            self._older, self._newer = self._newer, _Generation(self._newer.base + self._newer.size)
            self._lines = {number: line for number, line in self._lines.items() if number >= self._older.base}
            self._names = {number: name for number, name in self._names.items() if number >= self._older.base}
        start = self._newer.base + self._newer.size
        known = [name for name in rows.column_names if not len(rows) or rows[name].null_count < len(rows)]
        self._newer.add(records, rows.select(known), row_of)
        self._names.update((start + place, name) for place, name in names.items())
        return start

    def related(self, new: Records) -> Relatives:
        """All remembered records that new ones may be one with, or stand above or below of."""
        found = cut = np.zeros(0, np.int64)
        if not len(self):
            return Relatives(found, np.zeros(0, np.bool_))
        frontier, seen = new, _Seen(set(), set())
        for _ in range(_MAX_ROUNDS):
            near, more = self._neighbours(frontier, new, seen)
            fresh = np.setdiff1d(near, found)
            cut = np.union1d(cut, more)
            if not len(fresh):
                break
            found = np.union1d(found, fresh)
            frontier = self.records(fresh)
            if len(found) > _MAX_FOUND:
                cut = np.union1d(cut, fresh)
                break
        else:
            cut = np.union1d(cut, fresh)
        return Relatives(found, np.isin(found, cut))

    def everything(self) -> Ints:
        """The numbers of all records, ascending."""
        return np.arange(self._older.base, self._newer.base + self._newer.size)

    def records(self, numbers: Ints) -> Records:
        """These records."""
        taken = [slab.records[places] for slab, places in self._slices(numbers)]
        return np.concatenate(taken) if taken else np.zeros(0, RECORD)

    def rows(self, numbers: Ints) -> list[Row]:
        """The rows of these records, which must be ascending."""
        taken = [slab.rows.take(pa.array(slab.row_of[places])) for slab, places in self._slices(numbers)]
        return [_NOTHING | row for rows in taken for row in rows.to_pylist()]

    def set_states(self, numbers: Ints, records: Records) -> None:
        """Take over the states of these records."""
        done = 0
        for slab, places in self._slices(numbers):
            slab.records["state"][places] = records["state"][done : done + len(places)]
            done += len(places)

    def line(self, number: int, row: Row) -> Row | None:
        """What is booked for this record now; `row` is its own."""
        if number in self._lines:
            return self._lines[number]
        return row if counts_something(row) else None

    def set_line(self, number: int, line: Row | None) -> None:
        """From now on this is booked for the record."""
        self._lines[number] = line

    def name(self, number: int) -> str:
        """The agent this record names."""
        return self._names[number]

    def find(self, entry_ids: set[str]) -> dict[str, tuple[int, Row]]:
        """Number and row of the records with these entry ids, as far as they are remembered."""
        wanted = pa.array(sorted(entry_ids), pa.string())
        found: dict[str, tuple[int, Row]] = {}
        for generation in (self._older, self._newer):
            for slab in generation.slabs:
                hits = np.flatnonzero(numpy_of(pc.is_in(slab.rows["entry_id"], wanted)))
                if not len(hits):
                    continue
                place_of = np.argsort(slab.row_of)
                for hit, row in zip(hits.tolist(), slab.rows.take(pa.array(hits)).to_pylist(), strict=True):
                    found[row["entry_id"]] = (slab.start + int(place_of[hit]), _NOTHING | row)
        return found

    def _neighbours(self, records: Records, new: Records, seen: _Seen) -> tuple[Ints, Ints]:
        """Records of the same traces and ids, and of the same time where a service is watched twice."""
        found: list[Ints] = []
        cut: list[int] = []
        traces = set(records["trace"].tolist()) - seen.traces
        seen.traces.update(traces)
        ids = (set(records["response"].tolist()) | set(records["tool_call"].tolist())) - seen.ids - {0}
        seen.ids.update(ids)
        for generation in (self._older, self._newer):
            for name, keys in (("trace", traces), ("response", ids), ("tool_call", ids)):
                numbers, more = generation.find(name, keys)
                found += map(generation.run, numbers) if name == "trace" else [np.array(numbers, np.int64)]
                cut += more
        found.extend(self._at_that_time(records, new))
        nothing = np.zeros(0, np.int64)
        return (np.concatenate(found) if found else nothing), np.array(cut, np.int64)

    def _at_that_time(self, records: Records, new: Records) -> list[Ints]:
        found = []
        calls = records[records["role"] == CALL]
        for service in np.unique(calls["service"]).tolist():
            generations = [each for each in (self._older, self._newer) if service in each.by_service]
            new_scopes = new["scope"][(new["service"] == service) & (new["role"] == CALL)]
            scopes = set(new_scopes.tolist()).union(*(each.scopes[service] for each in generations))
            if generations and len(scopes) > 1:
                numbers = [each for generation in generations for each in generation.by_service[service]]
                others = np.concatenate(numbers)[-_MAX_RELATIVES:]
                mine, told = calls[calls["service"] == service], self.records(others)
                near = (told["start"] <= mine["end"].max()) & (told["end"] >= mine["start"].min())
                found.append(others[near][rivals(mine, told[near])])
        return found

    def _slices(self, numbers: Ints) -> list[tuple[_Slab, Ints]]:
        """Ascending numbers cut by the slab they are in, as places in it."""
        cut = []
        done = 0
        while done < len(numbers):
            first = int(numbers[done])
            slab = (self._older if first < self._newer.base else self._newer).slab(first)
            end = int(np.searchsorted(numbers, slab.start + len(slab.records)))
            cut.append((slab, numbers[done:end] - slab.start))
            done = end
        return cut
