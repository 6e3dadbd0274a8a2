"""Keys in, credentials or refusals out, on one store in one process."""

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access.key_text import checksum, new_key_text
from collector.access.keys import MAX_TIME_NS, Config, Credential, KeyStore
from schemas.errors import Forbidden, Permanent, Unauthenticated
from schemas.ids import MAX_REASON_CHARS, AgentPath, TenantPath
from schemas.tables import LEDGER_COLUMNS
from tests.collector.access.conftest import OPERATOR, PATIENT, SECOND_NS, START_NS, TRIAGE, Clock

SUPPORT = TenantPath("acme", "support")
TYPES = {"string": str, "int64": int, "bool": bool}


def test_agent_key_authenticates_as_its_agent(store: KeyStore) -> None:
    text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    found = store.authenticate(text)
    assert found == created
    assert (found.kind, found.path(), found.created_ns, found.expires_ns) == ("agent", TRIAGE, START_NS, None)


def test_admin_token_authenticates_and_speaks_for_no_agent(store: KeyStore) -> None:
    text, _ = store.create_admin_token(actor=OPERATOR)
    found = store.authenticate(text)
    assert (found.kind, found.org, found.tenant, found.agent) == ("admin", "", "", "")
    with pytest.raises(Forbidden, match="speaks for no agent"):
        found.path()


def test_tenant_key_speaks_for_each_agent_of_its_tenant_that_a_request_names(store: KeyStore) -> None:
    text, created = store.create_tenant_key(SUPPORT, actor=OPERATOR)
    found = store.authenticate(text)
    assert found == created
    assert (found.kind, found.path(), found.agent) == ("tenant", SUPPORT, "")
    assert found.speaker("triage") == TRIAGE
    assert found.speaker("never-registered") == AgentPath("acme", "support", "never-registered")
    with pytest.raises(Permanent, match="names none"):
        found.speaker()
    with pytest.raises(Permanent, match="the field `agent` is not a valid id"):
        found.speaker("../sales/writer")


def test_agent_key_speaks_for_its_agent_alone(store: KeyStore) -> None:
    _, key = store.create_agent_key(TRIAGE, actor=OPERATOR)
    assert key.speaker() == key.speaker("triage") == TRIAGE
    with pytest.raises(Forbidden, match="may not speak for agent 'writer'"):
        key.speaker("writer")


@pytest.mark.parametrize(
    ("path", "speakers"),
    [
        ("acme/support/triage", {"agent", "tenant"}),
        ("acme/support/writer", {"tenant"}),
        ("acme/sales/triage", set()),
        ("other/support/triage", set()),
    ],
)
def test_key_acts_as_an_agent_only_within_what_it_was_made_for(store: KeyStore, path: str, speakers: set[str]) -> None:
    made = [
        store.create_agent_key(TRIAGE, actor=OPERATOR)[1],
        store.create_tenant_key(SUPPORT, actor=OPERATOR)[1],
        store.create_admin_token(actor=OPERATOR)[1],
    ]
    assert {key.kind for key in made if key.speaks_for(AgentPath.parse(path))} == speakers


def test_tenant_keys_entries_name_the_tenant_and_no_agent(store: KeyStore) -> None:
    _, key = store.create_tenant_key(SUPPORT, actor=OPERATOR, expires_ns=START_NS + SECOND_NS)
    store.revoke(key.id, actor=OPERATOR, reason="rotated")
    rows = [event.row for _, event in store.events(0)]
    assert [row["message"] for row in rows] == [
        f"{OPERATOR} created tenant key {key.id} of acme/support.",
        f"{OPERATOR} revoked tenant key {key.id} of acme/support: rotated",
    ]
    assert [(row["org"], row["tenant"], row.get("agent")) for row in rows] == [("acme", "support", None)] * 2
    assert msgspec.json.decode(str(rows[0]["detail"]))["key_kind"] == "tenant"


def test_keys_survive_reopening(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock) as first:
        text, created = first.create_agent_key(TRIAGE, actor=OPERATOR)
    with KeyStore(db, clock=clock) as second:
        assert second.authenticate(text) == created


def test_random_keys_never_authenticate(store: KeyStore) -> None:
    store.create_agent_key(TRIAGE, actor=OPERATOR)
    for _ in range(20_000):
        with pytest.raises(Unauthenticated, match="unknown"):
            store.authenticate(new_key_text("agent")[0])


