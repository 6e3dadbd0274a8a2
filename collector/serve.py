"""`spanward serve` and `spanward seal`: start, drain, stop; signals and exit codes, nothing else.

Exit codes: 0 stopped on request, 1 wrong configuration, 70 a fatal error (start again: recovery
reads back what is durable).
"""

import json
import logging
import sys
import time
from pathlib import Path

import click
import httpx
import uvloop

from collector.access.bootstrap import BootstrapResult
from collector.config import Config, config_options, load_or_exit
from schemas.errors import Fatal, Retryable, SpanwardError

EXIT_FATAL = 70
_SEAL_TIMEOUT_S = 120


def data_option(command: click.decorators.FC) -> click.decorators.FC:
    """`--data DIR`, the directory everything of one collector lives in."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--data", "data_dir", type=kind, required=True, help="Data directory.")(command)


@click.command()
@data_option
@config_options
@click.pass_context
def serve(ctx: click.Context, data_dir: Path, config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Receive OTLP, keep budgets, answer decisions, write the ledger. Stops cleanly on SIGTERM."""
    config = load_or_exit(config_path, overrides)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        fatal = uvloop.run(_serve(data_dir.resolve(), config))
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None
    if fatal is not None:
        click.echo(f"Error: {fatal.diagnostics()}", err=True)
        ctx.exit(EXIT_FATAL)


async def _serve(data_dir: Path, config: Config) -> SpanwardError | None:
    from collector.service import Service

    service = Service(data_dir, config)
    await service.run(_announce)
    return service.fatal


def _announce(endpoints: dict[str, str], created: BootstrapResult | None) -> None:
    for name, endpoint in endpoints.items():
        click.echo(f"{name.replace('_', ' '):10} {endpoint}", err=True)
    if created is None:
        return
    click.echo("\nFirst start. These are shown once, and kept in bootstrap.json in the data directory:", err=True)
    if created.agent_key is not None:
        click.echo(f"agent key   {created.agent_key}   ({created.agent})", err=True)
    click.echo(f"admin token {created.admin_token}\n", err=True)
    click.echo("Point an agent at it:", err=True)
    click.echo(f"  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoints['otlp_http']}", err=True)
    if created.agent_key is not None:
        click.echo(f"  export OTEL_EXPORTER_OTLP_HEADERS=x-api-key={created.agent_key}", err=True)


@click.command()
@data_option
@config_options
def seal(data_dir: Path, config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Book and seal everything acknowledged so far; returns when it is in the ledger."""
    config = load_or_exit(config_path, overrides)
    try:
        if not _seal_by_server(data_dir):
            _seal_here(data_dir.resolve(), config)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None


def _seal_by_server(data_dir: Path) -> bool:
    """Ask the running collector; False when none runs on this data directory."""
    try:
        control = json.loads((data_dir / "endpoints.json").read_bytes())["control"]
        token = (data_dir / "operator.token").read_text()
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.post(f"{control}/v1/admin/seal", headers=headers, timeout=_SEAL_TIMEOUT_S, trust_env=False)
    except (OSError, httpx.ConnectError):
        return False
    except httpx.HTTPError as error:
        raise Retryable(f"The collector did not answer: {error!r}.", fix="Try again, or look at its log.") from None
    if answer.status_code != httpx.codes.OK:
        raise Retryable(f"The collector refused to seal: {answer.text[:300]}", fix="Look at its log.")
    return True


def _seal_here(data_dir: Path, config: Config) -> None:
    """No collector runs: do what its next start would do, then stop again."""
    if not (data_dir / "state").is_dir():
        raise Fatal(f"{data_dir} is not a data directory.", fix="Give the directory that spanward serve was given.")
    from collector.service import Ingest, start_owner

    failures: list[SpanwardError] = []
    owner = start_owner(data_dir, config)
    try:
        ingest = Ingest(data_dir, config, owner, clock=time.time_ns, on_fatal=failures.append)
        ingest.booker.start()
        ingest.booker.drain(_SEAL_TIMEOUT_S)
        ingest.close()
    finally:
        owner.stop()
    if failures:
        raise failures[0]
