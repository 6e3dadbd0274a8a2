"""Orders of operators: in force at once, before everything remembered, durable, recorded, and over when released."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from collector.access.keys import KeyStore
from schemas.errors import Forbidden
from schemas.ids import AgentPath, TenantPath
from tests.collector.control.owned import TRIAGE, Owned, OwnerProcess, OwnerThread

START = Callable[..., OwnerThread]
PREPARE = Callable[..., OwnerProcess]


def kill(owner: Owned, target: str = TRIAGE, scope: str = "all", **more: object) -> dict[str, Any]:
    answer = order(owner, target, scope, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def order(owner: Owned, target: str, scope: str = "all", **more: object) -> httpx.Response:
    body = {"scope": scope, "target": target, "reason": "a loop", **more}
    return owner.post("/v1/admin/kills", body, key=owner.admin)


def release(owner: Owned, kill_id: str, reason: str = "mended") -> httpx.Response:
    return owner.post(f"/v1/admin/kills/{kill_id}/release", {"reason": reason}, key=owner.admin)


def entries(owner: Owned, *columns: str) -> list[Sequence[object]]:
    rows = [event.row for event in owner.events("kill")]
    return [tuple(row.get(column) for column in columns) for row in rows]


def test_a_killed_agent_is_refused_with_who_why_since_when_and_how_it_ends(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    made = kill(owner)
    decision = owner.ask()
    (reason,) = decision["reasons"]
    assert (decision["verdict"], decision["hold"], decision["epoch"]) == ("deny", None, 1)
    assert reason["rule"] == f"kill.all.{TRIAGE}"
    assert reason["message"] == f"{made['actor']} stopped everything of {TRIAGE} at {made['since']}: a loop."
    assert made["id"] in reason["fix"]
    assert [budget["scope"] for budget in decision["budgets"]] == [TRIAGE]
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", "0.000000000")
    assert release(owner, made["id"]).status_code == 200
    assert (owner.ask()["verdict"], owner.ask()["epoch"]) == ("allow", 2)


def test_the_kill_comes_before_every_answer_that_is_remembered(start: START) -> None:
    """LiteLLM #35535: a cached path skips the block."""
    owner = start(limits={TRIAGE: {"daily": "1"}})
    allowed = owner.ask(idempotency_key="call-1")
    made = kill(owner)
    refused = owner.ask(idempotency_key="call-1")
    assert (refused["verdict"], refused["reasons"][0]["rule"]) == ("deny", f"kill.all.{TRIAGE}")
    new = owner.ask(idempotency_key="call-2")
    assert new["verdict"] == "deny"
    release(owner, made["id"])
    assert owner.ask(idempotency_key="call-1") == allowed
    assert owner.ask(idempotency_key="call-2")["verdict"] == "allow", "a refusal by a kill is not remembered"


