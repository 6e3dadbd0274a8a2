"""Files of the key store: their modes, and what is said when they are lost, swapped or broken."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from collector.access.keys import Config, KeyStore
from schemas.errors import ConfigError, Fatal, Retryable
from schemas.ids import TenantPath
from schemas.quantities import Duration
from tests.collector.access.conftest import OPERATOR, TRIAGE, Clock


def test_files_are_readable_by_their_owner_only_whatever_the_umask(db: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        with KeyStore(db, clock=clock) as store:
            store.create_agent_key(TRIAGE, actor=OPERATOR)
            modes = {path.name: path.stat().st_mode & 0o777 for path in (db.parent, *db.parent.iterdir())}
    finally:
        os.umask(before)
    assert modes == {
        "state": 0o700,
        "access.db": 0o600,
        "access.db-wal": 0o600,
        "access.db-shm": 0o600,
        "pepper": 0o600,
    }


def test_pepper_is_32_random_bytes(tmp_path: Path, clock: Clock) -> None:
    peppers = set()
    for name in ("a", "b"):
        KeyStore(tmp_path / name / "access.db", clock=clock).close()
        peppers.add((tmp_path / name / "pepper").read_bytes())
    assert {len(pepper) for pepper in peppers} == {32}
    assert len(peppers) == 2


def test_lost_pepper_is_never_replaced_in_silence(db: Path, clock: Clock) -> None:
    KeyStore(db, clock=clock).close()
    db.with_name("pepper").unlink()
    with pytest.raises(ConfigError, match=r"pepper .* cannot be read"):
        KeyStore(db, clock=clock)
    assert not db.with_name("pepper").exists()


def test_pepper_of_another_database_is_refused(tmp_path: Path, clock: Clock) -> None:
    for name in ("a", "b"):
        KeyStore(tmp_path / name / "access.db", clock=clock).close()
    shutil.copy2(tmp_path / "a" / "pepper", tmp_path / "b" / "pepper")
    with pytest.raises(ConfigError, match="is not the pepper"):
        KeyStore(tmp_path / "b" / "access.db", clock=clock)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_pepper_of_the_wrong_length_is_refused(db: Path, clock: Clock, content: bytes) -> None:
    KeyStore(db, clock=clock).close()
    db.with_name("pepper").write_bytes(content)
    with pytest.raises(ConfigError, match="not 32 bytes"):
        KeyStore(db, clock=clock)


def test_pepper_others_may_read_is_refused_with_the_command_that_mends_it(db: Path, clock: Clock) -> None:
    KeyStore(db, clock=clock).close()
    db.with_name("pepper").chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640.*") as refusal:
        KeyStore(db, clock=clock)
    assert refusal.value.fix == f"Run: chmod 600 {db.with_name('pepper')}"


def test_pepper_that_is_a_link_is_refused(db: Path, clock: Clock, tmp_path: Path) -> None:
    KeyStore(db, clock=clock).close()
    db.with_name("pepper").rename(tmp_path / "elsewhere")
    db.with_name("pepper").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyStore(db, clock=clock)


def test_pepper_without_proof_is_taken_as_a_crash_leaves_it(db: Path, clock: Clock) -> None:
    KeyStore(db, clock=clock).close()
    pepper = db.with_name("pepper").read_bytes()
    for path in db.parent.glob("access.db*"):
        path.unlink()
    KeyStore(db, clock=clock).close()
    assert db.with_name("pepper").read_bytes() == pepper


def test_database_of_a_newer_version_is_left_alone(db: Path, clock: Clock) -> None:
    KeyStore(db, clock=clock).close()
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(ConfigError, match="has format 4"):
        KeyStore(db, clock=clock)


def test_database_made_before_tenants_had_keys_keeps_its_keys_and_takes_new_ones(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock) as store:
        text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
        revoked = store.revoke(store.create_admin_token(actor=OPERATOR)[1].id, actor=OPERATOR, reason="left")
    as_format_1(db)
    with KeyStore(db, clock=clock) as store:
        assert store.authenticate(text) == created
        assert set(store.list()) == {created, revoked}
        tenant_key, _ = store.create_tenant_key(TenantPath("acme", "support"), actor=OPERATOR)
        assert store.authenticate(tenant_key).kind == "tenant"
        assert len(store.events(0)) == 4


def as_format_1(db: Path) -> None:
    """The table as it was made when there were agents' keys and admin tokens only."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'credential'").fetchone()
        connection.execute("ALTER TABLE credential RENAME TO newer")
        connection.execute(made.replace("('agent', 'tenant', 'admin')", "('agent', 'admin')"))
        connection.execute("INSERT INTO credential SELECT * FROM newer")
        for later in ("newer", "first_use", "stop"):
            connection.execute(f"DROP TABLE {later}")
        connection.execute("PRAGMA user_version = 1")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE credential SET kind = 'tenant'")


def test_file_that_is_no_database_is_the_operators_to_mend(db: Path, clock: Clock) -> None:
    db.parent.mkdir()
    db.write_bytes(b"not a database, just text of some length" * 100)
    with pytest.raises(ConfigError, match="SQLITE_NOTADB"):
        KeyStore(db, clock=clock)


def test_write_that_waits_too_long_is_retryable_and_leaves_no_trace(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock, config=Config(busy_timeout=Duration("10ms"))) as store:
        holder = sqlite3.connect(db, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retryable, match="SQLITE_BUSY"):
            store.create_agent_key(TRIAGE, actor=OPERATOR)
        holder.execute("ROLLBACK")
        holder.close()
        text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
        assert store.authenticate(text) == created
        assert store.list() == (created,)


def test_nobody_is_authenticated_when_the_file_cannot_be_read(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock) as store:
        text, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
        other = sqlite3.connect(db)
        other.execute("DROP TABLE credential")
        other.close()
        clock.advance(10**9)
        with pytest.raises(Fatal):
            store.authenticate(text)
