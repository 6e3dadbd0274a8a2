"""`spanward budgets`: what each limit leaves and when it is reached, and limits that are higher for a while.

Invariant: stdout carries data only.
"""

from pathlib import Path

import click
import msgspec

from collector.access.bootstrap import local_actor
from collector.access.cli import Explained, json_option, print_table
from collector.serve import data_option, running_collector
from schemas.control import BudgetsView, IncreaseRequest, IncreaseView

_HEAD = ("SCOPE", "WINDOW", "UNIT", "MODE", "LIMIT", "SETTLED", "HELD", "REMAINING", "RESETS", "EXHAUSTED")
_NUMBERS = range(4, 8)


@click.group(cls=Explained)
def budgets() -> None:
    """Show budgets, and raise one for a while."""


@budgets.command(name="list")
@data_option
@json_option
def list_budgets(*, data_dir: Path, as_json: bool) -> None:
    """List every limit and what is left of it. EXHAUSTED is when it is reached if the last hour goes on."""
    with running_collector(data_dir) as collector:
        answer = collector.get("/v1/admin/budgets")
    if as_json:
        click.echo(answer)
        return
    view = msgspec.json.decode(answer, type=BudgetsView)
    rows = [
        (
            budget.scope, budget.window, budget.unit, budget.mode, budget.limit, budget.settled, budget.held,
            budget.remaining, budget.resets_at, budget.forecast_exhausted_at or "-",
        )
        for budget in view.budgets
    ]  # fmt: skip
    print_table([_HEAD, *([str(cell) for cell in row] for row in rows)], right=_NUMBERS)
    for increase in view.increases:
        click.echo(f"{_sentence(increase)} By {increase.actor}: {increase.reason}", err=True)


@budgets.command()
@data_option
@click.option("--scope", required=True, metavar="SCOPE", help="platform, ORG, ORG/TENANT or ORG/TENANT/AGENT.")
@click.option("--window", required=True, type=click.Choice(["daily", "monthly"]), help="Which limit.")
@click.option("--usd", metavar="AMOUNT", help="So many USD more.")
@click.option("--tokens", type=int, metavar="N", help="So many tokens more.")
@click.option("--until", required=True, metavar="TIME", help="When it ends, such as 2026-11-30T18:00:00Z.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger keeps it.")
@json_option
def increase(*, data_dir: Path, as_json: bool, **wish: str) -> None:
    """Raise a limit until a time. It holds at once, and ends by itself."""
    order = msgspec.convert({**wish, "actor": local_actor()}, IncreaseRequest)
    with running_collector(data_dir) as collector:
        answer = collector.post("/v1/admin/budgets/increases", msgspec.json.encode(order))
    view = msgspec.json.decode(answer, type=IncreaseView)
    click.echo(answer if as_json else view.id)
    click.echo(_sentence(view), err=True)


def _sentence(view: IncreaseView) -> str:
    more = [f"{view.usd} USD"] if view.usd.strip("0.") else []
    more += [f"{view.tokens} tokens"] if view.tokens else []
    return f"The {view.window} budget of {view.scope} is {' and '.join(more)} higher until {view.until}."
