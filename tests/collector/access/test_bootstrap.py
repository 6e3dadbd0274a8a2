"""A fresh data directory in, one that can be used out; also when the first start is cut off."""

import json
import os
import re
from pathlib import Path

import pytest

from collector.access.bootstrap import (
    BootstrapResult,
    access_path,
    bootstrap,
    governance_path,
    local_actor,
    write_bootstrap,
)
from collector.access.directory import create_default, load
from collector.access.keys import KeyStore
from schemas.errors import ConfigError, Unauthenticated
from schemas.ids import AgentPath
from tests.collector.access.conftest import OPERATOR, Clock

ENDPOINTS = {"otlp_http": "http://127.0.0.1:4318", "otlp_grpc": "127.0.0.1:4317", "control": "http://127.0.0.1:4320"}
DEFAULT = AgentPath("default", "default", "default")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def first_start(data: Path, clock: Clock) -> BootstrapResult:
    result = bootstrap(data, clock=clock)
    assert result is not None
    write_bootstrap(data, result, ENDPOINTS)
    return result


def test_fresh_directory_gets_a_default_agent_its_key_and_an_admin_token(data: Path, clock: Clock) -> None:
    result = first_start(data, clock)
    assert result.agent_key is not None
    assert load(governance_path(data)).agents() == (DEFAULT,)
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(result.agent_key).path() == DEFAULT
        assert store.authenticate(result.admin_token).kind == "admin"
        assert {event.row["actor"] for _, event in store.events(0)} == {"system:bootstrap"}


def test_bootstrap_json_is_exactly_what_is_published(data: Path, clock: Clock) -> None:
    result = first_start(data, clock)
    assert json.loads((data / "bootstrap.json").read_text(encoding="utf-8")) == {
        "admin_token": result.admin_token,
        "agent_key": result.agent_key,
        "agent": "default/default/default",
        "endpoints": ENDPOINTS,
    }


def test_bootstrap_json_is_readable_by_its_owner_only(data: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        first_start(data, clock)
    finally:
        os.umask(before)
    assert (data / "bootstrap.json").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700


def test_no_key_text_is_on_disk_outside_bootstrap_json(data: Path, clock: Clock) -> None:
    result = first_start(data, clock)
    with KeyStore(access_path(data), clock=clock) as store:
        texts = [result.admin_token, str(result.agent_key), store.create_agent_key(DEFAULT, actor=OPERATOR)[0]]
        store.revoke(texts[2].split("_")[2], actor=OPERATOR, reason="lost")
        files = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert access_path(data).with_name("access.db-wal") in files
    secrets = [text.split("_")[3].encode() for text in texts]
    found = {path.name for path, content in files.items() if any(secret in content for secret in secrets)}
    assert found == {"bootstrap.json"}
    assert secrets[2] not in files[data / "bootstrap.json"]


def test_second_start_changes_nothing(data: Path, clock: Clock) -> None:
    first_start(data, clock)
    before = (data / "bootstrap.json").read_bytes()
    assert bootstrap(data, clock=clock) is None
    assert (data / "bootstrap.json").read_bytes() == before


def test_deleting_bootstrap_json_is_safe(data: Path, clock: Clock) -> None:
    result = first_start(data, clock)
    (data / "bootstrap.json").unlink()
    assert bootstrap(data, clock=clock) is None
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(str(result.agent_key))


def test_interrupted_bootstrap_is_made_again_and_its_lost_keys_are_revoked(data: Path, clock: Clock) -> None:
    lost = bootstrap(data, clock=clock)
    with KeyStore(access_path(data), clock=clock) as store:
        own, _ = store.create_agent_key(DEFAULT, actor=OPERATOR)
    second = first_start(data, clock)
    assert lost is not None
    with KeyStore(access_path(data), clock=clock) as store:
        for text in (lost.admin_token, str(lost.agent_key)):
            with pytest.raises(Unauthenticated, match="revoked"):
                store.authenticate(text)
        for text in (own, second.admin_token, str(second.agent_key)):
            assert store.authenticate(text)
    assert bootstrap(data, clock=clock) is None


def test_crash_after_the_file_was_written_is_a_finished_bootstrap(data: Path, clock: Clock) -> None:
    result = bootstrap(data, clock=clock)
    assert result is not None
    marker = data / "state" / "bootstrap.pending"
    assert marker.exists()
    write_bootstrap(data, result, ENDPOINTS)
    assert not marker.exists()
    marker.touch()
    assert bootstrap(data, clock=clock) is None
    (data / "bootstrap.json").unlink()
    assert bootstrap(data, clock=clock) is None


def test_bootstrap_json_of_an_earlier_life_does_not_hide_an_interrupted_one(data: Path, clock: Clock) -> None:
    data.mkdir()
    (data / "bootstrap.json").write_text("{}", encoding="utf-8")
    assert bootstrap(data, clock=clock) is not None
    assert bootstrap(data, clock=clock) is not None


def test_governance_of_the_operator_is_left_as_it_is_and_gets_no_default_agent(data: Path, clock: Clock) -> None:
    tenant = governance_path(data) / "acme" / "support"
    tenant.mkdir(parents=True)
    (tenant.parent / "org.yaml").touch()
    (tenant / "tenant.yaml").touch()
    result = first_start(data, clock)
    assert (result.agent, result.agent_key) == (None, None)
    assert sorted(path.name for path in governance_path(data).rglob("*")) == [
        "acme",
        "org.yaml",
        "support",
        "tenant.yaml",
    ]
    with KeyStore(access_path(data), clock=clock) as store:
        assert [credential.kind for credential in store.list()] == ["admin"]


def test_default_agent_in_the_operators_governance_gets_its_key(data: Path, clock: Clock) -> None:
    data.mkdir()
    create_default(governance_path(data))
    limit = governance_path(data) / "default/default/agents/default.yaml"
    limit.write_text("budgets: {daily: {usd: 5}}", encoding="utf-8")
    assert first_start(data, clock).agent_key is not None
    assert load(governance_path(data)).scope_limits()[str(DEFAULT)].daily_nano_usd == 5 * 10**9


def test_keys_made_before_the_first_start_do_not_cost_the_admin_token(data: Path, clock: Clock) -> None:
    data.mkdir()
    create_default(governance_path(data))
    with KeyStore(access_path(data), clock=clock) as store:
        early, _ = store.create_agent_key(DEFAULT, actor=OPERATOR)
    result = first_start(data, clock)
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(result.admin_token).kind == "admin"
        assert store.authenticate(early).path() == DEFAULT


def test_wrong_governance_stops_the_first_start_before_a_key_is_made(data: Path, clock: Clock) -> None:
    (governance_path(data) / "acme").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"has no org\.yaml"):
        bootstrap(data, clock=clock)
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.list() == ()


def test_result_can_be_logged_without_its_secrets(data: Path, clock: Clock) -> None:
    result = first_start(data, clock)
    for shown in (repr(result), str(result), f"{result}"):
        assert result.admin_token not in shown
        assert str(result.agent_key) not in shown


def test_actor_is_taken_from_the_password_database_and_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert re.fullmatch(r"user:[^@]+@.+", local_actor())
    assert "somebody-else" not in local_actor()