def test_right_id_with_another_secret_gets_the_answer_of_an_unknown_key(store: KeyStore) -> None:
    _, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    body = f"spw_agent_{created.id}_{new_key_text('agent')[0].split('_')[3]}"
    answers = set()
    for text in (f"{body}_{checksum(body)}", new_key_text("agent")[0]):
        with pytest.raises(Unauthenticated) as refusal:
            store.authenticate(text)
        answers.add(refusal.value.diagnostics())
    assert len(answers) == 1


def test_agent_key_presented_as_admin_token_is_unknown(store: KeyStore) -> None:
    text, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
    body = text.replace("spw_agent_", "spw_admin_").rpartition("_")[0]
    with pytest.raises(Unauthenticated, match="unknown"):
        store.authenticate(f"{body}_{checksum(body)}")


def test_key_works_until_the_instant_it_expires(store: KeyStore, clock: Clock) -> None:
    text, _ = store.create_agent_key(TRIAGE, actor=OPERATOR, expires_ns=START_NS + SECOND_NS)
    clock.advance(SECOND_NS - 1)
    assert store.authenticate(text).state(clock()) == "active"
    clock.advance(1)
    with pytest.raises(Unauthenticated, match=r"expired at 2026-11-24T06:00:01Z"):
        store.authenticate(text)


@pytest.mark.parametrize("expires_ns", [0, START_NS, MAX_TIME_NS + 1])
def test_key_that_could_never_be_used_or_never_end_is_not_made(store: KeyStore, expires_ns: int) -> None:
    with pytest.raises(Permanent):
        store.create_agent_key(TRIAGE, actor=OPERATOR, expires_ns=expires_ns)
    assert (store.list(), store.events(0)) == ((), [])


def test_revoked_key_is_refused_at_once_and_for_good(store: KeyStore, clock: Clock) -> None:
    text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    clock.advance(SECOND_NS)
    revoked = store.revoke(created.id, actor=OPERATOR, reason="laptop lost")
    assert revoked == msgspec.structs.replace(created, revoked_ns=START_NS + SECOND_NS)
    with pytest.raises(Unauthenticated, match=f"{created.id} was revoked"):
        store.authenticate(text)


def test_revoking_twice_keeps_the_first_time_and_entry(store: KeyStore, clock: Clock) -> None:
    _, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    first = store.revoke(created.id, actor=OPERATOR, reason="lost")
    clock.advance(SECOND_NS)
    assert store.revoke(created.id, actor=OPERATOR, reason="again") == first
    assert len(store.events(0)) == 2


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "\udcff", "x" * (MAX_REASON_CHARS + 1)])
def test_revocation_without_a_usable_reason_changes_nothing(store: KeyStore, reason: str) -> None:
    text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    with pytest.raises(Permanent, match="needs a reason"):
        store.revoke(created.id, actor=OPERATOR, reason=reason)
    assert store.authenticate(text) == created


@pytest.mark.parametrize("credential_id", ["aaaaaaaaaaaa", "", "\udcff", "' OR 1=1 --", "x" * 10_000])
def test_unknown_id_cannot_be_revoked(store: KeyStore, credential_id: str) -> None:
    with pytest.raises(Permanent, match="id"):
        store.revoke(credential_id, actor=OPERATOR, reason="lost")
    assert store.create_agent_key(TRIAGE, actor=OPERATOR), "the refusal must not leave a transaction open"


def test_whole_key_given_as_id_is_not_repeated_in_the_message(store: KeyStore) -> None:
    text, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
    with pytest.raises(Permanent) as refusal:
        store.revoke(text, actor=OPERATOR, reason="lost")
    assert text not in refusal.value.diagnostics()


def test_list_holds_every_credential_oldest_first(store: KeyStore, clock: Clock) -> None:
    made: list[Credential] = []
    for _ in range(5):
        made.append(store.create_agent_key(TRIAGE, actor=OPERATOR)[1])
        clock.advance(SECOND_NS)
    made[2] = store.revoke(made[2].id, actor=OPERATOR, reason="lost")
    assert store.list() == tuple(made)


