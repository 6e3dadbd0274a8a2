"""`spanward keys` as a script sees it: data on stdout, sentences on stderr, exit codes."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.access.bootstrap import access_path, bootstrap, governance_path, local_actor
from collector.access.cli import keys
from collector.access.keys import KeyStore
from schemas.errors import Unauthenticated
from schemas.ids import AgentPath, TenantPath
from tests.collector.access.conftest import Clock

DEFAULT = "default/default/default"


@pytest.fixture
def data(tmp_path: Path, clock: Clock) -> Path:
    bootstrap(tmp_path / "data", clock=clock)
    return tmp_path / "data"


def run(*arguments: str, data: Path) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--data", str(data)])


def done(*arguments: str, data: Path) -> str:
    result = run(*arguments, data=data)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_create_prints_the_key_alone_on_stdout(data: Path, clock: Clock) -> None:
    result = run("create", "--agent", DEFAULT, data=data)
    with KeyStore(access_path(data), clock=clock) as store:
        credential = store.authenticate(result.stdout.strip())
        assert str(credential.path()) == DEFAULT
    assert f"Key {credential.id} of {DEFAULT}" in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_create_as_json_has_the_published_keys(data: Path, clock: Clock) -> None:
    answer = json.loads(done("create", "--agent", DEFAULT, "--json", data=data))
    assert list(answer) == ["key", "key_id"]
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(answer["key"]).id == answer["key_id"]


def test_create_registers_an_agent_only_when_asked(data: Path) -> None:
    refused = run("create", "--agent", "default/default/new", data=data)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--register" in refused.stderr
    done("create", "--agent", "default/default/new", "--register", data=data)
    done("create", "--agent", "default/default/new", "--register", data=data)
    done("create", "--agent", "default/default/new", data=data)
    assert (governance_path(data) / "default/default/agents/new.yaml").read_bytes() == b""


def test_expiry_is_a_duration_from_now(data: Path) -> None:
    answer = json.loads(done("create", "--agent", DEFAULT, "--expires", "90d", "--json", data=data))
    listed = {row["key_id"]: row for row in json.loads(done("list", "--json", data=data))}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed[answer["key_id"]]["expires_at"])
    assert listed[answer["key_id"]]["state"] == "active"


def test_revoked_key_is_refused_and_the_entry_says_who_and_why(data: Path, clock: Clock) -> None:
    answer = json.loads(done("create", "--agent", DEFAULT, "--json", data=data))
    told = json.loads(done("revoke", answer["key_id"], "--reason", "laptop lost", "--json", data=data))
    assert list(told) == ["key_id", "kind", "revoked_at"]
    assert told["kind"] == "agent"
    with KeyStore(access_path(data), clock=clock) as store:
        with pytest.raises(Unauthenticated, match="revoked"):
            store.authenticate(answer["key"])
        _, last = store.events(0)[-1]
    assert (last.row["actor"], last.row["detail"]) == (local_actor(), '{"reason":"laptop lost"}')


def test_list_shows_every_key_in_columns_and_no_secret(data: Path) -> None:
    answer = json.loads(done("create", "--agent", DEFAULT, "--json", data=data))
    done("revoke", answer["key_id"], "--reason", "lost", data=data)
    header, *lines = done("list", data=data).splitlines()
    assert header.split() == ["KEY", "ID", "KIND", "SPEAKS", "FOR", "STATE", "CREATED", "EXPIRES"]
    assert sorted(line.split()[1:4] for line in lines) == [
        ["admin", "-", "active"],
        ["agent", DEFAULT, "active"],
        ["agent", DEFAULT, "revoked"],
    ]
    assert answer["key"].split("_")[3] not in done("list", "--json", data=data)


def test_tenant_key_is_made_listed_and_revoked_as_one(data: Path, clock: Clock) -> None:
    answer = json.loads(done("create", "--tenant", "default/default", "--json", data=data))
    assert list(answer) == ["key", "key_id"]
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(answer["key"]).path() == TenantPath("default", "default")
    listed = {row["key_id"]: row for row in json.loads(done("list", "--json", data=data))}
    mine = listed[answer["key_id"]]
    assert (mine["kind"], mine["agent"], mine["tenant"]) == ("tenant", None, "default/default")
    assert f"{answer['key_id']}  tenant  default/default " in done("list", data=data)
    revoked = run("revoke", answer["key_id"], "--reason", "rotated", "--json", data=data)
    assert json.loads(revoked.stdout)["kind"] == "tenant"
    assert revoked.stderr.startswith("Tenant key revoked since")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "--agent", DEFAULT, "--tenant", "default/default"],
        ["create", "--tenant", "default/default", "--register"],
    ],
    ids=["nobody", "an agent and a tenant", "a tenant to register"],
)
def test_command_that_does_not_say_whom_the_key_speaks_for_makes_none(data: Path, arguments: list[str]) -> None:
    before = done("list", "--json", data=data)
    result = run(*arguments, data=data)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--agent" in result.stderr
    assert done("list", "--json", data=data) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "--agent", "default"], "'default' is not an agent path. Write ORG/TENANT/AGENT"),
        (["create", "--agent", "../x/y", "--register"], "is not a valid id"),
        (["create", "--agent", "acme/x/y", "--register"], "There is no tenant acme/x"),
        (["create", "--tenant", "default"], "'default' is not a tenant path. Write ORG/TENANT"),
        (["create", "--tenant", "default/.."], "is not a valid id"),
        (["create", "--tenant", "acme/x"], "There is no tenant acme/x"),
        (["create", "--agent", DEFAULT, "--expires", "soon"], "'soon' is not a duration."),
        (["create", "--agent", DEFAULT, "--expires", "0d"], "The key would be expired"),
        (["create", "--agent", DEFAULT, "--expires", "999999999999999d"], "The key would be expired"),
        (["revoke", "aaaaaaaaaaaa", "--reason", "x"], "No key has the id 'aaaaaaaaaaaa'."),
        (["revoke", "aaaaaaaaaaaa", "--reason", " "], "A revocation needs a reason."),
    ],
)
def test_mistake_is_one_message_on_stderr_and_exit_code_1(data: Path, arguments: list[str], sentence: str) -> None:
    result = run(*arguments, data=data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["list"], ["create", "--agent", DEFAULT], ["revoke", "a" * 12, "--reason", "x"]])
def test_mistyped_data_directory_is_never_created(tmp_path: Path, command: list[str]) -> None:
    result = run(*command, data=tmp_path / "dta")
    assert result.exit_code == 1
    assert "There is no directory" in result.stderr
    assert not (tmp_path / "dta").exists()


def test_file_system_error_is_a_message_too(data: Path) -> None:
    access_path(data).unlink()
    access_path(data).mkdir()
    result = run("list", data=data)
    assert result.exit_code == 1
    assert "access.db: Is a directory." in result.stderr


def test_key_for_an_agent_with_the_longest_ids(data: Path, clock: Clock) -> None:
    agent = AgentPath("default", "default", "a" * 40)
    key = done("create", "--agent", str(agent), "--register", data=data).strip()
    with KeyStore(access_path(data), clock=clock) as store:
        assert store.authenticate(key).path() == agent
