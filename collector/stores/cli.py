"""`spanward store`: a bucket's address in, what its Object Lock does, or its legal holds, out.

Exit codes: 0 the store passes, 1 it does not, 2 it could not be asked.
"""

import click
import msgspec

from collector.stores.check import check as check_facts
from collector.stores.s3 import S3Store
from schemas.errors import SpanwardError

EXIT_UNREADABLE = 2


@click.group()
def store() -> None:
    """Look after the bucket that evidence is kept in."""


@store.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="The facts as JSON.")
@click.pass_context
def check(ctx: click.Context, url: str, *, as_json: bool) -> None:
    """Try what URL's Object Lock refuses, on objects of its own, and print the table."""
    try:
        facts = check_facts(S3Store(url))
    except SpanwardError as error:
        click.echo(f"Error: {error.diagnostics()}", err=True)
        ctx.exit(EXIT_UNREADABLE)
    if as_json:
        click.echo(msgspec.json.encode(facts))
    else:
        for fact in facts:
            verdict = "ok " if fact.holds else "BAD" if fact.needed else "gap"
            click.echo(f"{verdict}  {fact.name:60} {fact.seen}")
    ctx.exit(0 if all(fact.holds for fact in facts if fact.needed) else 1)


@store.command()
@click.argument("url")
@click.argument("prefix")
@click.option("--release", is_flag=True, help="Release the hold instead.")
def hold(url: str, prefix: str, *, release: bool) -> None:
    """Put a legal hold on every object below PREFIX: none can go, whatever its retention, until it is released."""
    try:
        bucket = S3Store(url)
        found = [each for each in bucket.inventory(prefix) if each.version]
        for each in found:
            bucket.hold(each, on=not release)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
    click.echo(f"{len(found)} objects {'released' if release else 'held'}.", err=True)
