"""`spanward kill` and `spanward drill`: stop agents, let them go on, and measure who would hear it.

Invariant: stdout carries data only, sentences go to stderr. Exit codes: 0 done (a kill is in force and
durable, whoever has acknowledged it yet), 1 an error told in one message, 2 a command line click does
not understand, 3 a drill that some connected client did not acknowledge in time.
"""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from collector.access.bootstrap import local_actor
from collector.access.cli import Explained, encode, json_option, print_table
from collector.commands.remote import Control, control_at, control_of
from collector.config import config_options, load
from schemas.errors import ConfigError, SpanwardError
from schemas.kills import Acks, Drill, Kill, KillList, KillRequest, KillScope, KillStatus, ReasonRequest, Released

EXIT_MISSING = 3
_POLL_S = 0.1
# Acknowledgements are waited for by the collector; this only ends a wait for one that has gone away.
_WAIT_S = 60.0
_SCOPES = ("all", "llm", "new_keys")
_TOKEN = "SPANWARD_ADMIN_TOKEN"  # noqa: S105 - the name of an environment variable


class _Given(msgspec.Struct, frozen=True):
    """The options of all commands here."""

    data_dir: Path | None = None
    endpoint: str | None = None
    config_path: Path | None = None
    overrides: tuple[str, ...] = ()
    scope: KillScope | None = None
    target: str | None = None
    reason: str | None = None
    unmatched: bool = False
    no_wait: bool = False
    as_json: bool = False


def where_options(command: click.decorators.FC) -> click.decorators.FC:
    """`--data` or `--endpoint`, and the configuration of a collector that does not run."""
    kind = click.Path(file_okay=False, path_type=Path)
    command = config_options(command)
    command = click.option(
        "--endpoint", metavar="URL", help=f"A control endpoint elsewhere; the admin token is read from {_TOKEN}."
    )(command)
    return click.option("--data", "data_dir", metavar="DIR", type=kind, help="Data directory, served or not.")(command)


reason_option = click.option("--reason", metavar="TEXT", help="Why; clients and the ledger are told.")


class Ordered(Explained):
    """A group that is a command as well: `kill --scope …` beside `kill list` and `kill release`."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The line behind `Usage:`."""
        return ["[OPTIONS]", *super().collect_usage_pieces(ctx)[-1:]]


@click.group(cls=Ordered, invoke_without_command=True)
@where_options
@click.option("--scope", type=click.Choice(_SCOPES), help="Everything, model calls, or new keys and first uses.")
@click.option(
    "--target", metavar="TARGET", help="platform, ORG, ORG/TENANT, ORG/TENANT/AGENT, model:NAME or tool:NAME."
)
@reason_option
@click.option("--unmatched", is_flag=True, help="Kill a target nobody has ever heard of, before its first use.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the acknowledgements of connected clients.")
@json_option
@click.pass_context
def kill(ctx: click.Context, /, **given: object) -> None:
    """Stop agents, models, tools or new keys until released."""
    if ctx.invoked_subcommand is not None:
        return
    asked = _given(given)
    if asked.scope is None:
        raise click.UsageError("Missing option '--scope'.")
    target, reason = _wanted(asked.target, "--target"), _wanted(asked.reason, "--reason")
    order = KillRequest(asked.scope, target, reason, asked.unmatched, _local(asked))
    with _control(asked) as control:
        made = control.post("/v1/admin/kills", order, Kill)
        acks = None if asked.no_wait else _wait(lambda: _acks_of(control, made.id))
    if asked.as_json:
        click.echo(encode({"kill": made, "acks": acks}))
        return
    _print_kills([KillStatus(made, acks)])
    click.echo(f"In force. To end it: spanward kill release {made.id} {_where(asked)} --reason TEXT", err=True)
    if acks is not None:
        _print_acks(acks)


@kill.command(name="list")
@where_options
@json_option
@click.pass_context
def list_kills(ctx: click.Context, /, **given: object) -> None:
    """List the kills in force, oldest first."""
    asked = _given(given, ctx)
    with _control(asked) as control:
        kills = control.get("/v1/admin/kills", KillList)
    if asked.as_json:
        click.echo(encode(kills))
    else:
        _print_kills(kills.kills)
        click.echo(f"{len(kills.kills)} in force, epoch {kills.epoch}.", err=True)


@kill.command()
@click.argument("kill_id", metavar="ID")
@where_options
@reason_option
@json_option
@click.pass_context
def release(ctx: click.Context, /, kill_id: str, **given: object) -> None:
    """End a kill. An act of its own: it has an actor, a reason and an entry in the ledger."""
    asked = _given(given, ctx)
    order = ReasonRequest(_wanted(asked.reason, "--reason"), _local(asked))
    with _control(asked) as control:
        released = control.post(f"/v1/admin/kills/{kill_id}/release", order, Released)
    click.echo(encode(released) if asked.as_json else released.kill.id)
    click.echo(f"Released since {released.released_at} by {released.actor}, epoch {released.epoch}.", err=True)


