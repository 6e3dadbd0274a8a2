"""`spanward notify`: a test notice for each target, and the list of what has not arrived.

Invariant: stdout carries data only. Exit code 1 when a target was not reached.
"""

from pathlib import Path
from typing import Any

import click
import msgspec

from collector.access.cli import Explained, json_option, print_table
from collector.serve import data_option, running_collector

_COLUMNS = ("time", "state", "target", "attempts", "title", "error")


@click.group(cls=Explained)
def notify() -> None:
    """Test the targets of notifications; list what is not told."""


@notify.command()
@data_option
@click.option("--target", default="", metavar="NAME", help="Only this target.")
@json_option
@click.pass_context
def test(ctx: click.Context, *, data_dir: Path, target: str, as_json: bool) -> None:
    """Send a test notice to each target, now and once."""
    with running_collector(data_dir) as collector:
        answer = collector.post("/v1/admin/notices/test", msgspec.json.encode({"target": target}))
    outcomes: list[dict[str, Any]] = msgspec.json.decode(answer)["outcomes"]
    if as_json:
        click.echo(answer)
    for outcome in () if as_json else outcomes:
        click.echo(f"{outcome['target']}: {'delivered' if outcome['delivered'] else outcome['error']}")
    if not outcomes:
        click.echo("No target is configured: see extensions.notifications.targets.", err=True)
    ctx.exit(0 if outcomes and all(outcome["delivered"] for outcome in outcomes) else 1)


@notify.command(name="list")
@data_option
@json_option
def list_unfinished(*, data_dir: Path, as_json: bool) -> None:
    """List deliveries that wait or were given up. The newest of each; waiting ones are tried again."""
    with running_collector(data_dir) as collector:
        answer = collector.get("/v1/admin/notices")
    if as_json:
        click.echo(answer)
        return
    rows: list[dict[str, Any]] = msgspec.json.decode(answer)["deliveries"]
    print_table([[name.upper() for name in _COLUMNS], *([str(row[name]) for name in _COLUMNS] for row in rows)])
