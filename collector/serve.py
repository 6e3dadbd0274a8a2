"""`spanward serve` and `spanward seal`: start, drain, stop; signals and exit codes, and how commands reach a collector.

Exit codes: 0 stopped on request, 1 wrong configuration, 70 a fatal error (start again: recovery
reads back what is durable).
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import click
import httpx
import msgspec
import uvloop

from collector.access.bootstrap import BootstrapResult
from collector.config import Config, config_options, load_or_exit
from collector.state.store import in_use
from schemas.control import ErrorBody
from schemas.errors import ConfigError, Fatal, Permanent, Retryable, SpanwardError

EXIT_FATAL = 70
_ANSWER_S = 120
_DRAIN_S = 120


def data_option(command: click.decorators.FC) -> click.decorators.FC:
    """`--data DIR`, the directory everything of one collector lives in."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--data", "data_dir", type=kind, required=True, help="Data directory.")(command)


@click.command()
@data_option
@config_options
@click.pass_context
def serve(ctx: click.Context, data_dir: Path, config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Receive OTLP, hold budgets, answer, write the ledger. Stops cleanly on SIGTERM."""
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
        click.echo(f"{name.replace('_', ' '):12} {endpoint}", err=True)
    if created is None:
        return
    click.echo("\nFirst start. These are shown once, and kept in bootstrap.json in the data directory:", err=True)
    if created.agent_key is not None:
        click.echo(f"agent key   {created.agent_key}   ({created.agent})", err=True)
    click.echo(f"admin token {created.admin_token}\n", err=True)
    click.echo("Point an agent at it:", err=True)
    click.echo(f"  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoints['otlp_http']}", err=True)
    key = created.agent_key or "KEY     # of: spanward keys create --data DIR --agent ORG/TENANT/AGENT"
    click.echo(f"  export OTEL_EXPORTER_OTLP_HEADERS=x-api-key={key}", err=True)


class Collector:
    """A collector that runs, as the commands of its own machine speak to it: with the operator token."""

    def __init__(self, control: str, token: str, *, answer_s: float = _ANSWER_S) -> None:
        headers = {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=control, headers=headers, timeout=answer_s, trust_env=False)

    def runs(self) -> bool:
        """Say whether anybody answers there."""
        try:
            self._client.get("/healthz")
        except httpx.ConnectError:
            return False
        except httpx.HTTPError as error:
            raise _silent(error) from None
        return True

    def seal(self) -> None:
        """Return once everything acknowledged before is in the ledger; raises `Retryable`."""
        self.post("/v1/admin/seal")

    def post(self, path: str, body: bytes = b"") -> bytes:
        """The body of the answer to a JSON request; raises `Permanent` or `Retryable` unless it was granted."""
        return self._granted("POST", path, body)

    def get(self, path: str) -> bytes:
        """The body of a page; raises as `post`."""
        return self._granted("GET", path, b"")

    def _granted(self, method: str, path: str, body: bytes) -> bytes:
        try:
            answer = self._client.request(method, path, content=body)
        except httpx.HTTPError as error:
            raise _silent(error) from None
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer)
        return answer.content

    def close(self) -> None:
        """Hang up."""
        self._client.close()


@contextmanager
def collector_of(data_dir: Path, config: Config) -> Iterator[Collector]:
    """The collector of a data directory; where none runs, one without doors that books and seals until the end.

    What is then left to book is booked and sealed before this ends; raises `Retryable` when that takes too long.
    """
    running = _running(data_dir)
    if running is None:
        with _collector_here(data_dir.resolve(), config) as here:
            yield here
        return
    with closing(running):
        yield running


@contextmanager
def running_collector(data_dir: Path) -> Iterator[Collector]:
    """The collector that runs on a data directory; raises `ConfigError` where none does."""
    running = _running(data_dir)
    if running is None:
        raise ConfigError(f"No collector runs on {data_dir}.", fix="Start it: spanward serve --data DIR.")
    with closing(running):
        yield running


@click.command()
@data_option
@config_options
def seal(data_dir: Path, config_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Book and seal everything acknowledged so far. Returns when it is in the ledger."""
    config = load_or_exit(config_path, overrides)
    try:
        running = _running(data_dir)
        if running is not None:
            with closing(running):
                running.seal()
        else:
            # Its end books and seals.
            with _collector_here(data_dir.resolve(), config):
                pass
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from None


def _running(data_dir: Path) -> Collector | None:
    """What listens where one listened last may be anybody; who holds the lock is the collector of this directory."""
    try:
        control = json.loads((data_dir / "endpoints.json").read_bytes())["control"]
        token = (data_dir / "operator.token").read_text()
        if not in_use(data_dir / "state" / "state.db"):
            return None
    except OSError:
        return None
    collector = Collector(control, token)
    if collector.runs():
        return collector
    collector.close()
    return None


def quiet(config: Config) -> Config:
    """The same with a control endpoint nobody but this command finds: another collector may have the port.

    Notices wait for the next start of the real one, whose configuration says whom to tell: a command is often run
    without it.
    """
    control = msgspec.structs.replace(config.extensions.control, endpoint="127.0.0.1:0", grpc_endpoint="")
    notifications = msgspec.structs.replace(config.extensions.notifications, enabled=False)
    extensions = msgspec.structs.replace(config.extensions, control=control, notifications=notifications)
    return msgspec.structs.replace(config, extensions=extensions)


@contextmanager
def _collector_here(data_dir: Path, config: Config) -> Iterator[Collector]:
    """What the next start would do, without doors, then stop again."""
    if not (data_dir / "state").is_dir():
        raise Fatal(f"{data_dir} is not a data directory.", fix="Give the directory that spanward serve was given.")
    from collector.service import Ingest, start_owner

    failures: list[SpanwardError] = []
    drained = False
    config = quiet(config)
    with ExitStack() as stack:
        owner = start_owner(data_dir, config)
        stack.callback(owner.stop)
        ingest = Ingest(data_dir, config, owner, clock=time.time_ns, on_fatal=failures.append)
        stack.callback(ingest.close)
        ingest.booker.start()
        try:
            with closing(Collector(owner.endpoints["control"], (data_dir / "operator.token").read_text())) as collector:
                yield collector
        finally:
            drained = ingest.booker.drain(_DRAIN_S)
            # What failed here is why nothing was answered there.
            if failures:
                raise failures[0]
    if not drained:
        raise Retryable(f"Not everything could be booked and sealed within {_DRAIN_S} s.", fix="Try again.")


def _refusal(answer: httpx.Response) -> Permanent | Retryable:
    """What a control endpoint's answer that is not 200 says: mend the order, or try again."""
    later = answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    try:
        error = msgspec.json.decode(answer.content, type=ErrorBody)
        what, fix = error.message, error.fix
    except msgspec.DecodeError:
        what, fix = f"The collector answered {answer.status_code}: {answer.text[:200]}", "Look at its log."
    if later:
        return Retryable(what, fix=fix, overloaded=answer.status_code == httpx.codes.SERVICE_UNAVAILABLE)
    return Permanent(what, fix=fix)


def _silent(error: httpx.HTTPError) -> Retryable:
    return Retryable(f"The collector did not answer: {error}.", fix="Try again, or look at its log.")
