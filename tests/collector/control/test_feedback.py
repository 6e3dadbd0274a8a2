"""Clients that listen hear of kills, budgets, policies, drills and their key's end; who acknowledged is known."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from schemas.ids import AgentPath, TenantPath
from tests.collector.control.listening import Listener
from tests.collector.control.owned import CALL_USD, TRIAGE, Owned, OwnerThread

START = Callable[..., OwnerThread]
LISTEN = Callable[..., Listener]
QUICK = {"budget_interval": "20ms", "ack_wait": "300ms"}


@pytest.fixture
def listen() -> Iterator[LISTEN]:
    """`listen(owner, key=…, client=…, last_id=…)` opens a stream that ends with the test."""
    listeners: list[Listener] = []

    def make(owner: Owned, *, key: str | None = None, **more: str) -> Listener:
        listeners.append(Listener(str(owner.http.base_url), owner.key if key is None else key, **more))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


def quick(
    start: START, *, limits: dict[str, dict[str, str]] | None = None, feedback: dict[str, object] | None = None
) -> OwnerThread:
    return start(control={"feedback": QUICK | (feedback or {})}, limits=limits)


def kill(owner: Owned, target: str = "platform", scope: str = "all") -> dict[str, Any]:
    body = {"scope": scope, "target": target, "reason": "a loop", "allow_unmatched": True}
    answer = owner.post("/v1/admin/kills", body, key=owner.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


def acks(owner: Owned) -> dict[str, Any]:
    return owner.get("/v1/admin/kills", key=owner.admin).json()["kills"][-1]["acks"]


def test_a_stream_begins_with_everything_and_a_poll_is_told_the_same(start: START, listen: LISTEN) -> None:
    owner = quick(start, limits={TRIAGE: {"daily": "1"}})
    made = kill(owner, "acme")
    snapshot = listen(owner).event("snapshot").data
    assert (snapshot["epoch"], snapshot["kills"]) == (1, [made])
    assert len(snapshot["policy_digest"]) == 64
    assert [(view["scope"], view["window"]) for view in snapshot["budgets"]] == [(TRIAGE, "daily")]
    assert owner.get("/v1/feedback/state").json() == snapshot


def test_every_kill_and_release_is_told_to_everybody_with_the_kills_that_concern_him(
    start: START, listen: LISTEN
) -> None:
    owner = quick(start)
    beta = owner.new_key("beta/ops/bot")
    tenant = owner.store.create_tenant_key(TenantPath("acme", "support"), actor="user:test")[0]
    owner.eventually(lambda: owner.get("/v1/feedback/state", key=tenant).status_code == 200)
    streams = [listen(owner), listen(owner, key=beta), listen(owner, key=tenant), listen(owner, key=owner.admin)]
    made = kill(owner, TRIAGE)
    told = [stream.event("kills").data for stream in streams]
    assert [each["epoch"] for each in told] == [1] * 4
    assert [each["kills"] for each in told] == [[made], [], [made], [made]]
    kill(owner, "model:gpt-4o")
    assert [len(stream.event("kills", 2).data["kills"]) for stream in streams] == [2, 1, 2, 2]
    owner.post(f"/v1/admin/kills/{made['id']}/release", {"reason": "mended"}, key=owner.admin)
    assert [stream.event("kills", 3).data["epoch"] for stream in streams] == [3] * 4
    assert [len(stream.event("kills", 3).data["kills"]) for stream in streams] == [1, 1, 1, 1]


def test_budgets_that_changed_are_told_to_those_who_may_see_them(start: START, listen: LISTEN) -> None:
    owner = quick(start, limits={TRIAGE: {"daily": "1"}, "acme": {"monthly": "9"}, "beta/ops/bot": {"daily": "1"}})
    beta = owner.new_key("beta/ops/bot")
    mine, others = listen(owner), listen(owner, key=beta)
    owner.ask()
    (day, month) = sorted(mine.event("budgets").data["budgets"], key=lambda view: view["window"])
    assert (day["scope"], day["held"], month["scope"], month["held"]) == (TRIAGE, CALL_USD, "acme", CALL_USD)
    owner.ask(key=beta)
    assert [view["scope"] for view in others.event("budgets").data["budgets"]] == ["beta/ops/bot"]
    assert mine.names.count("budgets") == 1


def test_many_decisions_make_few_events_and_the_last_tells_the_sum(start: START, listen: LISTEN) -> None:
    owner = quick(start, limits={TRIAGE: {"daily": "10"}}, feedback={"budget_interval": "300ms"})
    stream = listen(owner)
    for _ in range(20):
        owner.ask()

    def told() -> str:
        events = [event for event in stream.heard if event.name == "budgets"]
        return events[-1].data["budgets"][0]["held"] if events else ""

    stream.until(lambda: told() == "0.250000000")
    assert stream.names.count("budgets") < 20


def test_another_policy_is_told(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    stream = listen(owner)
    owner.govern({TRIAGE: {"daily": "7"}})
    digest = stream.event("policy").data["policy_digest"]
    assert digest not in {"", stream.event("snapshot").data["policy_digest"]}


def test_a_client_resumes_where_it_was_and_is_told_what_changed_and_nothing_else(start: START, listen: LISTEN) -> None:
    owner = quick(start, limits={TRIAGE: {"daily": "1"}})
    first = listen(owner)
    kill(owner, "gamma")
    seen = first.event("kills").id
    first.close()
    resumed = listen(owner, last_id=seen)
    made = kill(owner, "beta")
    assert resumed.event("kills").data["epoch"] == 2
    assert resumed.names == ["kills"], "what it had seen is not told again"
    resumed.close()
    owner.ask()
    owner.post(f"/v1/admin/kills/{made['id']}/release", {"reason": "mended"}, key=owner.admin)
    late = listen(owner, last_id=seen)
    assert late.event("kills").data["epoch"] == 3
    assert late.event("budgets").data["budgets"][0]["held"] == CALL_USD
    assert "snapshot" not in late.names


@pytest.mark.parametrize("last_id", ["other-5", "-", "x", "9" * 400, "{boot}-999999", "{boot}--1", "{boot}-²"])
def test_an_id_that_means_nothing_here_gets_the_whole_state(start: START, listen: LISTEN, last_id: str) -> None:
    owner = quick(start)
    boot = listen(owner).event("snapshot").id.rpartition("-")[0]
    stream = httpx.stream(
        "GET",
        f"{owner.http.base_url}/v1/feedback?client=raw",
        headers=[(b"x-api-key", owner.key.encode()), (b"last-event-id", last_id.format(boot=boot).encode())],
        trust_env=False,
    )
    with stream as response:
        lines = response.iter_lines()
        assert [next(lines), next(lines)][1] == "event: snapshot"


def test_after_a_restart_a_client_is_told_everything_that_is_in_force(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    first = listen(owner)
    kill(owner, "acme")
    seen = first.event("kills").id
    owner.hang_up()
    first.ended()
    assert (first.heard[-1].name, first.heard[-1].data["reason"]) == ("end", "shutdown")
    owner.start()
    again = listen(owner, last_id=seen)
    snapshot = again.event("snapshot").data
    assert (snapshot["epoch"], [each["target"] for each in snapshot["kills"]]) == (1, ["acme"])


def test_acknowledgements_say_how_far_a_kill_came_and_who_is_missing(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    streams = [listen(owner, client=name) for name in ("a", "b", "c")]
    made = kill(owner)
    for stream in streams:
        epoch = stream.event("kills").data["epoch"]
        if stream is not streams[2]:
            assert stream.ack(epoch).json() == {"epoch": 1}
            assert stream.ack(epoch).status_code == 200, "a second word changes nothing"
    owner.eventually(lambda: acks(owner)["finished"])
    told = acks(owner)
    assert (told["connected"], told["acked"]) == (3, 2)
    assert (told["clients"][0]["client"], told["clients"][0]["ms"]) == ("c", None)
    assert 0 < told["p50_ms"] <= told["p99_ms"] <= told["max_ms"]
    (entry,) = [event.row for event in owner.events("kill") if event.row["action"] == "kill.propagation"]
    assert (entry["subject"], entry["outcome"], entry["actor"]) == ("platform", "missing", "system:feedback")
    assert '"client":"c"' in str(entry["detail"])
    assert made["id"] in str(entry["detail"])


def test_a_drill_measures_and_stops_nobody(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    stream = listen(owner)
    drill = owner.post("/v1/admin/drills", {"reason": "friday"}, key=owner.admin).json()
    assert stream.event("drill").data == {"drill_id": drill["id"]}
    assert owner.ask()["verdict"] == "allow"
    stream.ack(0, drill["id"])

    def result() -> dict[str, Any]:
        return owner.get(f"/v1/admin/drills/{drill['id']}", key=owner.admin).json()["acks"]

    owner.eventually(lambda: result()["finished"])
    assert (result()["connected"], result()["acked"]) == (1, 1)
    assert owner.get("/v1/feedback/state").json()["epoch"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"client": "one", "epoch": 1}, 400),
        ({"client": "one", "epoch": -1}, 400),
        ({"client": "", "epoch": 0}, 400),
        ({"client": "a\nb", "epoch": 0}, 400),
        ({"client": "c" * 200, "epoch": 0}, 400),
        ({"epoch": 0}, 400),
        ({"client": "nobody listens by this name", "epoch": 0, "drill_id": "drill_1"}, 200),
    ],
)
def test_an_acknowledgement_of_what_is_yet_to_come_is_refused(start: START, body: dict[str, Any], status: int) -> None:
    owner = quick(start)
    assert owner.post("/v1/feedback/acks", body).status_code == status


def test_a_client_must_have_a_key_and_a_name(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    assert listen(owner, key="nonsense").status == 401
    assert listen(owner, client="").status == 400
    assert owner.get("/v1/feedback/state", key="nonsense").status_code == 401
    assert owner.post("/v1/feedback/acks", {"client": "a", "epoch": 0}, key="nonsense").status_code == 401


def test_the_stream_of_a_revoked_key_ends_and_others_go_on(start: START, listen: LISTEN) -> None:
    """LiteLLM #2149: a blocked key goes on."""
    owner = quick(start)
    other = owner.new_key("acme/support/other")
    gone, stays = listen(owner), listen(owner, key=other)
    gone.event("snapshot")
    (key,) = [each for each in owner.store.list() if each.kind == "agent" and each.agent == "triage"]
    owner.store.revoke(key.id, actor="user:test", reason="lost")
    gone.ended()
    assert [(event.name, event.data) for event in gone.heard[-2:]] == [
        ("key", {"key_id": key.id, "state": "revoked"}),
        ("end", {"reason": "key", "message": f"Key {key.id} is not good any more."}),
    ]
    kill(owner)
    assert stays.event("kills").data["epoch"] == 1
    assert acks(owner)["connected"] == 1


