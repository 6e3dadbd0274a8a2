"""AuthZEN's Authorization API 1.0, asked as a policy enforcement point that knows nothing of Spanward."""

import httpx
import pytest

from schemas.ids import TenantPath
from tests.collector.control.owned import TRIAGE, OwnerProcess

SUBJECT = {"type": "agent", "id": "triage"}
ACTION = {"name": "llm.call"}
CALL = {"provider": "openai", "input_tokens": 1000, "max_output_tokens": 1000}
RESOURCE = {"type": "model", "id": "gpt-4o", "properties": CALL}
TOO_MUCH = {"type": "model", "id": "gpt-4o", "properties": CALL | {"input_tokens": 100_000_000}}
QUESTION = {"subject": SUBJECT, "action": ACTION, "resource": RESOURCE}


def evaluate(owner: OwnerProcess, **changes: object) -> httpx.Response:
    return owner.post("/access/v1/evaluation", QUESTION | changes)


def test_an_evaluation_holds_what_the_call_may_cost(owner: OwnerProcess) -> None:
    answer = evaluate(owner)
    context = answer.json()["context"]
    assert answer.json()["decision"] is True
    assert context["hold"]["amount_usd"] == "0.012500000"
    assert answer.headers["x-spanward-decision-id"] == context["decision_id"]
    assert owner.get(f"/v1/holds/{context['hold']['id']}").json()["state"] == "held"


def test_a_denied_evaluation_says_why(owner: OwnerProcess) -> None:
    answer = evaluate(owner, resource=TOO_MUCH).json()
    assert answer["decision"] is False
    assert answer["context"]["reasons"][0]["rule"] == "budget.daily.acme"
    assert "It resets at" in answer["context"]["reasons"][0]["message"]


def test_the_context_says_what_the_resource_leaves_out(owner: OwnerProcess) -> None:
    bare = {"type": "model", "id": "gpt-4o"}
    said = evaluate(owner, resource=bare, context=CALL | {"ip": "192.0.2.1"}).json()
    assert said["context"]["hold"]["amount_usd"] == "0.012500000"
    both = evaluate(owner, context={"input_tokens": 9}).json()
    assert both["context"]["hold"]["amount_usd"] == "0.012500000"


def test_a_tool_is_allowed_and_recorded(owner: OwnerProcess) -> None:
    question = {"action": {"name": "tool.call"}, "resource": {"type": "tool", "id": "search"}}
    assert evaluate(owner, **question).json()["decision"] is True
    assert owner.events("decision")[-1].row["action"] == "tool.call"


def test_the_same_idempotency_key_is_the_same_decision(owner: OwnerProcess) -> None:
    first, second = (evaluate(owner, context={"idempotency_key": "once"}).json()["context"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ({"type": "agent", "id": TRIAGE}, 200),
        ({"type": "agent", "id": "other"}, 403),
        ({"type": "agent", "id": "globex/support/triage"}, 403),
        ({"type": "agent", "id": "not/a path"}, 400),
        ({"type": "user", "id": "triage"}, 400),
    ],
)
def test_the_subject_must_be_who_the_key_speaks_for(owner: OwnerProcess, subject: dict[str, str], status: int) -> None:
    """BerriAI/litellm#40305: what a request says of itself must not outweigh its credential."""
    assert evaluate(owner, subject=subject).status_code == status


def test_a_tenants_key_is_judged_as_the_subject_it_names(owner: OwnerProcess) -> None:
    key = owner.store.create_tenant_key(TenantPath("acme", "support"), actor="user:test")[0]
    owner.eventually(lambda: owner.get("/v1/budgets", key=key).status_code == 200)
    answer = owner.post("/access/v1/evaluation", QUESTION | {"subject": {"type": "agent", "id": "poor"}}, key=key)
    assert answer.json()["context"]["reasons"][0]["rule"] == "budget.daily.acme/support/poor"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"subject": None}, id="no subject"),
        pytest.param({"action": {}}, id="an action without a name"),
        pytest.param({"resource": {"type": "model"}}, id="a resource without an id"),
        pytest.param({"context": {"input_tokens": "many"}}, id="tokens that are text"),
        pytest.param({"context": {"max_output_tokens": -1}}, id="less than no tokens"),
        pytest.param({"context": []}, id="a context that is a list"),
    ],
)
def test_a_question_that_cannot_be_judged_is_a_bad_request(owner: OwnerProcess, changes: dict[str, object]) -> None:
    changes = {"resource": {"type": "model", "id": "gpt-4o"}} | changes
    answer = evaluate(owner, **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def evaluations(owner: OwnerProcess, semantic: str, *resources: object) -> list[bool]:
    """The decisions of a batch; a resource of `None` leaves it to the batch."""
    answer = owner.post(
        "/access/v1/evaluations",
        QUESTION
        | {
            "evaluations": [{} if resource is None else {"resource": resource} for resource in resources],
            "options": {"evaluations_semantic": semantic},
        },
    )
    assert answer.status_code == 200, answer.text
    return [each["decision"] for each in answer.json()["evaluations"]]


@pytest.mark.parametrize(
    ("semantic", "decisions"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_a_batch_is_gone_through_as_far_as_its_semantic_says(
    owner: OwnerProcess, semantic: str, decisions: list[bool]
) -> None:
    assert evaluations(owner, semantic, None, TOO_MUCH, None) == decisions


def test_what_is_wrong_with_one_of_a_batch_is_its_own_answer(owner: OwnerProcess) -> None:
    batch = {"evaluations": [{"subject": {"type": "agent", "id": "other"}}, {}]}
    wrong, right = owner.post("/access/v1/evaluations", QUESTION | batch).json()["evaluations"]
    assert (wrong["decision"], wrong["context"]["error"]["status"]) == (False, 403)
    assert right["decision"] is True


def test_a_batch_of_none_is_one_evaluation(owner: OwnerProcess) -> None:
    assert owner.post("/access/v1/evaluations", QUESTION).json()["decision"] is True


def test_a_batch_over_the_limit_is_refused_by_name(owner: OwnerProcess) -> None:
    answer = owner.post("/access/v1/evaluations", QUESTION | {"evaluations": [{}] * 6})
    assert answer.status_code == 400
    assert "max_evaluations (5)" in answer.json()["message"]


def test_the_discovery_document_names_the_pages_that_answer(owner: OwnerProcess) -> None:
    found = owner.http.get("/.well-known/authzen-configuration").json()
    assert found["policy_decision_point"] == owner.endpoints["control"]
    answer = owner.http.post(
        found["access_evaluation_endpoint"], json=QUESTION, headers={"authorization": f"Bearer {owner.key}"}
    )
    assert answer.json()["decision"] is True
