"""`spanward prices rerate`: a change of prices becomes correction entries for the calls of a period.

Invariant: stdout carries data only, and what is printed is what was recorded. The sealed ledger is
read here, so that the collector goes on booking meanwhile; the rows are handed to its owner in
chunks, each of which may be sent again. What each call should cost is left to `repricing`.

The command joins the group `prices` here: that one is on a lower floor, and needs no collector.
"""

import time
from pathlib import Path

import click
import msgspec

from collector.access.cli import encode, json_option, print_table
from collector.config import config_options, load_or_exit, pricing_settings
from collector.prices import prices
from collector.pricing.instants import format_instant, parse_instant
from collector.processors.price_book import price_book
from collector.rerate.repricing import Period, Repricing, Row, Sum
from collector.serve import Collector, collector_of, data_option
from schemas.errors import ConfigError, Retryable, SpanwardError
from schemas.ids import check_reason
from schemas.money import format_usd

__all__ = ["prices", "rerate"]

_PATH = "/v1/ledger/corrections"
# How long one chunk is offered to a collector that has no room for it.
_PATIENCE_S = 120
_HEADINGS = ("MODEL", "CALLS", "UNPRICED", "CORRECTIONS", "OLD USD", "NEW USD", "DIFFERENCE USD")


class Line(msgspec.Struct, frozen=True):
    """What calls cost before and after, in decimal USD. `model` is null for the total and for calls that name none.

    Calls whose price is not known keep what they cost.
    """

    model: str | None
    calls: int
    unpriced_calls: int
    corrections: int
    old_usd: str
    new_usd: str
    difference_usd: str


class Answer(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """What `--json` prints. `recorded` is less than the total's `corrections` where some were recorded before."""

    start: str
    end: str
    dry_run: bool
    recorded: int
    total: Line
    models: list[Line]


@prices.command()
@data_option
@config_options
@click.option("--from", "start", required=True, metavar="TIME", help="First moment: 2026-11-01 or an RFC 3339 time.")
@click.option("--to", "end", required=True, metavar="TIME", help="First moment left out.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger keeps it.")
@click.option("--dry-run", is_flag=True, help="Say what would change and record nothing.")
@json_option
def rerate(
    *, data_dir: Path, config_path: Path | None, overrides: tuple[str, ...], dry_run: bool, as_json: bool, **words: str
) -> None:
    """Reprice the calls of a period by the prices of today.

    Each call is priced at its own time. Where that differs from what is booked, an entry is added
    that corrects it; nothing that was written is changed, and budgets follow. Give the --config of
    spanward serve: it names the price overlay.
    """
    config = load_or_exit(config_path, overrides)
    try:
        period = _period(words["start"], words["end"])
        reason = words["reason"]
        check_reason(reason, "A correction")
        book = price_book(pricing_settings(config), config.processors.budgets)
        with collector_of(data_dir, config) as collector:
            collector.seal()
            repricing = Repricing(data_dir / "store", period, book, reason=reason)
            recorded = sum(0 if dry_run else _hand_in(collector, chunk) for chunk in repricing.chunks())
            if recorded:
                collector.seal()
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
    answer = _answer(period, repricing.sums, recorded, dry_run=dry_run)
    if as_json:
        click.echo(encode(answer))
    else:
        _print(answer)
    done = "This was a dry run: nothing was recorded." if dry_run else f"{recorded} corrections were recorded."
    click.echo(done, err=True)


def _period(start: str, end: str) -> Period:
    period = Period(parse_instant(start), parse_instant(end))
    if period.start >= period.end:
        raise ConfigError(f"From {start} to {end} there is no time.", fix="Give a --to that is after --from.")
    return period


def _hand_in(collector: Collector, chunk: list[Row]) -> int:
    """How many of the rows are new to the collector; waits while too much is on its way to the ledger."""
    body = msgspec.json.encode({"rows": chunk})
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return int(msgspec.json.decode(collector.post(_PATH, body))["recorded"])
        except Retryable as error:
            if not error.overloaded or time.monotonic() > deadline:
                raise
            time.sleep(error.retry_after_s)


def _answer(period: Period, sums: dict[str, Sum], recorded: int, *, dry_run: bool) -> Answer:
    total = Sum()
    for each in sums.values():
        total += each
    models = [_line(model or None, each) for model, each in sorted(sums.items())]
    start, end = map(format_instant, period)
    return Answer(start, end, dry_run, recorded, _line(None, total), models)


def _line(model: str | None, total: Sum) -> Line:
    old, new = total.old_nano_usd, total.new_nano_usd
    amounts = map(format_usd, (old, new, new - old))
    return Line(model, total.calls, total.unpriced, total.corrections, *amounts)


def _print(answer: Answer) -> None:
    rows = [msgspec.structs.astuple(line) for line in (*answer.models, answer.total)]
    named = [(name or "(no model)", *map(str, numbers)) for name, *numbers in rows[:-1]]
    table = [_HEADINGS, *named, ("total", *map(str, rows[-1][1:]))]
    print_table(table, right=range(1, len(_HEADINGS)))
