"""`spanward report`: words of a command line in, a report out.

Exit codes: 0 the report was written, 1 it could not be (the disk, the ledger), 2 the question was
wrong. stdout is data, stderr is what is said beside it. The data frame library is loaded only once
a report is really wanted, so that `--help` is quick.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from analytics.query import FILTERS, Query, check_time_zone, parse_range, parse_where, split_words, unknown
from schemas.errors import ConfigError, SpanwardError


class Refused(click.ClickException):
    """There is no answer to this, whatever is tried: exit code 2."""

    exit_code = 2


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line that asks of the ledger says, as click read it."""

    data_dir: str
    from_text: str | None
    to_text: str | None
    time_zone: str
    by: str | None
    limit: int | None = None
    format_name: str | None
    output: str | None

    def query(self, words: dict[str, str | None]) -> Query:
        """The same as a question; raises `SpanwardError` for words that are not times, zones or agents."""
        check_time_zone(self.time_zone)
        from_ns, to_ns = parse_range(self.from_text, self.to_text, time_zone=self.time_zone, now_ns=time.time_ns())
        return Query(
            from_ns=from_ns,
            to_ns=to_ns,
            time_zone=self.time_zone,
            by=split_words(self.by),
            where=parse_where(words),
            limit=self.limit,
        )


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for known in reversed(FILTERS):
        command = click.option(f"--{known.name}", metavar="A,B", help=known.doc)(command)
    return command


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--data", "data_dir", required=True, metavar="DIR", help="The data directory of spanward serve.")
@click.option("--from", "from_text", metavar="TIME", help="First moment reported: a date, an RFC 3339 time, 24h or 7d.")
@click.option("--to", "to_text", metavar="TIME", help="First moment left out. Without both: all time.")
@click.option("--time-zone", default="UTC", metavar="ZONE", help="Zone of days and hours (IANA name; default UTC).")
@click.option("--by", metavar="A,B", help="Columns to group by, in order (spend; default agent).")
@_filters
@click.option("--limit", type=int, metavar="N", help="Only the newest N entries (activity).")
@click.option("--format", "format_name", metavar="FORMAT", help="table (default), csv, parquet or json.")
@click.option("--json", "format_name", flag_value="json", help="The same as --format json.")
@click.option("--output", metavar="FILE", help="Write here instead of stdout; its ending may name the format.")
def report(name: str, **words: str | int | None) -> None:
    """Answer a question from the ledger.

    \b
    spend      what calls cost, by org, tenant, agent, provider, model, region, day, hour …
    coverage   which calls of which emitter are measured, and what to switch on for the others
    activity   the audit trail: who did what to what, when, and how it ended

    A filter takes several values separated by commas. Every report says how complete it is.
    """
    from analytics.answer import ask
    from analytics.formats import FORMATS
    from analytics.formats.destination import Destination
    from analytics.reports import REPORTS

    options = msgspec.convert(words, Options)
    filters = msgspec.convert({known.name: words[known.name] for known in FILTERS}, dict[str, str | None])
    with explained(lambda error: Refused if isinstance(error, ConfigError) else click.ClickException):
        chosen = next((r for r in REPORTS if r.name == name), None)
        if chosen is None:
            raise unknown("report", name, (r.name for r in REPORTS))
        query = chosen.check(options.query(filters))
        write = FORMATS[name_format(options.format_name, options.output, known=FORMATS)]
        answer = ask(chosen, Path(options.data_dir), query)
        with opened(options.output) as data:
            write(answer, Destination(data=data, notes=sys.stderr, width=terminal_width(options.output)))


def name_format(asked: str | None, output: str | None, *, known: Iterable[str]) -> str:
    """The format asked for, else the one the file's ending names, else `table`; raises `ConfigError`."""
    ending = Path(output or "").suffix.removeprefix(".")
    name = asked or (ending if ending in known else "table")
    if name not in known:
        raise unknown("format", name, known)
    if name == "parquet" and output is None:
        raise ConfigError("A Parquet report is not for the terminal.", fix="Add --output FILE.")
    return name


def terminal_width(output: str | None) -> int | None:
    """Cells of the terminal the report goes to; `None` when it goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if output is None and sys.stdout.isatty() else None


@contextmanager
def opened(output: str | None) -> Iterator[BinaryIO]:
    """Give stdout, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        # A full disk must be heard of here, not when the interpreter ends.
        sys.stdout.buffer.flush()
        return
    partial = Path(f"{output}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def explained(failure: Callable[[Exception], type[click.ClickException]]) -> Iterator[None]:
    """Errors a person can see become one message, and the exit code that the command has for them."""
    try:
        yield
    except SpanwardError as error:
        raise failure(error)(error.diagnostics()) from error
    except BrokenPipeError:
        # Whoever read the report has seen enough (`| head`): click ends in silence.
        raise
    except OSError as error:
        raise failure(error)(f"{error.filename or 'The file system'}: {error.strerror or error}.") from error
