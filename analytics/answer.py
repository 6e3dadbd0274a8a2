"""A report's name, a ledger and a query in; everything that is to be said in answer out.

Invariant: rows and completeness come from one snapshot of the ledger, so they speak of the same
entries. How an answer is spelled is left to `analytics.formats`.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl

from analytics.columns import ReportColumn
from analytics.completeness import Completeness, account
from analytics.lake import Snapshot
from analytics.query import Query
from analytics.report import Report, run


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A report's rows with everything that is said about them.

    `batches` can be read once; `summed` says that the rows are parts of a whole and may be added up.
    """

    name: str
    title: str
    query: Query
    columns: tuple[ReportColumn, ...]
    completeness: Completeness
    batches: Iterator[pl.DataFrame]
    summed: bool


def ask(report: Report, data_dir: Path, query: Query) -> Answer:
    """Answer a query that the report has checked, from what is committed now.

    Raises `ConfigError` if there is no such data directory, `Permanent` if its ledger cannot be read.
    """
    snapshot = Snapshot(data_dir)
    return Answer(
        name=report.name,
        title=report.title,
        query=query,
        columns=report.columns_of(query),
        completeness=account(snapshot, query),
        batches=run(report, snapshot, query),
        summed=bool(report.dimensions),
    )