@click.command()
@where_options
@click.option("--reason", metavar="TEXT", default="drill", show_default=True, help="Why; the ledger keeps it.")
@json_option
@click.pass_context
def drill(ctx: click.Context, /, **given: object) -> None:
    """Measure how fast a kill would reach clients; stop nobody."""
    asked = _given(given)
    try:
        with _control(asked) as control:
            order = ReasonRequest(_wanted(asked.reason, "--reason"), _local(asked))
            made = control.post("/v1/admin/drills", order, Drill)
            acks = _wait(lambda: control.get(f"/v1/admin/drills/{made.id}", Drill).acks)
    except SpanwardError as error:
        raise click.ClickException(error.diagnostics()) from error
    assert acks is not None
    made = msgspec.structs.replace(made, acks=acks)
    if asked.as_json:
        click.echo(encode(made))
    else:
        rows = [(each.client, each.speaks_for or "admin", each.key_id, _shown(each.ms)) for each in acks.clients]
        print_table([("CLIENT", "SPEAKS FOR", "KEY ID", "MS"), *rows], right=(3,))
        _print_acks(acks)
    if acks.acked < acks.connected:
        ctx.exit(EXIT_MISSING)


@contextmanager
def _control(asked: _Given) -> Iterator[Control]:
    if (asked.data_dir is None) == (asked.endpoint is None):
        raise click.UsageError("Say which collector: either --data DIR or --endpoint URL.")
    if asked.data_dir is not None:
        with control_of(asked.data_dir, load(asked.config_path, asked.overrides)) as control:
            yield control
    elif asked.endpoint is not None:
        with control_at(asked.endpoint, _token()) as control:
            yield control


def _token() -> str:
    token = os.environ.get(_TOKEN, "").strip()
    if not token:
        raise ConfigError(f"{_TOKEN} is not set.", fix="Set it to an admin token (bootstrap.json holds the first one).")
    return token


def _local(asked: _Given) -> str:
    """Who runs this command: elsewhere the token says who acts."""
    return local_actor() if asked.data_dir is not None else ""


def _given(given: dict[str, object], ctx: click.Context | None = None) -> _Given:
    """What was asked for; of a subcommand's options, those before its name count as well."""
    above = ctx.parent.params if ctx is not None and ctx.parent is not None else {}
    merged = {name: value or above.get(name, value) for name, value in given.items()}
    return msgspec.convert(merged, _Given, dec_hook=lambda _, value: value)


def _where(asked: _Given) -> str:
    """The option that names the same collector again, to be copied."""
    if asked.data_dir is not None:
        return shlex.join(("--data", str(asked.data_dir)))
    return shlex.join(("--endpoint", asked.endpoint or ""))


def _wanted(value: str | None, option: str) -> str:
    if not value:
        raise click.UsageError(f"Missing option '{option}'.")
    return value


def _acks_of(control: Control, kill_id: str) -> Acks | None:
    kills = control.get("/v1/admin/kills", KillList).kills
    return next((status.acks for status in kills if status.kill.id == kill_id), None)


def _wait(look: Callable[[], Acks | None]) -> Acks | None:
    """The acknowledgements, once all are there or the collector has waited long enough."""
    deadline = time.monotonic() + _WAIT_S
    acks = look()
    while acks is not None and not acks.finished and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        acks = look()
    return acks


def _print_kills(statuses: list[KillStatus]) -> None:
    rows = [(k.id, k.scope, k.target, str(k.epoch), k.since, k.actor, k.reason) for k in (s.kill for s in statuses)]
    print_table([("ID", "SCOPE", "TARGET", "EPOCH", "SINCE", "BY", "REASON"), *rows])


def _print_acks(acks: Acks) -> None:
    if not acks.connected:
        click.echo("No client listens to the feedback stream; agents are refused at their next question.", err=True)
        return
    times = (
        f": p50 {_shown(acks.p50_ms)}, p99 {_shown(acks.p99_ms)}, max {_shown(acks.max_ms)} ms" if acks.acked else ""
    )
    click.echo(f"{acks.acked} of {acks.connected} connected clients acknowledged{times}.", err=True)
    for each in acks.clients:
        if each.ms is None:
            speaks_for = each.speaks_for or "an administrator"
            click.echo(f"  no acknowledgement: {each.client} of {speaks_for}, key {each.key_id}", err=True)


def _shown(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.1f}"
