"""`spanward doctor`: a data directory in, what it holds and whether it is whole out.

Invariant: it only looks. Exit codes: 0 everything adds up, 1 something does not; without a running
collector that is not a fault, the data directory alone is judged.
"""

import json
from pathlib import Path

import click
import httpx
import msgspec

from schemas.errors import SpanwardError

_TIMEOUT_S = 5
_GAUGES = {
    "spanward_spool_frames": "commit groups wait to be booked",
    "spanward_spool_bytes": "bytes in the spool",
    "spanward_journal_rows": "booked rows wait to be sealed",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    ok: bool
    message: str


@click.command()
@click.option(
    "--data", "data_dir", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Data directory."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, data_dir: Path, *, as_json: bool) -> None:
    """Say whether everything received is accounted for. Also how far booking and sealing are."""
    findings = [_collector(data_dir), *_backlog(data_dir), *_conservation(data_dir)]
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.name:13} {finding.message}")
    ctx.exit(0 if all(finding.ok for finding in findings) else 1)


def _collector(data_dir: Path) -> Finding:
    text = _get(data_dir, "health")
    if text is None:
        return Finding("collector", ok=True, message="None runs on this data directory.")
    return Finding("collector", ok=text == "OK", message=f"It answers: {text}.")


def _backlog(data_dir: Path) -> list[Finding]:
    text = _get(data_dir, "metrics")
    if text is None:
        return []
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    said = [f"{int(float(values[name])):,} {what}" for name, what in _GAUGES.items() if name in values]
    return [Finding("backlog", ok=True, message=f"{', '.join(said)}.")]


def _conservation(data_dir: Path) -> list[Finding]:
    # Deferred, because the data frame library takes longer to load than the rest takes to run.
    from analytics.completeness import account  # noqa: PLC0415
    from analytics.lake import Snapshot  # noqa: PLC0415
    from analytics.query import Query  # noqa: PLC0415

    try:
        found = account(Snapshot(data_dir), Query())
    except SpanwardError as error:
        return [Finding("ledger", ok=False, message=error.diagnostics())]
    sums = f"received {found.received:,} = stored {found.stored:,} + duplicate {found.duplicate:,}"
    unknown = f"{found.unmetered_calls:,} calls unmetered, {found.unpriced_calls:,} without a known price"
    sealed = f"{found.segments:,} segments, as of {found.as_of[:19]}Z" if found.as_of else "Nothing is sealed yet"
    points = found.metrics.sentence()
    metrics = f" {points[0].upper()}{points[1:]}." if points else ""
    return [
        Finding("conservation", ok=found.balanced, message=f"{sums} + rejected {found.rejected:,}.{metrics}"),
        Finding("ledger", ok=True, message=f"{sealed}; {unknown}."),
    ]


def _get(data_dir: Path, door: str) -> str | None:
    """What the running collector says at one of its doors; `None` when none runs."""
    try:
        endpoint = json.loads((data_dir / "endpoints.json").read_bytes())[door]
        path = "/metrics" if door == "metrics" else "/"
        return httpx.get(endpoint + path, timeout=_TIMEOUT_S, trust_env=False).text.strip()
    except (OSError, KeyError, ValueError, httpx.HTTPError):
        return None
