"""`spanward keys`: words of an operator become operations on the key store of a data directory.

Invariant: stdout carries data only, so a script may capture it; sentences go to stderr. Exit code
0 is done, 1 is an error told in one message, 2 a command line click does not understand.

The store is opened directly and not through a running server: the server sees the change within
half a second, and keys can be made before it starts.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec

from collector.access.audit import utc_text
from collector.access.bootstrap import access_path, governance_path, local_actor
from collector.access.directory import load, register_agent
from collector.access.keys import KEY_NAMES, Credential, KeyStore
from schemas.errors import ConfigError, SpanwardError
from schemas.ids import AgentPath, TenantPath
from schemas.quantities import Duration


class Explained(click.Group):
    """A group whose commands end in one message and exit code 1 when something is wrong."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; `SpanwardError` and errors of the file system become a message."""
        try:
            return super().invoke(ctx)
        except SpanwardError as error:
            raise click.ClickException(error.diagnostics()) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'The file system'}: {error.strerror}.") from error


class _Row(msgspec.Struct, frozen=True):
    """One credential as `list` shows it: `agent` is the path of an agent's key, `tenant` that of either kind."""

    key_id: str
    kind: str
    agent: str | None
    tenant: str | None
    state: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


_data = click.option(
    "--data",
    "data_dir",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The data directory of spanward serve.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Explained)
def keys() -> None:
    """Create, list and revoke the keys agents authenticate with."""


@keys.command()
@_data
@click.option("--agent", metavar="ORG/TENANT/AGENT", help="The one agent the key speaks for.")
@click.option("--tenant", metavar="ORG/TENANT", help="Speak for every agent of this tenant; telemetry names which.")
@click.option("--register", is_flag=True, help="Add the agent under its tenant if it is not there.")
@click.option("--expires", metavar="DURATION", help="End the key after this long, for example 90d.")
@json_option
def create(*, data_dir: Path, register: bool, expires: str | None, as_json: bool, **whom: str | None) -> None:
    """Create a key and print it. It is shown once; only a keyed hash of it is stored."""
    agent, tenant = whom["agent"], whom["tenant"]
    if (agent is None) == (tenant is None):
        raise click.UsageError("Say whom the key speaks for: either --agent ORG/TENANT/AGENT or --tenant ORG/TENANT.")
    if tenant is not None and register:
        raise click.UsageError("--register goes with --agent: agents under a tenant's key need no registration.")
    expires_ns = None if expires is None else time.time_ns() + Duration(expires).ns
    if agent is not None:
        path = _known_agent(data_dir, AgentPath.parse(agent), register=register)
        with _store(data_dir) as store:
            text, credential = store.create_agent_key(path, actor=local_actor(), expires_ns=expires_ns)
    elif tenant is not None:
        scope = _known_tenant(data_dir, TenantPath.parse(tenant))
        with _store(data_dir) as store:
            text, credential = store.create_tenant_key(scope, actor=local_actor(), expires_ns=expires_ns)
    click.echo(encode({"key": text, "key_id": credential.id}) if as_json else text)
    name = KEY_NAMES[credential.kind].capitalize()
    click.echo(f"{name} {credential.id} of {credential.path()}. Keep it now: it is not shown again.", err=True)


@keys.command(name="list")
@_data
@json_option
def list_keys(*, data_dir: Path, as_json: bool) -> None:
    """List every key and admin token there ever was, oldest first."""
    with _store(data_dir) as store:
        rows = [_row(credential, time.time_ns()) for credential in store.list()]
    if as_json:
        click.echo(encode(rows))
        return
    table: list[Sequence[str]] = [("KEY ID", "KIND", "SPEAKS FOR", "STATE", "CREATED", "EXPIRES")]
    for row in rows:
        owner = row.agent or row.tenant or "-"
        table.append((row.key_id, row.kind, owner, row.state, row.created_at, row.expires_at or "never"))
    print_table(table)


@keys.command()
@click.argument("key_id", metavar="ID")
@_data
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger keeps it.")
@json_option
def revoke(*, key_id: str, data_dir: Path, reason: str, as_json: bool) -> None:
    """Revoke a key or admin token for good, by its id."""
    with _store(data_dir) as store:
        credential = store.revoke(key_id, actor=local_actor(), reason=reason)
    row = _row(credential, time.time_ns())
    told = {"key_id": row.key_id, "kind": row.kind, "revoked_at": row.revoked_at}
    click.echo(encode(told) if as_json else row.key_id)
    name = KEY_NAMES[credential.kind].capitalize()
    click.echo(f"{name} revoked since {row.revoked_at}. Running servers refuse it within a second.", err=True)


def _store(data_dir: Path) -> KeyStore:
    return KeyStore(access_path(_existing(data_dir)), clock=time.time_ns)


def _existing(path: Path) -> Path:
    """`path`, so that a mistyped --data never makes a new, empty data directory."""
    if not path.is_dir():
        raise ConfigError(f"There is no directory {path}.", fix="Check --data, or start spanward serve once.")
    return path


def _known_agent(data_dir: Path, path: AgentPath, *, register: bool) -> AgentPath:
    root = _existing(governance_path(data_dir))
    if register and register_agent(root, path):
        click.echo(f"Registered agent {path}.", err=True)
    if not load(root).has_agent(path):
        raise ConfigError(f"There is no agent {path} in {root}.", fix="Add --register to create it under its tenant.")
    return path


def _known_tenant(data_dir: Path, path: TenantPath) -> TenantPath:
    root = _existing(governance_path(data_dir))
    if str(path) not in load(root).tenants():
        raise ConfigError(
            f"There is no tenant {path} in {root}.",
            fix=f"Create {path.org}/org.yaml and {path}/tenant.yaml there; both files may be empty.",
        )
    return path


def _row(credential: Credential, now_ns: int) -> _Row:
    return _Row(
        key_id=credential.id,
        kind=credential.kind,
        agent=str(credential.path()) if credential.kind == "agent" else None,
        tenant=f"{credential.org}/{credential.tenant}" if credential.kind != "admin" else None,
        state=credential.state(now_ns),
        created_at=utc_text(credential.created_ns),
        expires_at=None if credential.expires_ns is None else utc_text(credential.expires_ns),
        revoked_at=None if credential.revoked_ns is None else utc_text(credential.revoked_ns),
    )


def print_table(lines: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print lines of cells as columns; those numbered in `right` are numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = set(right)
    for line in lines:
        cells = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def encode(value: object) -> str:
    """What `--json` prints."""
    return msgspec.json.encode(value).decode()
