"""`spanward reconcile`: a provider's export and a data directory in, their differences out.

Exit codes: 0 everything on the bill is explained, 1 something is not, 2 the question, the export or the
ledger could not be read. stdout is data, stderr is what is said beside it.
"""

import sys
from pathlib import Path

import click
import msgspec

from analytics.cli import Options, Refused, explained, name_format, opened, terminal_width
from analytics.query import FILTERS, unknown
from schemas.errors import ConfigError

_FILTERS = ("org", "tenant")


class _Options(Options, frozen=True, kw_only=True):
    """The command line as click read it."""

    invoice: str
    shape: str | None
    provider: str | None
    columns: tuple[str, ...]
    tolerance: str
    org: str | None
    tenant: str | None

    def mapping(self) -> dict[str, str]:
        """What is which column, as `--map` says; raises `ConfigError` for what is no pair."""
        pairs: dict[str, str] = {}
        for pair in self.columns:
            field, equals, column = pair.partition("=")
            if not equals or not column:
                raise ConfigError(f"--map {pair} is no pair.", fix="Write --map day=Date --map cost='Amount (USD)'.")
            pairs[field.strip()] = column
        return pairs


@click.command()
@click.option("--data", "data_dir", required=True, metavar="DIR", help="The data directory of spanward serve.")
@click.option("--invoice", required=True, metavar="FILE", help="CSV export of the provider.")
@click.option("--shape", metavar="NAME", help="Which export it is; recognised by its columns when left out.")
@click.option("--map", "columns", multiple=True, metavar="WHAT=COLUMN", help="A column of a generic export; repeat.")
@click.option("--provider", metavar="NAME", help="Whose bill a generic export is (openai, aws.bedrock …); else all.")
@click.option("--by", metavar="A,B", help="Of day, model and key (default day and model, where named).")
@click.option("--from", "from_text", metavar="TIME", help="First day compared. Without both: the export's days.")
@click.option("--to", "to_text", metavar="TIME", help="First day left out.")
@click.option("--time-zone", default="UTC", metavar="ZONE", help="Zone of a generic export's days (default UTC).")
@click.option("--tolerance", default="0%", metavar="SIZE", help="Explained up to 0.5% of each, or 0.01 USD of cost.")
@click.option("--org", metavar="A,B", help=next(f.doc for f in FILTERS if f.name == "org"))
@click.option("--tenant", metavar="A,B", help=next(f.doc for f in FILTERS if f.name == "tenant"))
@click.option("--format", "format_name", metavar="FORMAT", help="table (default), csv, parquet or json.")
@click.option("--json", "format_name", flag_value="json", help="The same as --format json.")
@click.option("--output", metavar="FILE", help="Write here instead of stdout; its ending may name the format.")
@click.pass_context
def reconcile(ctx: click.Context, /, **words: str | tuple[str, ...] | None) -> None:
    """Compare a provider's bill with the ledger.

    \b
    explained        bill and ledger agree
    shadow           on the bill, and no span explains it
    missing_on_bill  in the ledger, and not on the bill
    differs          both know it, and not the same

    \b
    Shapes: openai-usage, openai-costs, anthropic-usage, anthropic-costs, and generic with --map for the
    columns of day, model, key, calls, input, cache_read, cache_write, output and cost.
    """
    # 1 is for a bill that differs.
    with explained(lambda _: Refused):
        options = msgspec.convert(words, _Options)
        ctx.exit(_answer(options))


def _answer(options: _Options) -> int:
    # Deferred, because the data frame library takes longer to load than --help may take.
    from analytics.formats import FORMATS  # noqa: PLC0415
    from analytics.formats.destination import Destination  # noqa: PLC0415
    from analytics.reconcile.answer import Terms, ask  # noqa: PLC0415
    from analytics.reconcile.compare import parse_tolerance  # noqa: PLC0415
    from analytics.reconcile.shapes import SHAPES, mapped  # noqa: PLC0415

    shape = next((shape for shape in SHAPES if shape.name == options.shape), None)
    if options.shape is not None and shape is None:
        raise unknown("shape", options.shape, (shape.name for shape in SHAPES))
    if options.columns or options.provider is not None:
        if shape is not None and shape.name != "generic":
            raise ConfigError(
                f"--map and --provider do not go with --shape {shape.name}.", fix="They are for generic exports."
            )
        shape = mapped(options.mapping(), options.provider or "")
    write = FORMATS[name_format(options.format_name, options.output, known=FORMATS)]
    terms = Terms(
        invoice=Path(options.invoice),
        shape=shape,
        query=options.query({"org": options.org, "tenant": options.tenant}),
        tolerance=parse_tolerance(options.tolerance),
    )
    answer, all_explained = ask(Path(options.data_dir), terms)
    with opened(options.output) as data:
        write(answer, Destination(data=data, notes=sys.stderr, width=terminal_width(options.output)))
    return 0 if all_explained else 1
