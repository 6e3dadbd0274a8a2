"""Keys in, credentials out: the answer to who sent a request.

Invariant: the text of a key exists once, in the answer of the call that made it. What is stored is
its HMAC-SHA-256 under the pepper; a slow password hash would add 30 ms to every request and
nothing to 256 random bits. Each operation and the ledger entry that tells of it are one
transaction, so neither can exist without the other.

Any number of processes may hold a store on the same file: a key made or revoked by one is seen by
the others within `Config.refresh_interval`. When the file cannot be read, nobody is authenticated.

Leaves to callers which credential may do what, and to the booker the way of entries to the ledger.
"""

import contextlib
import hmac
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from collector.access.access_db import open_access_db, sqlite_errors, transaction
from collector.access.audit import Action, KeyOperation, key_event, utc_text
from collector.access.first_use import FirstUses, Stop, read_stops, refuse, write_stops
from collector.access.key_text import ID_PATTERN, KEY_PATTERN, Kind, new_key_text, parse_key_text
from schemas.booking import Event
from schemas.errors import Forbidden, Permanent, Unauthenticated
from schemas.ids import AgentPath, CredentialId, TenantPath, check_id, check_reason
from schemas.quantities import Duration

State = Literal["active", "expired", "revoked"]

KEY_NAMES: Mapping[Kind, str] = {"agent": "key", "tenant": "tenant key", "admin": "admin token"}
_SEE_IDS = "See the ids with: spanward keys list."
# The largest time a 64-bit column can hold, in the year 2262.
MAX_TIME_NS = 2**63 - 1


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the store keeps up with other processes."""

    refresh_interval: Duration = Duration("500ms")
    """How long a key revoked by another process may still be accepted here."""

    unknown_key_interval: Duration = Duration("100ms")
    """The shortest time between two looks into the file because of keys nobody knows."""

    busy_timeout: Duration = Duration("5s")
    """How long an operation waits for another process's write before it fails as retryable."""

    events_per_read: int = 1_000
    """The most entries one call of `KeyStore.events` returns."""


class Credential(msgspec.Struct, frozen=True):
    """What is known of a key or token; everything here may be shown. Times in Unix ns.

    `agent` is empty for a tenant's key, which speaks for every agent of its tenant; all three are
    empty for an admin token.
    """

    id: CredentialId
    kind: Kind
    org: str
    tenant: str
    agent: str
    created_ns: int
    expires_ns: int | None
    revoked_ns: int | None

    def path(self) -> AgentPath | TenantPath:
        """Whom this key speaks for: an agent or a whole tenant; raises `Forbidden` for an admin token."""
        if self.kind == "admin":
            raise Forbidden(
                f"Admin token {self.id} speaks for no agent.",
                fix="Use an agent's or a tenant's key: spanward keys create --agent ORG/TENANT/AGENT.",
            )
        if self.kind == "tenant":
            return TenantPath(self.org, self.tenant)
        return AgentPath(self.org, self.tenant, self.agent)

    def speaker(self, named: str = "") -> AgentPath:
        """The agent a request speaks for that names `named`, or nobody when that is empty.

        Raises `Forbidden` when this key does not speak for that agent, `Permanent` when it speaks for
        many and none is named, or the name is not an id.
        """
        path = self.path()
        if isinstance(path, TenantPath):
            if not named:
                raise Permanent(
                    f"Key {self.id} speaks for every agent of {path}, and the request names none.",
                    fix="Name the agent's id in the field `agent`, or use an agent's own key.",
                )
            return AgentPath(path.org, path.tenant, check_id(named, where="the field `agent`"))
        if named not in {"", path.agent}:
            raise Forbidden(
                f"The key of {path} may not speak for agent {named!r}.",
                fix=f"Leave the field `agent` out, or use that agent's key or a key of {path.org}/{path.tenant}.",
            )
        return path

    def speaks_for(self, path: AgentPath) -> bool:
        """Say whether this key may act as that agent; an admin token acts as none."""
        return (self.kind == "agent" and path == self.path()) or (
            self.kind == "tenant" and (path.org, path.tenant) == (self.org, self.tenant)
        )

    def state(self, now_ns: int) -> State:
        """What the credential is worth at `now_ns`; a revoked one stays revoked after its expiry."""
        if self.revoked_ns is not None:
            return "revoked"
        return "expired" if self.expires_ns is not None and now_ns >= self.expires_ns else "active"


class _Known(msgspec.Struct, frozen=True):
    """A row of table `credential`; `event` is the newest that touched it."""

    credential: Credential
    digest: bytes
    event: int


