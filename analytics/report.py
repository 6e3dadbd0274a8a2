"""A question and a ledger in, ordered batches of documented rows out.

Invariant: a report is a pure function of the committed entries and the query, so the same ledger
gives the same rows in the same order, and no batch is larger than one time slice. How a row looks
on paper is left to `analytics.formats`, what a number means to `analytics.measures`.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec
import polars as pl

from analytics.columns import ReportColumn
from analytics.lake import Snapshot
from analytics.query import FILTERS, Query, unknown
from analytics.slices import cut, newest
from schemas.errors import ConfigError
from schemas.tables import EntryKind

Plan = Callable[[pl.LazyFrame, Query], pl.LazyFrame]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One member of `analytics.reports.REPORTS`.

    `plan` turns filtered ledger entries into rows with exactly `columns_of(query)`, sorted. A report
    with `dimensions` counts groups: `--by` chooses among them, and they come before `columns`. A
    report without shows entries one by one, so its plan must work on any part of the ledger alone.
    """

    name: str
    title: str
    question: str
    filters: tuple[str, ...]
    columns: tuple[ReportColumn, ...]
    plan: Plan
    dimensions: tuple[ReportColumn, ...] = ()
    default_by: tuple[str, ...] = ()

    def check(self, query: Query) -> Query:
        """The query with defaults filled in; raises `ConfigError` for what this report does not have."""
        for name in query.where:
            if name not in self.filters:
                raise ConfigError(f"{self.name} has no filter --{name}.", fix=f"It has {_flags(self.filters)}.")
        for kind in query.where.get("kind", ()):
            if kind not in ENTRY_KINDS:
                raise unknown("kind of entry", kind, ENTRY_KINDS)
        if not self.dimensions:
            return self._check_entries(query)
        if query.limit is not None:
            raise ConfigError(f"{self.name} has no --limit.", fix="It counts everything; ask for a shorter period.")
        by = query.by or self.default_by
        known = [d.name for d in self.dimensions]
        for name in by:
            if name not in known:
                raise unknown("--by column", name, known)
        if len(set(by)) < len(by):
            raise ConfigError(f"--by {','.join(by)} names a column twice.", fix="Name each once.")
        return msgspec.structs.replace(query, by=by)

    def columns_of(self, query: Query) -> tuple[ReportColumn, ...]:
        """The columns of this report's answer to a checked query, in order."""
        by_name = {d.name: d for d in self.dimensions}
        return (*(by_name[name] for name in query.by), *self.columns)

    def _check_entries(self, query: Query) -> Query:
        if query.by:
            raise ConfigError(f"{self.name} shows single entries and has no --by.", fix="spend is grouped.")
        if query.limit is not None and query.limit < 1:
            raise ConfigError(f"--limit {query.limit} shows nothing.", fix="Use a number from 1.")
        return query


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


ENTRY_KINDS = tuple(sorted(value for name, value in vars(EntryKind).items() if name.isupper()))


def matching(entries: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    """The entries that pass every filter; several values of one filter are alternatives."""
    for known in FILTERS:
        wanted = list(query.where.get(known.name, ()))
        if wanted and known.match == "item":
            entries = entries.filter(pl.col(known.column).str.split(",").list.set_intersection(wanted).list.len() > 0)
        elif wanted:
            entries = entries.filter(pl.col(known.column).is_in(wanted))
    return entries


def run(report: Report, snapshot: Snapshot, query: Query) -> Iterator[pl.DataFrame]:
    """The rows of a checked query, in order, as batches of bounded size."""
    if report.dimensions:
        entries = matching(snapshot.scan(from_ns=query.from_ns, to_ns=query.to_ns), query)
        yield report.plan(entries, query).collect(engine="streaming")
        return
    everything = matching(snapshot.scan(from_ns=query.from_ns, to_ns=query.to_ns), query)
    slices, surplus = cut(everything), 0
    if query.limit is not None:
        slices, surplus = newest(slices, query.limit)
    for part in slices:
        # A slice is cut on round times, so its ends may reach beyond the query's.
        from_ns = max(part.from_ns, query.from_ns or 0)
        to_ns = part.to_ns if query.to_ns is None else min(part.to_ns, query.to_ns)
        entries = matching(snapshot.scan(from_ns=from_ns, to_ns=to_ns), query)
        yield report.plan(entries, query).collect(engine="streaming").slice(surplus)
        surplus = 0
