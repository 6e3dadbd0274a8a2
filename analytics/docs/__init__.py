"""Registry of reports in, `docs/reports.md` out.

Invariant: nothing about a report is written twice; the page is made from what the code runs by, and a
test compares them. `python -m analytics.docs` writes it.
"""

from collections.abc import Iterable, Iterator

from analytics.columns import ReportColumn
from analytics.query import FILTERS, Filter
from analytics.reconcile.columns import COLUMNS, PLACE_COLUMNS
from analytics.reconcile.shapes import GENERIC, SHAPES, Shape
from analytics.report import Report
from analytics.reports import REPORTS

_INTRODUCTION = """\
# Reports

<!-- Made by `python -m analytics.docs` from the registry of reports; a test compares them. -->

    spanward report NAME --data DIR [--from TIME] [--to TIME] [--format FORMAT] [--output FILE]

A report reads what is committed to the ledger, and only that: `spanward seal` commits everything
acknowledged so far. The same ledger and question give the same bytes.

**Time.** `--from` is the first moment reported and `--to` the first moment left out, by the event's own
time; without them all time is reported. Both take a date (`2026-11-24`, midnight in `--time-zone`), an
RFC 3339 time (`2026-11-24T06:30:00Z`) or an age (`24h`, `7d`). `--time-zone` is an IANA name and is UTC
unless said.

**Unknown is not zero.** What is not known is null: `null` in JSON, an empty cell in CSV, `–` in a table.

**Formats.** `table` is for people: it leaves out columns that say nothing or do not fit the terminal, and
holds 10,000 rows. The others are for machines, and always have every column and row.

| format | what it is |
|---|---|
| `table` | fits the terminal; not shortened when piped; the last line is the completeness |
| `csv` | RFC 4180; text that a spreadsheet would run as a formula begins with `'`; completeness on stderr |
| `parquet` | typed, each column with its description; completeness in the file's metadata; needs `--output` |
| `json` | `{"report", "completeness", "rows"}`; `--json` is short for it; one row a line |

Types: *usd* is a decimal string with nine places (Parquet: decimal(38, 9)), *time* is RFC 3339 with nine
places (Parquet: UTC ns), *hour* the same without fraction, *date* is ISO 8601, *int* is 64-bit.

**Exit codes.** 0 the report was written, 1 it could not be, 2 the question was wrong.

## Completeness

Every report says how complete it is. The collector writes one conservation entry in each segment: what it
received since the last, and what became of it. The counts are the sums of all periods that overlap the
range asked for (by time of receipt), so they also count what was received then about other times.

| member | meaning |
|---|---|
| `from`, `to` | the range asked for; null is open |
| `as_of` | when the newest thing counted was received |
| `received` | spans and log records received |
| `stored` | those that became entries of the ledger |
| `duplicate` | those that were received before |
| `rejected`, `rejected_by_reason` | those that were refused, with the reasons |
| `found` | entries really in the segments of these periods |
| `balanced` | received = stored + duplicate + rejected, and stored = found; the same of `metrics` |
| `unmetered_calls` | calls among the entries asked for whose usage was not sent: cost unknown |
| `unpriced_calls` | calls among the entries asked for whose price is not known: cost unknown |
| `metrics` | the same of metric points, counted apart; those that count no tokens are `not_stored` |
| `segments` | committed objects of the ledger |

A ledger with a missing or changed entry is not reported on; `spanward report` says which one it is.
"""


_RECONCILE = """\
# Bill against ledger

    spanward reconcile --data DIR --invoice FILE [--shape NAME] [--by day,model,key] [--tolerance 0.5%]

Compares a provider's CSV export with what the ledger has of that provider, by day and model over the
export's own days (or whole days of `--from` and `--to`). Differences are the bill less the ledger, exact.

| verdict | meaning |
|---|---|
| `explained` | bill and ledger agree within `--tolerance` (nothing unless said) and what both sides round |
| `shadow` | on the bill, and no span explains it |
| `missing_on_bill` | in the ledger, and not on the bill |
| `differs` | both know it, and not the same; `reason` says why, where the numbers show it |
| `not_compared` | one provider key's part of the bill (`--by key`): the ledger does not know providers' keys |

A dated and an undated name of a model are one while only one side says the date. What is rounded: the
ledger rounds each call to a nano-USD, and `anthropic-costs` each row to a cent. `--tolerance 0.5%` is of
every quantity, `--tolerance 0.01` that many USD of cost. Without `--shape` the columns tell which export
it is:

| shape | export | days | states |
|---|---|---|---|
"""
_RECONCILE_GENERIC = """
For any other export name its columns: `--map day=Date --map model=SKU --map cost='Amount (USD)'`, and
`--map input=Fresh+Cached` for classes it counts apart: `input` is all input, cached included. It may say
`day`, `model`, `key`, `calls`, `input`, `cache_read`, `cache_write`, `output` and `cost`; `--provider` says
whose bill it is, and `--time-zone` where its days begin. Numbers are digits with a decimal point;
thousands separators, other currencies and rows of another length are refused with line and column.

What emitters' metrics tell of tokens is not compared with a bill; `coverage` compares it with their calls.

**Exit codes.** 0 all is explained, 1 something is not, 2 nothing could be compared.
"""


def page() -> str:
    """The whole page."""
    reports = (line for report in REPORTS for line in _report(report))
    return "\n".join([_INTRODUCTION, *reports, *_reconcile()])


def _report(report: Report) -> Iterator[str]:
    yield f"## {report.name}\n\n{report.question}\n"
    if report.dimensions:
        yield f"`--by` takes any of these columns in any order; without it `{','.join(report.default_by)}`.\n"
        yield from _columns(report.dimensions)
        yield "Then come, for each group:\n"
    else:
        yield "One row an entry, in order of time, writer and number. `--limit N` shows the newest N.\n"
    yield from _columns(report.columns)
    yield from _filters(known for known in FILTERS if known.name in report.filters)


def _reconcile() -> Iterator[str]:
    yield _RECONCILE + "\n".join(_shape(shape) for shape in SHAPES)
    yield _RECONCILE_GENERIC
    yield from _columns((*PLACE_COLUMNS, *COLUMNS))


def _shape(shape: Shape) -> str:
    states = ", ".join(name for name in shape.columns if name != "day")
    days = "`--time-zone`" if shape.name == GENERIC.name else "UTC"
    return f"| `{shape.name}` | {shape.title} | {days} | {states} |"


def _columns(columns: Iterable[ReportColumn]) -> Iterator[str]:
    yield "| column | type | unit | meaning |\n|---|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {column.type} | {column.unit} | {column.doc} |"
    yield ""


def _filters(filters: Iterable[Filter]) -> Iterator[str]:
    yield "| filter (several values: `A,B`) | meaning |\n|---|---|"
    for known in filters:
        yield f"| `--{known.name}` | {known.doc} |"
    yield ""