class KeyStore:
    """The credentials of one data directory. Safe to call from several threads."""

    def __init__(self, path: Path, *, clock: Callable[[], int], config: Config | None = None) -> None:
        """Open `access.db` at `path`, creating it and its pepper if absent.

        `clock` returns Unix ns. Raises `ConfigError`, `Retryable` or `Fatal` as `access_db` says.
        """
        self._path = path
        self._clock = clock
        self._config = config or Config()
        self._connection, self._pepper = open_access_db(path, busy_timeout_ms=self._config.busy_timeout.ns // 10**6)
        # Guards the connection and every field below it. `_known` is read without it: entries are
        # immutable and one dict read is atomic.
        self._lock = threading.Lock()
        self._known: dict[CredentialId, _Known] = {}
        self._first_uses = FirstUses()
        self._last_event = 0
        self._data_version: int | None = None
        self._looked_ns: int | None = None

    def create_agent_key(self, path: AgentPath, *, actor: str, expires_ns: int | None = None) -> tuple[str, Credential]:
        """A new key for `path`: its text, to be shown once, and its credential.

        Whether the agent exists is the caller's question. `actor` is who asked, such as
        `user:NAME`; `expires_ns` is Unix ns and must lie ahead, else `Permanent`. Raises `Forbidden`
        while a kill of new keys concerns `path`.
        """
        return self._create("agent", (path.org, path.tenant, path.agent), actor=actor, expires_ns=expires_ns)

    def create_tenant_key(
        self, path: TenantPath, *, actor: str, expires_ns: int | None = None
    ) -> tuple[str, Credential]:
        """A new key for all agents of `path`, known or not; for the rest as `create_agent_key`."""
        return self._create("tenant", (path.org, path.tenant, ""), actor=actor, expires_ns=expires_ns)

    def create_admin_token(self, *, actor: str) -> tuple[str, Credential]:
        """A new token of the platform's administrator: its text, to be shown once, and its credential."""
        return self._create("admin", ("", "", ""), actor=actor, expires_ns=None)

    def revoke(self, credential_id: str, *, actor: str, reason: str) -> Credential:
        """End a credential for good; one that is revoked already is returned as it is.

        Raises `Permanent` when no key has that id or `reason` is not one line of 1 to 1,000 characters.
        """
        _check_revocation(credential_id, reason)
        with self._write() as connection:
            row = connection.execute("SELECT * FROM credential WHERE id = ?", (credential_id,)).fetchone()
            if row is None:
                raise Permanent(f"No key has the id {credential_id!r}.", fix=_SEE_IDS)
            before = _known(row).credential
            if before.revoked_ns is not None:
                return before
            after = msgspec.structs.replace(before, revoked_ns=self._clock())
            event = self._record(after, "keys.revoke", actor=actor, detail={"reason": reason})
            connection.execute(
                "UPDATE credential SET revoked_ns = ?, event = ? WHERE id = ?", (after.revoked_ns, event, after.id)
            )
        return after

    def authenticate(self, text: str) -> Credential:
        """The credential that `text` is the key of.

        Raises `Unauthenticated` and says why: malformed, checksum, unknown, expired or revoked. An
        unknown id and a wrong secret get the same answer after the same comparison; that a key is
        expired or revoked is told only to somebody who has it. Raises `Forbidden` when the key was never
        used and a kill of new keys concerns its owner, `Retryable` or `Fatal` when the file cannot be used.
        """
        presented = parse_key_text(text)
        self._refresh(self._config.refresh_interval)
        known = self._known.get(presented.id)
        if known is None:
            self._refresh(self._config.unknown_key_interval)
            known = self._known.get(presented.id)
        digest = self._digest(text)
        expected = known.digest if known is not None else bytes(len(digest))
        if not hmac.compare_digest(digest, expected) or known is None:
            raise Unauthenticated(
                "The key is unknown here.", fix="Check that it was created for this data directory: spanward keys list."
            )
        credential = self._usable(known.credential)
        if credential.kind != "admin" and not self._first_uses.recorded(credential.id):
            with self._lock, sqlite_errors(self._path):
                self._first_uses.allow(self._connection, credential.id, str(credential.path()), self._clock())
        return credential

    def set_stops(self, stops: Iterable[Stop]) -> None:
        """From now on no key of these is made or used for the first time, in any process; the stops before are gone."""
        with self._write() as connection:
            write_stops(connection, stops)

    def events(self, after: int) -> list[tuple[int, Event]]:
        """Ledger entries above number `after`, oldest first, each with its number.

        At most `Config.events_per_read`: call again with the last number until none is left.
        """
        with self._lock, sqlite_errors(self._path):
            rows = self._connection.execute(
                "SELECT id, entry FROM event WHERE id > ? ORDER BY id LIMIT ?", (after, self._config.events_per_read)
            ).fetchall()
        return [(number, msgspec.json.decode(entry, type=Event)) for number, entry in rows]

    def list(self) -> tuple[Credential, ...]:
        """Every credential there ever was, oldest first."""
        self._refresh(Duration("0ns"))
        with self._lock:
            credentials = [known.credential for known in self._known.values()]
        return tuple(sorted(credentials, key=lambda credential: (credential.created_ns, credential.id)))

    def close(self) -> None:
        """Let go of the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(
        self, kind: Kind, owner: tuple[str, str, str], *, actor: str, expires_ns: int | None
    ) -> tuple[str, Credential]:
        now = self._clock()
        if expires_ns is not None and not now < expires_ns <= MAX_TIME_NS:
            raise Permanent(
                "The key would be expired or live beyond 2262.", fix="Give a later or nearer time, such as 90d."
            )
        text, credential_id = new_key_text(kind)
        credential = Credential(credential_id, kind, *owner, created_ns=now, expires_ns=expires_ns, revoked_ns=None)
        detail = {"key_kind": kind, "expires_at": None if expires_ns is None else utc_text(expires_ns)}
        with self._write() as connection:
            if kind != "admin":
                refuse(read_stops(connection), str(credential.path()), "No key is made.")
            event = self._record(credential, "keys.create", actor=actor, detail=detail)
            connection.execute(
                "INSERT INTO credential VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*msgspec.structs.astuple(credential), self._digest(text), event),
            )
        return text, credential

    def _record(self, credential: Credential, action: Action, *, actor: str, detail: dict[str, str | None]) -> int:
        """Write the entry of an operation; its number. The caller holds the transaction."""
        owned = "" if credential.kind == "admin" else f" of {credential.path()}"
        what = f"{KEY_NAMES[credential.kind]} {credential.id}{owned}"
        done = "created" if action == "keys.create" else "revoked"
        why = f": {detail['reason']}" if "reason" in detail else "."
        at_ns = credential.created_ns if credential.revoked_ns is None else credential.revoked_ns
        operation = KeyOperation(
            action=action,
            actor=actor,
            key_id=credential.id,
            owner=(credential.org, credential.tenant, credential.agent),
            at_ns=at_ns,
            message=f"{actor} {done} {what}{why}",
            detail=detail,
        )
        entry = msgspec.json.encode(key_event(operation)).decode()
        number = self._connection.execute("INSERT INTO event (entry) VALUES (?)", (entry,)).lastrowid
        assert number is not None, "SQLite numbers every inserted row"
        return number

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, sqlite_errors(self._path):
            with transaction(self._connection) as connection:
                yield connection
            # data_version tells of other connections' commits only, so our own are taken in here.
            self._take_changes()

    def _refresh(self, interval: Duration) -> None:
        """Take in what other processes committed, unless that was done less than `interval` ago."""
        now = self._clock()
        # A clock that was set back counts as due: else revocations would go unseen until it catches up.
        if self._looked_ns is not None and 0 <= now - self._looked_ns < interval.ns:
            return
        with self._lock, sqlite_errors(self._path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._data_version:
                self._take_changes()
                self._data_version = version
            self._looked_ns = now

    def _take_changes(self) -> None:
        changed = "SELECT * FROM credential WHERE event > ? ORDER BY event"
        for row in self._connection.execute(changed, (self._last_event,)).fetchall():
            known = _known(row)
            self._known[known.credential.id] = known
            self._last_event = known.event
        self._first_uses.reload(self._connection)

    def _digest(self, text: str) -> bytes:
        # Over the whole text, so that neither kind nor id can be exchanged for another key's.
        return hmac.digest(self._pepper, text.encode("ascii"), "sha256")

    def _usable(self, credential: Credential) -> Credential:
        state = credential.state(self._clock())
        if state == "active":
            return credential
        at_ns = credential.revoked_ns if state == "revoked" else credential.expires_ns
        assert at_ns is not None, "only a time can make a credential unusable"
        was = "was revoked" if state == "revoked" else "expired"
        raise Unauthenticated(
            f"Key {credential.id} {was} at {utc_text(at_ns)}.",
            fix="Create a new one: spanward keys create --agent ORG/TENANT/AGENT.",
        )


def _known(row: tuple[Any, ...]) -> _Known:
    *columns, digest, event = row
    return _Known(Credential(*columns), digest, event)


def _check_revocation(credential_id: str, reason: str) -> None:
    if KEY_PATTERN.fullmatch(credential_id):
        raise Permanent(
            "That is a whole key, not its id.", fix="Give the 12 characters between the second and third '_'."
        )
    if not ID_PATTERN.fullmatch(credential_id):
        raise Permanent(f"{credential_id!r} is not the id of a key.", fix=_SEE_IDS)
    check_reason(reason, "A revocation")