def test_every_operation_is_one_entry_with_who_what_when_and_version(store: KeyStore, clock: Clock) -> None:
    _, created = store.create_agent_key(TRIAGE, actor=OPERATOR, expires_ns=START_NS + 90 * 86400 * SECOND_NS)
    clock.advance(SECOND_NS)
    store.revoke(created.id, actor="system:offboarding", reason="left")
    _, admin = store.create_admin_token(actor=OPERATOR)
    rows = [event.row for _, event in store.events(0)]
    told = [(row["action"], row["actor"], row["subject"], row["outcome"], row["event_time"]) for row in rows]
    assert told == [
        ("keys.create", OPERATOR, created.id, "ok", START_NS),
        ("keys.revoke", "system:offboarding", created.id, "ok", START_NS + SECOND_NS),
        ("keys.create", OPERATOR, admin.id, "ok", START_NS + SECOND_NS),
    ]
    assert [row["message"] for row in rows] == [
        f"{OPERATOR} created key {created.id} of acme/support/triage.",
        f"system:offboarding revoked key {created.id} of acme/support/triage: left",
        f"{OPERATOR} created admin token {admin.id}.",
    ]
    assert [msgspec.json.decode(str(row["detail"])) for row in rows] == [
        {"key_kind": "agent", "expires_at": "2027-02-22T06:00:00Z"},
        {"reason": "left"},
        {"key_kind": "admin", "expires_at": None},
    ]
    assert [(row.get("org"), row.get("tenant"), row.get("agent")) for row in rows] == [
        ("acme", "support", "triage"),
        ("acme", "support", "triage"),
        (None, None, None),
    ]
    assert len({row["entry_id"] for row in rows}) == 3
    assert all(row["kind"] == "key" and row["software_version"] for row in rows)


def test_entries_are_ledger_columns_of_the_published_types(store: KeyStore) -> None:
    _, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
    store.revoke(created.id, actor=OPERATOR, reason="lost")
    types = {column.name: TYPES[column.type] for column in LEDGER_COLUMNS}
    for _, event in store.events(0):
        assert "seq" not in event.row
        assert all(type(value) is types[name] for name, value in event.row.items())


def test_entries_are_read_in_bounded_pieces_without_gaps(db: Path, clock: Clock) -> None:
    with KeyStore(db, clock=clock, config=Config(events_per_read=4)) as store:
        ids = [store.create_agent_key(TRIAGE, actor=OPERATOR)[1].id for _ in range(10)]
        told: list[tuple[int, object]] = []
        while piece := store.events(told[-1][0] if told else 0):
            assert len(piece) <= 4
            told += [(number, event.row["subject"]) for number, event in piece]
    assert told == list(enumerate(ids, start=1))


def test_unknown_keys_look_into_the_file_ten_times_a_second_at_most(store: KeyStore, clock: Clock) -> None:
    looks: list[str] = []
    store._connection.set_trace_callback(looks.append)
    for _ in range(1_000):
        clock.advance(SECOND_NS // 1_000)
        with pytest.raises(Unauthenticated, match="unknown"):
            store.authenticate(new_key_text("agent")[0])
    assert 9 <= sum("data_version" in statement for statement in looks) <= 10


def test_known_keys_look_into_the_file_twice_a_second(store: KeyStore, clock: Clock) -> None:
    text, _ = store.create_agent_key(TRIAGE, actor=OPERATOR)
    store.authenticate(text)
    looks: list[str] = []
    store._connection.set_trace_callback(looks.append)
    for _ in range(1_000):
        clock.advance(SECOND_NS // 1_000)
        store.authenticate(text)
    assert sum("data_version" in statement for statement in looks) == 2


def test_threads_share_one_store(store: KeyStore) -> None:
    made: list[str] = []

    def work() -> None:
        for _ in range(25):
            text, created = store.create_agent_key(TRIAGE, actor=OPERATOR)
            assert store.authenticate(text) == created
            made.append(created.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(credential.id for credential in store.list())
    assert len(made) == len(store.events(0)) == 100


IDS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)


@settings(PATIENT, max_examples=50)
@given(path=st.builds(AgentPath, IDS, IDS, IDS))
def test_any_agent_gets_back_who_it_is(store: KeyStore, path: AgentPath) -> None:
    text, _ = store.create_agent_key(path, actor=OPERATOR)
    assert store.authenticate(text).path() == path
