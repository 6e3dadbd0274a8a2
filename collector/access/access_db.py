"""A path becomes an open access database and the pepper its digests were made with.

Invariant: database and pepper belong together. The database holds a proof of its pepper, so a
lost, swapped or readable pepper stops the process with one sentence instead of making every key
unknown. Tables, proof and pepper are made under one write lock, so two first starts agree.

Every SQLite error leaves this file as one of `schemas.errors`: `Retryable` when waiting can help,
`ConfigError` when the operator must act, `Fatal` when the file can no longer be trusted.

Leaves to `keys` what the rows mean.
"""

import contextlib
import hmac
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from collector.access.durable_file import replace_file
from schemas.errors import ConfigError, Fatal, Retryable

PEPPER_BYTES = 32
FORMAT = 3

_RETRY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")
_OPERATOR = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_NOTADB")

# `credential.event` is the newest event that touched the row: what changed since a known event is
# one index look-up, however many keys there are.
_TABLES = """
CREATE TABLE pepper (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), proof BLOB NOT NULL) STRICT;
CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL) STRICT;
"""
_CREDENTIALS = """
CREATE TABLE credential (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('agent', 'tenant', 'admin')),
    org TEXT NOT NULL, tenant TEXT NOT NULL, agent TEXT NOT NULL,
    created_ns INTEGER NOT NULL, expires_ns INTEGER, revoked_ns INTEGER,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    event INTEGER NOT NULL UNIQUE REFERENCES event (id)
) STRICT, WITHOUT ROWID;
"""
# What was used before this table is not known; it is recorded at its next use.
_FIRST_USE = """
CREATE TABLE first_use (id TEXT PRIMARY KEY, used_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE stop (target TEXT PRIMARY KEY, message TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
# SQLite cannot change a CHECK, so the table is made anew around its rows.
_PUT_ASIDE = "ALTER TABLE credential RENAME TO credential_1;\n"
_TAKE_BACK = "INSERT INTO credential SELECT * FROM credential_1;\nDROP TABLE credential_1;\n"
_STEPS = {
    0: _TABLES + _CREDENTIALS + _FIRST_USE,
    1: _PUT_ASIDE + _CREDENTIALS + _TAKE_BACK + _FIRST_USE,
    2: _FIRST_USE,
}
"""What brings a database of each older format to this one."""


def open_access_db(path: Path, *, busy_timeout_ms: int) -> tuple[sqlite3.Connection, bytes]:
    """The database at `path`, created if absent, and the pepper beside it (`path`'s folder, file `pepper`)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Created here and not by SQLite for the mode; SQLite gives its -wal and -shm files the same one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with sqlite_errors(path):
        # Autocommit: transactions are opened explicitly. The caller's lock serialises the threads.
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=busy_timeout_ms / 1000
        )
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        with sqlite_errors(path):
            pepper = _prepare(connection, path)
        undo.pop_all()
    return connection, pepper


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable when it returns. Takes the write lock first, so ids follow commit order."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, by what can be done about them."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        what = f"The key database {path} could not be used: {error} ({name})."
        if name.startswith(_RETRY):
            raise Retryable(
                what, fix="Free disk space, check the disk, or end the process that holds the file, and try again."
            ) from error
        if name.startswith(_OPERATOR):
            raise ConfigError(what, fix="Run as the owner of the data directory, and check --data.") from error
        raise Fatal(what, fix="Restore the file and the pepper beside it from a backup.") from error


def _prepare(connection: sqlite3.Connection, path: Path) -> bytes:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    with transaction(connection):
        _create_tables(connection, path)
        pepper_path = path.with_name("pepper")
        row = connection.execute("SELECT proof FROM pepper").fetchone()
        if row is None:
            # A crash between the two writes leaves a pepper without proof: the next start takes it.
            if not pepper_path.exists():
                replace_file(pepper_path, secrets.token_bytes(PEPPER_BYTES), mode=0o600)
            pepper = _read_pepper(pepper_path)
            connection.execute("INSERT INTO pepper VALUES (1, ?)", (_proof(pepper),))
            return pepper
        pepper = _read_pepper(pepper_path)
    if not hmac.compare_digest(row[0], _proof(pepper)):
        raise ConfigError(f"{pepper_path} is not the pepper {path.name} was made with.", fix=_RESTORE)
    return pepper


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise ConfigError(
            f"{path} has format {found}; this version of spanward knows {FORMAT}.", fix="Install the newer spanward."
        )
    if found < FORMAT:
        # One by one, because executescript() would commit the transaction this runs in.
        for statement in _STEPS[found].split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {FORMAT}")


_RESTORE = "Restore pepper and access.db from the same backup; without the right pepper no key can be recognised."


def _read_pepper(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pepper = file.read(PEPPER_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The pepper {path} cannot be read: {error.strerror}.", fix=_RESTORE) from error
    if mode & 0o077:
        raise ConfigError(f"The pepper {path} is open to others (mode {mode:04o}).", fix=f"Run: chmod 600 {path}")
    if len(pepper) != PEPPER_BYTES:
        raise ConfigError(f"The pepper {path} is not {PEPPER_BYTES} bytes long.", fix=_RESTORE)
    return pepper


def _proof(pepper: bytes) -> bytes:
    return hmac.digest(pepper, b"spanward pepper proof", "sha256")