def test_a_call_in_flight_may_finish_and_is_booked_and_the_next_question_is_refused(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    settled, voided = owner.ask()["hold"]["id"], owner.ask()["hold"]["id"]
    kill(owner, "platform")
    assert owner.post(f"/v1/holds/{settled}/settle", {"cost_usd": "0.01"}).status_code == 200
    assert owner.post(f"/v1/holds/{voided}/void").status_code == 200
    assert owner.get(f"/v1/holds/{settled}").json()["state"] == "settled"
    assert owner.budgets()[TRIAGE, "daily"] == ("0.010000000", "0.000000000")
    assert owner.ask()["verdict"] == "deny"


def test_a_kill_survives_kill_9_and_so_does_its_release(prepare: PREPARE) -> None:
    """cmcp#665: a restart lifts blocks that are in memory."""
    owner = prepare().start()
    made = kill(owner, "acme")
    owner.kill()
    owner.start()
    assert owner.ask()["reasons"][0]["rule"] == "kill.all.acme"
    listed = owner.get("/v1/admin/kills", key=owner.admin).json()
    assert (listed["epoch"], [each["kill"] for each in listed["kills"]]) == (1, [made])
    release(owner, made["id"])
    owner.kill()
    owner.start()
    assert (owner.ask()["verdict"], owner.ask()["epoch"]) == ("allow", 2)


@pytest.mark.parametrize("target", ["acmee", "acme/suport", "acme/support/triag", "model:gtp-4o", "tool:shell"])
def test_a_kill_that_matches_nothing_is_an_error_unless_it_is_meant(start: START, target: str) -> None:
    """AGT#3739: a kill that matches nothing returns a good-looking result."""
    owner = start()
    answer = order(owner, target)
    assert (answer.status_code, answer.json()["error"]) == (404, "unmatched")
    assert "matches nothing" in answer.json()["message"]
    assert "--unmatched" in answer.json()["fix"]
    assert owner.get("/v1/admin/kills", key=owner.admin).json() == {"epoch": 0, "kills": []}
    assert kill(owner, target, allow_unmatched=True)["target"] == target


def test_whoever_was_seen_is_known_whatever_the_files_say(start: START) -> None:
    owner = start()
    owner.ask(action="tool.call", tool="shell")
    owner.ask(model="in-house", provider="")
    owner.store.create_tenant_key(TenantPath("beta", "ops"), actor="user:test")
    tenant = owner.store.create_tenant_key(TenantPath("acme", "sales"), actor="user:test")[0]
    owner.eventually(lambda: owner.get("/v1/budgets", key=tenant).status_code == 200)
    owner.ask(key=tenant, agent="nobody-declared-it")
    for target in ("tool:shell", "model:in-house", "beta", "beta/ops", "acme/sales/nobody-declared-it"):
        assert kill(owner, target)["target"] == target
    owner.hang_up()
    owner.start()
    for kill_id in [each["kill"]["id"] for each in owner.get("/v1/admin/kills", key=owner.admin).json()["kills"]]:
        release(owner, kill_id)
    assert kill(owner, "tool:shell", reason="known after a restart as well")


def test_a_killed_tool_stops_alone_and_a_killed_model_under_every_name(start: START) -> None:
    owner = start()
    kill(owner, "tool:shell", allow_unmatched=True)
    kill(owner, "model:gpt-4o", "llm")
    assert owner.ask(action="tool.call", tool="shell")["reasons"][0]["rule"] == "kill.all.tool:shell"
    assert owner.ask(action="tool.call", tool="search")["verdict"] == "allow"
    for model in ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o"):
        assert owner.ask(model=model)["reasons"][0]["rule"] == "kill.llm.model:gpt-4o", model
    assert owner.ask(model="gpt-4o-mini")["verdict"] == "allow"


def test_a_repeated_order_changes_nothing_and_is_recorded(start: START) -> None:
    owner = start()
    made = kill(owner)
    assert kill(owner, reason="again") == made
    first = release(owner, made["id"]).json()
    assert release(owner, made["id"], "again").json() == first
    assert first["epoch"] == 2
    told = [row for row in entries(owner, "action", "outcome") if row[0] != "kill.propagation"]
    assert told == [
        ("kill", "in_force"), ("kill", "unchanged"), ("kill.release", "released"), ("kill.release", "unchanged"),
    ]  # fmt: skip


def test_every_act_is_an_entry_with_actor_target_and_reason(start: START) -> None:
    owner = start()
    made = kill(owner, "acme/support", "llm")
    owner.post("/v1/admin/drills", {"reason": "friday"}, key="operator")
    release(owner, made["id"])
    rows = entries(owner, "action", "actor", "org", "tenant", "agent", "subject", "message")
    acts = {row[0]: row[1:] for row in rows}
    assert acts["kill"] == (
        made["actor"], "acme", "support", None, "acme/support",
        f"{made['actor']} killed all model calls of acme/support: a loop",
    )  # fmt: skip
    assert acts["kill.release"][0] == made["actor"]
    assert acts["kill.drill"][0] == "user:operator"
    assert [row[0] for row in rows].count("kill.propagation") == 3
    denied = kill(owner, "acme/support")
    owner.ask()
    (decision,) = [event.row for event in owner.events("decision") if event.row["outcome"] == "deny"]
    assert (decision["outcome"], denied["id"] in str(decision["detail"])) == ("deny", True)


def test_this_machines_commands_say_who_runs_them_and_nobody_else_does(start: START) -> None:
    owner = start()
    body = {"scope": "all", "target": "acme", "reason": "r", "actor": "user:ada@desk"}
    assert owner.post("/v1/admin/kills", body, key="operator").json()["actor"] == "user:ada@desk"
    assert owner.post("/v1/admin/kills", body | {"target": TRIAGE}, key=owner.admin).json()["actor"] != "user:ada@desk"
    assert owner.post("/v1/admin/kills", body | {"actor": "ada"}, key="operator").status_code == 400


def test_only_operators_kill_release_drill_and_list(start: START) -> None:
    owner = start()
    order_ = {"scope": "all", "target": "acme", "reason": "r"}
    assert owner.post("/v1/admin/kills", order_).status_code == 403
    assert owner.post("/v1/admin/kills/kill_1/release", {"reason": "r"}).status_code == 403
    assert owner.post("/v1/admin/drills", {"reason": "r"}).status_code == 403
    assert owner.get("/v1/admin/kills").status_code == 403
    assert owner.get("/v1/admin/drills/drill_1").status_code == 403
    assert release(owner, "kill_1").status_code == 404
    assert owner.get("/v1/admin/drills/drill_1", key=owner.admin).status_code == 404
    for wrong in ({"scope": "some"}, {"reason": ""}, {"reason": "two\nlines"}, {"target": "A"}, {"reason": None}):
        assert owner.post("/v1/admin/kills", order_ | wrong, key=owner.admin).status_code == 400, wrong


def test_a_kill_of_new_keys_stops_making_them_and_their_first_use_until_it_is_released(start: START) -> None:
    # The mirror that runs by itself comes too late to help here.
    owner = start(control={"follow_interval": "60s"})
    path = AgentPath.parse(TRIAGE)
    unused = owner.store.create_agent_key(path, actor="user:test")[0]
    owner.ask()
    made = kill(owner, "acme", "new_keys")
    answer = owner.post("/v1/decisions", {"model": "gpt-4o"}, key=unused)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert "first use is refused" in answer.json()["message"]
    assert "a loop" in answer.json()["message"]
    with pytest.raises(Forbidden, match="a loop"):
        owner.store.create_agent_key(path, actor="user:test")
    assert owner.ask()["verdict"] == "allow", "keys in use go on"
    owner.hang_up()
    with KeyStore(owner.data / "state" / "access.db", clock=lambda: 1) as store:
        store.set_stops([])  # as a restored backup would be
    owner.start()
    assert owner.post("/v1/decisions", {"model": "gpt-4o"}, key=unused).status_code == 403, "mirrored at each start"
    release(owner, made["id"])
    assert owner.post("/v1/decisions", {"model": "gpt-4o"}, key=unused).status_code == 200


def test_a_kill_that_cannot_be_made_durable_is_no_answer(prepare: PREPARE) -> None:
    owner = prepare().start()
    with contextlib.closing(sqlite3.connect(owner.data / "state" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            answered = order(owner, "acme").status_code
        except httpx.TransportError:
            answered = 503
    assert answered >= 500


def test_a_denied_question_during_a_kill_names_every_kill_that_must_be_released(start: START) -> None:
    owner = start()
    for target in ("platform", "acme", TRIAGE):
        kill(owner, target)
    rules = [reason["rule"] for reason in owner.ask()["reasons"]]
    assert rules == ["kill.all.platform", "kill.all.acme", f"kill.all.{TRIAGE}"]