def test_the_stream_of_an_expired_key_ends(start: START, listen: LISTEN) -> None:
    owner = quick(start)
    soon = time.time_ns() + 10**9
    key, made = owner.store.create_agent_key(AgentPath.parse(TRIAGE), actor="user:test", expires_ns=soon)
    stream = listen(owner, key=key)
    stream.ended()
    assert stream.event("key").data == {"key_id": made.id, "state": "expired"}


def test_a_silent_stream_says_that_it_lives(start: START, listen: LISTEN) -> None:
    owner = quick(start, feedback={"keepalive": "30ms"})
    stream = listen(owner)
    stream.until(lambda: stream.comments >= 3)


def test_too_many_clients_are_told_so_and_one_that_leaves_makes_room(start: START, listen: LISTEN) -> None:
    owner = quick(start, feedback={"max_clients": 2})
    first, _ = listen(owner, client="a"), listen(owner, client="b")
    refused = listen(owner, client="c")
    assert (refused.status, refused.error["error"]) == (503, "unavailable")
    assert "extensions.control.feedback.max_clients" in refused.error["message"]
    first.close()
    owner.eventually(lambda: listen(owner, client="d").status == 200)


def test_a_client_that_does_not_read_is_dropped_and_told_why_and_holds_nobody_up(start: START, listen: LISTEN) -> None:
    owner = quick(start, feedback={"max_queue": 4, "send_timeout": "200ms"})
    address = (owner.http.base_url.host, owner.http.base_url.port or 0)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(address)
    slow.sendall(f"GET /v1/feedback?client=slow HTTP/1.1\r\nhost: x\r\nx-api-key: {owner.key}\r\n\r\n".encode())
    fast = listen(owner, client="fast", key=owner.key)
    fast.event("snapshot")
    # Each event repeats all kills in force, so that they soon fill what lies between.
    reason, number = "r" * 900, 0
    while slow_is_connected(owner):
        number += 1
        body = {"scope": "all", "target": f"tool:t{number}", "reason": reason, "allow_unmatched": True}
        owner.post("/v1/admin/kills", body, key=owner.admin)
        assert number < 2000, "the slow client was never dropped"
    fast.until(lambda: fast.heard[-1].name == "kills" and fast.heard[-1].data["epoch"] == number)
    assert was_cut(slow)
    slow.close()


def was_cut(connection: socket.socket) -> bool:
    """Whether the other end closed it, instead of waiting for it for ever."""
    time.sleep(1)
    connection.settimeout(10)
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def slow_is_connected(owner: Owned) -> bool:
    kills = owner.get("/v1/admin/kills", key=owner.admin).json()["kills"]
    return not kills or any(each["client"] == "slow" for each in kills[-1]["acks"]["clients"])
