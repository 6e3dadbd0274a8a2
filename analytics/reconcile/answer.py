"""An export, a data directory and the terms of comparison in, an `Answer` for any format out.

Invariant: bill and ledger are compared over the same whole days, the export's own unless others are
asked for, and from one snapshot of the ledger, so the completeness speaks of the same entries.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from analytics.answer import Answer
from analytics.completeness import account
from analytics.lake import Snapshot
from analytics.query import MAX_NS, Query, check_time_zone, parse_time, unknown
from analytics.reconcile.columns import columns_of, frame
from analytics.reconcile.compare import Tolerance, compare
from analytics.reconcile.invoice import Invoice, read
from analytics.reconcile.reasons import Verdict
from analytics.reconcile.recorded import recorded
from analytics.reconcile.shapes import PLACES, Shape
from schemas.errors import ConfigError


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared and how: the export, its shape (recognised if `None`), days, zone, filters and tolerance."""

    invoice: Path
    shape: Shape | None
    query: Query
    tolerance: Tolerance


def ask(data_dir: Path, terms: Terms) -> tuple[Answer, bool]:
    """Compare; says too whether everything is explained.

    Raises `ConfigError` for an export or terms that cannot be read, `Permanent` for such a ledger.
    """
    query = terms.query
    invoice = read(terms.invoice, terms.shape, time_zone=query.time_zone)
    query = _days(msgspec.structs.replace(query, by=_checked_by(query.by, invoice)), invoice)
    snapshot = Snapshot(data_dir)
    groups = compare(_within(invoice, query), recorded(snapshot, query), by=query.by, tolerance=terms.tolerance)
    answer = Answer(
        name="reconcile",
        title="Bill against ledger",
        query=query,
        columns=columns_of(query.by),
        completeness=account(snapshot, query),
        batches=iter([frame(groups, query.by)]),
        # Keys list once more what was compared: adding them up would count the bill twice.
        summed="key" not in query.by,
    )
    return answer, all(group.verdict in (Verdict.EXPLAINED, Verdict.NOT_COMPARED) for group in groups)


def _checked_by(by: tuple[str, ...], invoice: Invoice) -> tuple[str, ...]:
    """The columns to compare by, without any those of day and model that the export names."""
    for name in by:
        if name not in PLACES:
            raise unknown("--by column", name, PLACES)
        if name not in invoice.places:
            has = ",".join(invoice.places)
            raise ConfigError(f"The export names no {name}.", fix=f"Export it grouped by {name}, or use --by {has}.")
    if len(set(by)) < len(by):
        raise ConfigError(f"--by {','.join(by)} names a column twice.", fix="Name each once.")
    return by or tuple(name for name in invoice.places if name != "key")


def _days(query: Query, invoice: Invoice) -> Query:
    """The range asked for, else the export's days; raises `ConfigError` unless it is whole days."""
    from_ns = _midnight(invoice.first, query) if query.from_ns is None else query.from_ns
    to_ns = _midnight(invoice.last + timedelta(days=1), query) if query.to_ns is None else query.to_ns
    zone = check_time_zone(query.time_zone)
    for flag, ns in (("--from", from_ns), ("--to", to_ns)):
        if _midnight(datetime.fromtimestamp(ns // 10**9, UTC).astimezone(zone).date(), query) != ns:
            raise ConfigError(f"{flag} is not midnight in {query.time_zone}.", fix="A bill is compared by whole days.")
    if from_ns >= to_ns:
        raise ConfigError(
            f"The export's days, {invoice.first} to {invoice.last}, are not in the period asked for.",
            fix="Leave --from and --to out to compare all its days.",
        )
    return msgspec.structs.replace(query, from_ns=from_ns, to_ns=to_ns)


def _within(invoice: Invoice, query: Query) -> Invoice:
    """The lines of the query's days."""
    first, end = query.from_ns or 0, query.to_ns or MAX_NS
    lines = {place: line for place, line in invoice.lines.items() if first <= _midnight(place.day, query) < end}
    return msgspec.structs.replace(invoice, lines=lines)


def _midnight(day: date, query: Query) -> int:
    return parse_time(day.isoformat(), time_zone=query.time_zone, now_ns=0)
