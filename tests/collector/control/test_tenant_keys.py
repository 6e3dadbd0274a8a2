"""One key of a tenant, many agents: each question says for whom it is, and is judged as that agent's."""

from collections.abc import Callable

import pytest

from schemas.ids import AgentPath, TenantPath
from tests.collector.control.owned import CALL, CALL_USD, TRIAGE, Owned

START = Callable[..., Owned]
NOTHING = "0.000000000"


@pytest.fixture
def owner(start: START) -> Owned:
    """Limits for one registered agent, its tenant and a stranger's; nobody registered `writer`."""
    return start(
        limits={TRIAGE: {"daily": CALL_USD}, "acme/support": {"daily": "1"}, "acme/sales/seller": {"daily": "1"}}
    )


@pytest.fixture
def key(owner: Owned) -> str:
    """A key of acme/support, known to the running owner."""
    text, _ = owner.store.create_tenant_key(TenantPath("acme", "support"), actor="user:test")
    owner.eventually(lambda: owner.get("/v1/budgets", key=text).status_code == 200)
    return text


def test_each_agent_it_names_is_held_to_its_own_budget(owner: Owned, key: str) -> None:
    assert owner.ask(key=key, agent="triage")["verdict"] == "allow"
    assert owner.ask(key=key, agent="triage")["verdict"] == "deny"
    assert owner.ask(key=key, agent="writer")["verdict"] == "allow"
    budgets = owner.budgets()
    assert budgets[TRIAGE, "daily"] == (NOTHING, CALL_USD)
    assert budgets["acme/support", "daily"] == (NOTHING, "0.025000000")
    rows = [event.row for event in owner.events("decision")]
    assert [(row["agent"], row["actor"], row["outcome"]) for row in rows] == [
        ("triage", "agent:acme/support/triage", "allow"),
        ("triage", "agent:acme/support/triage", "deny"),
        ("writer", "agent:acme/support/writer", "allow"),
    ]
    assert {row["attribution_source"] for row in rows} == {"request"}
    assert all(str(row["credential_id"]) in key for row in rows)


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ({}, "names none"),
        ({"agent": ""}, "names none"),
        ({"agent": "Triage!"}, "not a valid id"),
        ({"agent": 7}, "$.agent"),
    ],
)
def test_a_question_that_names_no_agent_is_refused(owner: Owned, key: str, named: dict, complaint: str) -> None:
    response = owner.post("/v1/decisions", CALL | named, key=key)
    assert (response.status_code, response.json()["error"]) == (400, "bad_request")
    assert complaint in response.json()["message"]
    assert response.json()["fix"]
    assert owner.events("decision") == []


def test_an_agents_key_may_name_itself_and_nobody_else(owner: Owned) -> None:
    assert owner.ask(agent="triage")["verdict"] == "allow"
    response = owner.post("/v1/decisions", CALL | {"agent": "writer"})
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")
    assert "may not speak for agent 'writer'" in response.json()["message"]
    assert [event.row["attribution_source"] for event in owner.events("decision")] == ["credential"]


def test_its_holds_are_settled_and_voided_in_the_name_of_their_agent(owner: Owned, key: str) -> None:
    first, second = (owner.ask(key=key, agent=agent)["hold"]["id"] for agent in ("writer", "editor"))
    assert owner.post(f"/v1/holds/{first}/settle", {"cost_usd": "0.01"}, key=key).json()["state"] == "settled"
    assert owner.post(f"/v1/holds/{second}/void", key=key).json()["state"] == "void"
    assert owner.get(f"/v1/holds/{first}", key=owner.key).status_code == 404
    rows = [event.row for event in owner.events("hold")]
    assert [(row["actor"], row["agent"]) for row in rows] == [
        ("agent:acme/support/writer", "writer"),
        ("agent:acme/support/editor", "editor"),
    ]


def test_it_sees_nothing_of_other_tenants(owner: Owned, key: str) -> None:
    seller = owner.store.create_agent_key(AgentPath.parse("acme/sales/seller"), actor="user:test")[0]
    owner.eventually(lambda: owner.get("/v1/budgets", key=seller).status_code == 200)
    hold = owner.ask(key=seller)["hold"]["id"]
    assert owner.get(f"/v1/holds/{hold}", key=key).status_code == 404
    assert owner.budgets(key=key).keys() == {(TRIAGE, "daily"), ("acme/support", "daily")}
    for scope, status in (
        ("acme", 200),
        ("acme/support", 200),
        (TRIAGE, 200),
        ("acme/sales/seller", 403),
        ("acme/supp", 403),
    ):
        assert owner.get(f"/v1/budgets?scope={scope}", key=key).status_code == status


def test_it_may_not_seal(owner: Owned, key: str) -> None:
    assert owner.post("/v1/admin/seal", key=key).status_code == 403
