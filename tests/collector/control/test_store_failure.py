"""The state cannot be written: agents are told what the setting says, nothing is lost or doubled, and it heals itself.

SQLite really fails: the kernel refuses the owner's writes (RLIMIT_FSIZE), somebody else holds the file, or
its bytes are overwritten.
"""

import contextlib
import json
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from collector.state.store import State
from schemas.booking import Booked
from schemas.money import format_usd
from tests.collector.control.owned import CALL, CALL_NANO, CALL_USD, TRIAGE, OwnerProcess, booking

PREPARE = Callable[..., OwnerProcess]
ASKERS = 4
DAY = (TRIAGE, "daily")


@contextlib.contextmanager
def full_disk(owner: OwnerProcess) -> Iterator[None]:
    """No file of the owner takes a byte more, as with a full disk or a used-up quota."""
    before = resource.prlimit(owner.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(owner.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(owner.process.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def locked(owner: OwnerProcess) -> Iterator[None]:
    """Another program holds the file."""
    with contextlib.closing(sqlite3.connect(owner.data / "state" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def started(prepare: PREPARE, **settings: object) -> OwnerProcess:
    """An owner that runs, and whose agent's key has been used: the first use of one is written too."""
    owner = prepare(**settings).start()
    assert owner.get("/v1/budgets").status_code == 200
    return owner


def question(owner: OwnerProcess, key: str = "", **changes: object) -> httpx.Response:
    return owner.post("/v1/decisions", CALL | {"idempotency_key": key} | changes)


def answers(owner: OwnerProcess) -> Callable[[], bool]:
    return lambda: owner.get("/v1/budgets").status_code == 200


def allow(**limits: int) -> dict[str, Any]:
    return {"limits": {TRIAGE: {"daily": "1000"}}, "budgets": {"on_store_failure": "allow", **limits}}


@pytest.mark.parametrize("failure", [full_disk, locked])
def test_deny_is_503_with_a_time_to_come_back_until_the_state_is_written_again(
    prepare: PREPARE, failure: Callable[[OwnerProcess], contextlib.AbstractContextManager[None]]
) -> None:
    """LiteLLM #34238: without its store each process went on with a stale sum of its own."""
    owner = started(prepare, limits={TRIAGE: {"daily": "1000"}})
    told = owner.ask(idempotency_key="before")
    with failure(owner):
        first = question(owner, "during")
        later = [
            question(owner, "during"),
            owner.get("/v1/budgets"),
            owner.get(f"/v1/holds/{told['hold']['id']}"),
            owner.post(f"/v1/holds/{told['hold']['id']}/settle", {"cost_usd": "0.001"}),
            owner.post(f"/v1/holds/{told['hold']['id']}/void"),
            owner.post("/v1/admin/seal", key=owner.admin),
        ]
        for answer in (first, *later):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"] == "unavailable"
        assert owner.get("/healthz").status_code == 200
    owner.eventually(answers(owner))
    assert owner.ask(idempotency_key="before") == told
    assert owner.budgets()[DAY] == ("0.000000000", CALL_USD), "what was answered with 503 holds nothing"
    owner.ask(idempotency_key="during")
    code, log = owner.hang_up()
    assert code == 0
    assert "ERROR spanward.control: Cannot" in log
    assert "is written again" in log


def test_who_may_not_ask_is_told_so_all_the_same(prepare: PREPARE) -> None:
    owner = started(prepare)
    with full_disk(owner):
        assert question(owner).status_code == 503
        assert owner.post("/v1/decisions", CALL, key="nonsense").status_code == 401
        assert owner.post("/v1/decisions", CALL, key=owner.admin).status_code == 403
        assert question(owner, input_tokens=-1).status_code == 400


def test_a_full_disk_under_load_loses_and_doubles_nothing_that_was_answered(prepare: PREPARE) -> None:
    owner = started(prepare, limits={TRIAGE: {"daily": "1000"}})
    held: dict[str, str] = {}
    statuses: set[int] = set()
    stop = threading.Event()
    threads = [threading.Thread(target=ask, args=(owner, str(n), held, statuses, stop)) for n in range(ASKERS)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(held)
        owner.eventually(lambda before=before: len(held) > before + 20)  # type: ignore[misc]
        with full_disk(owner):
            statuses.clear()
            owner.eventually(lambda: 503 in statuses)
    before = len(held)
    owner.eventually(lambda: len(held) > before + 20)
    stop.set()
    for thread in threads:
        thread.join()
    settled, on_hold = owner.budgets()[DAY]
    entries = [event.row["decision_id"] for event in owner.events("decision")]
    assert owner.hang_up()[0] == 0
    state = State(owner.data / "state" / "state.db")
    book, kept = state.entries(), {each.idempotency_key for each in state.decisions()}
    state.close()
    holds = [entry.hold_id for entry in book if entry.kind == "hold"]
    assert set(held.values()) <= set(holds)
    assert held.keys() <= kept
    assert len(holds) == len(set(holds)) == len(kept) == len(entries) == len(set(entries))
    assert sum(entry.held for entry in book) == CALL_NANO * len(kept)
    assert (settled, on_hold) == ("0.000000000", format_usd(CALL_NANO * len(kept)))


def ask(owner: OwnerProcess, name: str, held: dict[str, str], statuses: set[int], stop: threading.Event) -> None:
    """Ask one question after the other, each until it is answered, as a client does."""
    number = 0
    with httpx.Client(base_url=owner.http.base_url, headers={"x-api-key": owner.key}, timeout=30) as http:
        while not stop.is_set():
            key = f"{name}-{number}"
            answer = http.post("/v1/decisions", json=CALL | {"idempotency_key": key})
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                assert key not in held
                held[key] = answer.json()["hold"]["id"]
                number += 1
            else:
                stop.wait(0.05)


def test_allow_lets_calls_pass_without_a_hold_and_records_each_once_it_can(prepare: PREPARE) -> None:
    owner = started(prepare, **allow())
    with full_disk(owner):
        assert question(owner, "lost").status_code == 503, "it waited for the group that failed"
        owner.eventually(lambda: question(owner, "a").status_code == 200)
        first = question(owner, "a").json()
        assert (first["verdict"], first["hold"], first["budgets"]) == ("allow", None, [])
        assert first["reasons"][0]["rule"] == "store.unavailable"
        assert question(owner, "a").json() == first, "the same question gets the same answer"
        assert question(owner, "a", model="gpt-4o-mini").status_code == 409
        second = question(owner).json()
        assert owner.get("/v1/budgets").status_code == 503
    owner.eventually(answers(owner))
    assert question(owner, "a").json() == first, "and afterwards"
    assert owner.ask(idempotency_key="b")["hold"] is not None
    assert owner.budgets()[DAY] == ("0.000000000", CALL_USD)
    events = owner.events()
    recorded = {event.row["decision_id"]: event.row for event in events if event.row["kind"] == "decision"}
    unheld = [row for row in recorded.values() if "on_store_failure" in str(row["message"])]
    assert {row["decision_id"] for row in unheld} == {first["decision_id"], second["decision_id"]}
    assert len(unheld) == 2
    assert json.loads(str(unheld[0]["detail"]))["reasons"][0]["rule"] == "store.unavailable"
    (outage,) = [event.row for event in events if event.row.get("action") == "store.unavailable"]
    assert "2 decisions were answered allow without a hold" in str(outage["message"])


@pytest.mark.parametrize("named", [True, False])
def test_what_was_allowed_without_the_state_is_no_finding_afterwards(prepare: PREPARE, named: bool) -> None:
    owner = started(prepare, **allow())
    owner.ask(model="gpt-4o-mini")
    with full_disk(owner):
        owner.eventually(lambda: question(owner).status_code == 200)
        told = question(owner).json()
    owner.eventually(answers(owner))
    # Far later than clocks may differ after the first question of this agent.
    began = time.time_ns() + 20 * 10**9
    call = {
        "path": TRIAGE, "model": "gpt-4o-2024-08-06", "request_model": "gpt-4o", "cost_nano_usd": 9,
        "start_time": began, "end_time": began + 1, "received_time": began + 2,
    }  # fmt: skip
    owner.resume()
    owner.book(calls=[call | ({"decision_id": told["decision_id"]} if named else {})])
    owner.resume()
    assert [event.row["message"] for event in owner.events("finding")] == []


def test_more_than_can_be_recorded_is_not_allowed(prepare: PREPARE) -> None:
    owner = started(prepare, **allow(max_unrecorded_decisions=3))
    with full_disk(owner):
        question(owner)
        owner.eventually(lambda: question(owner).status_code == 200)
        assert [question(owner).status_code for _ in range(4)] == [200, 200, 503, 503]
    owner.eventually(answers(owner))
    assert len(owner.events("decision")) == 3


def test_a_booking_waits_for_the_state_and_is_applied_once(prepare: PREPARE) -> None:
    """The collector keeps taking in telemetry: ingest waits for its answer, and its spool fills."""
    owner = started(prepare, limits={TRIAGE: {"daily": "1000"}})
    owner.resume()
    owner.book(spends=[(TRIAGE, 0, 5)])
    booked: list[object] = []
    with full_disk(owner):
        assert question(owner).status_code == 503
        message = booking(2, spends=[(TRIAGE, 0, 7)], dedupe=b"k" * 24)
        waiting = threading.Thread(target=lambda: booked.append(owner.link.request(message)))
        waiting.start()
        waiting.join(1.5)
        assert not booked
    waiting.join(30)
    assert isinstance(booked[0], Booked)
    owner.send(message)
    assert owner.hang_up()[0] == 0
    state = State(owner.data / "state" / "state.db")
    assert [entry.settled for entry in state.entries()] == [5, 7]
    assert state.dedupe() == [b"k" * 24]
    state.close()


def test_a_broken_file_stays_unavailable_and_says_so(prepare: PREPARE) -> None:
    owner = started(prepare)
    owner.ask()
    with full_disk(owner):
        assert question(owner).status_code == 503
        for name in ("state.db", "state.db-wal"):
            (owner.data / "state" / name).write_bytes(b"not a database " * 1000)
    # It has tried again twice by then.
    time.sleep(2.5)
    assert question(owner).status_code == 503
    code, log = owner.hang_up()
    assert code == 0
    assert "file is not a database" in log


def test_a_stop_during_an_outage_is_a_stop(prepare: PREPARE) -> None:
    owner = started(prepare)
    with full_disk(owner):
        assert question(owner).status_code == 503
        assert owner.terminate()[0] == 0


@pytest.mark.parametrize("on_store_failure", ["deny", "allow"])
def test_a_kill_is_a_deny_all_the_while(prepare: PREPARE, on_store_failure: str) -> None:
    owner = started(prepare, budgets={"on_store_failure": on_store_failure})
    kill = {"scope": "all", "target": TRIAGE, "reason": "It loops."}
    made = owner.post("/v1/admin/kills", kill, key=owner.admin).json()
    with full_disk(owner):
        assert owner.post("/v1/admin/kills", kill | {"target": "acme"}, key=owner.admin).status_code == 503
        release = f"/v1/admin/kills/{made['id']}/release"
        assert owner.post(release, {"reason": "It was mended."}, key=owner.admin).status_code == 503
        owner.eventually(lambda: question(owner).status_code == 200)
        answer = question(owner).json()
        assert (answer["verdict"], answer["reasons"][0]["rule"]) == ("deny", f"kill.all.{TRIAGE}")
        assert answer["epoch"] == made["epoch"]
    owner.eventually(answers(owner))
    assert question(owner).json()["verdict"] == "deny"
    recorded = [event.row["decision_id"] for event in owner.events("decision")]
    assert recorded.count(answer["decision_id"]) == 1
