"""`make bench` in, tables out: ingest beside the Collector, decisions beside a bare server and check-then-spend."""

import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import decisions, ingest, overshoot
from benchmarks.loader import Loader
from tests.tools.install import TOOLS, install

RESULTS = Path(__file__).with_name("results.md")


@click.command()
@click.option("--only", type=click.Choice(["ingest", "decisions"]), help="Leave the other out.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each server; the tables show medians.")
@click.option("--batches", default=400, show_default=True, help="Batches of 512 spans in a turn.")
@click.option("--rate", "rates", multiple=True, default=[1000, 5000], show_default=True, help="Decisions a second.")
@click.option("--write", is_flag=True, help="Keep the tables in benchmarks/results.md.")
def main(only: str | None, rounds: int, batches: int, rates: tuple[int, ...], *, write: bool) -> None:
    """Measure Spanward beside its peers on this machine, in one run, on the same load."""
    loader = Loader()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d}, {machine}, median of {rounds} rounds.", ""]
    with tempfile.TemporaryDirectory(prefix="spanward-bench-") as folder:
        if only != "decisions":
            install(TOOLS["otelcol"])
            (Path(folder) / "ingest").mkdir()
            results = ingest.measure(
                Path(folder) / "ingest", collector=TOOLS["otelcol"].path, loader=loader, rounds=rounds, batches=batches
            )
            lines += ["## Ingest: 512-span batches over OTLP/HTTP", "", *ingest.table(results), ""]
        if only != "ingest":
            (Path(folder) / "decisions").mkdir()
            answers = decisions.measure(Path(folder) / "decisions", loader=loader, rates=list(rates), rounds=rounds)
            lines += ["## Decisions: open loop, server on one core", "", *decisions.table(answers), ""]
            beyond = overshoot.measure(Path(folder) / "overshoot", loader=loader, rates=list(rates))
            lines += ["## Overshoot: more questions than the budget has room for", "", *overshoot.table(beyond), ""]
    text = "\n".join(lines)
    print(f"\n{text}")
    if write:
        RESULTS.write_text(f"# Results\n\nWritten by `make bench ARGS=--write`.\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
