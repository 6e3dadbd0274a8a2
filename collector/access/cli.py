"""`spanward keys`: words of an operator become operations on the key store of a data directory.

Invariant: stdout carries data only, so a script may capture it; sentences go to stderr. Exit code
0 is done, 1 is an error told in one message, 2 a command line click does not understand.

The store is opened directly and not through a running server: the server sees the change within
half a second, and keys can be made before it starts.
"""

import time
from pathlib import Path

import click
import msgspec

from collector.access.audit import utc_text
from collector.access.bootstrap import access_path, governance_path, local_actor
from collector.access.directory import load, register_agent
from collector.access.keys import Credential, KeyStore
from schemas.errors import ConfigError, SpanwardError
from schemas.ids import AgentPath
from schemas.quantities import Duration


class _Explained(click.Group):
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
    """One credential as `list` shows it."""

    key_id: str
    kind: str
    agent: str | None
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
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=_Explained)
def keys() -> None:
    """Create, list and revoke the keys agents authenticate with."""


@keys.command()
@_data
@click.option("--agent", required=True, metavar="ORG/TENANT/AGENT", help="Whom the key speaks for.")
@click.option("--register", is_flag=True, help="Add the agent under its tenant if it is not there.")
@click.option("--expires", metavar="DURATION", help="End the key after this long, for example 90d.")
@_json
def create(*, data_dir: Path, agent: str, register: bool, expires: str | None, as_json: bool) -> None:
    """Create a key and print it. It is shown once; only a keyed hash of it is stored."""
    path = AgentPath.parse(agent)
    expires_ns = None if expires is None else time.time_ns() + Duration(expires).ns
    if register and register_agent(_existing(governance_path(data_dir)), path):
        click.echo(f"Registered agent {path}.", err=True)
    if not load(_existing(governance_path(data_dir))).has_agent(path):
        raise ConfigError(
            f"There is no agent {path} in {governance_path(data_dir)}.",
            fix="Add --register to create it under its tenant.",
        )
    with _store(data_dir) as store:
        text, credential = store.create_agent_key(path, actor=local_actor(), expires_ns=expires_ns)
    click.echo(_encode({"key": text, "key_id": credential.id}) if as_json else text)
    click.echo(f"Key {credential.id} of {path}. Keep it now: it is not shown again.", err=True)


@keys.command(name="list")
@_data
@_json
def list_keys(*, data_dir: Path, as_json: bool) -> None:
    """List every key and admin token there ever was, oldest first."""
    with _store(data_dir) as store:
        rows = [_row(credential, time.time_ns()) for credential in store.list()]
    if as_json:
        click.echo(_encode(rows))
        return
    table = [("KEY ID", "KIND", "AGENT", "STATE", "CREATED", "EXPIRES")]
    table += [
        (row.key_id, row.kind, row.agent or "-", row.state, row.created_at, row.expires_at or "never") for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@keys.command()
@click.argument("key_id", metavar="ID")
@_data
@click.option("--reason", required=True, metavar="TEXT", help="Why; the ledger keeps it.")
@_json
def revoke(*, key_id: str, data_dir: Path, reason: str, as_json: bool) -> None:
    """Revoke a key or admin token for good, by its id."""
    with _store(data_dir) as store:
        credential = store.revoke(key_id, actor=local_actor(), reason=reason)
    row = _row(credential, time.time_ns())
    click.echo(_encode({"key_id": row.key_id, "revoked_at": row.revoked_at}) if as_json else row.key_id)
    click.echo(f"Revoked since {row.revoked_at}. Running servers refuse it within a second.", err=True)


def _store(data_dir: Path) -> KeyStore:
    return KeyStore(access_path(_existing(data_dir)), clock=time.time_ns)


def _existing(path: Path) -> Path:
    """`path`, so that a mistyped --data never makes a new, empty data directory."""
    if not path.is_dir():
        raise ConfigError(f"There is no directory {path}.", fix="Check --data, or start spanward serve once.")
    return path


def _row(credential: Credential, now_ns: int) -> _Row:
    return _Row(
        key_id=credential.id,
        kind=credential.kind,
        agent=str(credential.path()) if credential.kind == "agent" else None,
        state=credential.state(now_ns),
        created_at=utc_text(credential.created_ns),
        expires_at=None if credential.expires_ns is None else utc_text(credential.expires_ns),
        revoked_at=None if credential.revoked_ns is None else utc_text(credential.revoked_ns),
    )


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
