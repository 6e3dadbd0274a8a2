"""The owner's process: it starts or says why not, ends with its parent, and a kill -9 loses nothing it answered."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from collector.state.store import State
from tests.collector.control.owned import CALL, TRIAGE, OwnerProcess

PREPARE = Callable[..., OwnerProcess]
ROUNDS, ASKERS = 4, 8


def test_a_kill_in_the_middle_of_load_loses_and_doubles_no_answered_decision(prepare: PREPARE) -> None:
    """LiteLLM #27639: holds that live in a request's memory; cmcp#665: a restart lifts what was in memory."""
    owner = prepare(limits={TRIAGE: {"daily": "1000"}})
    allowed: dict[str, str] = {}
    settled: set[str] = set()
    for number in range(ROUNDS):
        owner.start()
        threads = [
            threading.Thread(target=work, args=(owner, f"{number}-{n}", allowed, settled)) for n in range(ASKERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.15 + 0.1 * number)
        owner.kill()
        for thread in threads:
            thread.join()
    state = State(owner.data / "state" / "state.db")
    rows = {hold: state.hold(hold) for hold in allowed.values()}
    entries, kept = state.entries(), {each.idempotency_key for each in state.decisions()}
    spends = sum(spend.settled for spend in state.spends(0))
    state.close()
    assert len(allowed) > ROUNDS
    assert len(set(allowed.values())) == len(allowed)
    assert kept >= allowed.keys()
    assert all(row is not None for row in rows.values())
    assert {hold for hold, row in rows.items() if row and row.change and row.change.state == "settled"} >= settled
    holds = [entry.hold_id for entry in entries if entry.kind == "hold"]
    assert len(holds) == len(set(holds)) == len(kept), "one hold for each key, answered or not"
    assert spends == sum(entry.settled for entry in entries)
    resolved = {entry.hold_id for entry in entries if entry.kind == "settle"}
    still = sum(entry.held for entry in entries if entry.kind == "hold" and entry.hold_id not in resolved)
    assert sum(entry.held for entry in entries) == still


def work(owner: OwnerProcess, name: str, allowed: dict[str, str], settled: set[str]) -> None:
    """Ask, settle every other hold and remember what was answered, until the owner is gone."""
    number = 0
    headers = {"authorization": f"Bearer {owner.key}"}
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=owner.http.base_url, headers=headers) as http:
        while True:
            number += 1
            key = f"{name}-{number}"
            hold = http.post("/v1/decisions", json=CALL | {"idempotency_key": key}).json()["hold"]["id"]
            allowed[key] = hold
            if number % 2:
                assert http.post(f"/v1/holds/{hold}/settle", json={"cost_usd": "0.001"}).status_code == 200
                settled.add(hold)


def test_a_question_repeated_after_a_kill_gets_the_answer_it_got(prepare: PREPARE) -> None:
    owner = prepare(limits={TRIAGE: {"daily": "1"}}).start()
    decision = owner.ask(idempotency_key="call-1")
    owner.kill()
    owner.start()
    assert owner.ask(idempotency_key="call-1") == decision
    assert owner.budgets()[TRIAGE, "daily"] == ("0.000000000", "0.012500000")


def test_sigterm_finishes_what_runs_and_ends_with_zero(prepare: PREPARE) -> None:
    owner = prepare().start()
    decision = owner.ask()
    code, log = owner.terminate()
    assert (code, "Error" in log) == (0, False)
    owner.start()
    assert owner.get(f"/v1/holds/{decision['hold']['id']}").json()["state"] == "held"


def test_the_owner_ends_when_ingest_hangs_up(prepare: PREPARE) -> None:
    owner = prepare().start()
    assert owner.hang_up()[0] == 0


def test_the_owner_ends_with_a_parent_that_is_killed(prepare: PREPARE) -> None:
    """The sockets are inherited by a grandchild here, so that only the kernel's signal tells."""
    owner = prepare()
    program = textwrap.dedent("""
        import socket, subprocess, sys, time
        ours, theirs = socket.socketpair()
        wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        keeper = subprocess.Popen(wait, stdin=sys.stdin, pass_fds=[ours.fileno()])
        command = [sys.executable, "-m", "collector.control", "--data", sys.argv[1], "--fd", str(theirs.fileno())]
        pipe = subprocess.PIPE
        owner = subprocess.Popen(command, stdin=pipe, stdout=pipe, pass_fds=[theirs.fileno()])
        owner.stdin.write(sys.argv[2].encode())
        owner.stdin.close()
        print(owner.pid, owner.stdout.readline().decode(), flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", program, str(owner.data), json.dumps(owner.settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
        owner.eventually(lambda: not running(pid))


def running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_two_owners_of_one_data_directory_are_one_too_many(prepare: PREPARE) -> None:
    owner = prepare().start()
    with pytest.raises(Exception, match="in use by another process"):
        State(owner.data / "state" / "state.db", lock_wait_s=0)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        pytest.param({"control": {"endpont": "127.0.0.1:0"}}, "endpont", id="a key nobody knows"),
        pytest.param({"control": {"endpoint": "nonsense"}}, "extensions.control.endpoint", id="no address"),
        pytest.param({"budgets": {"hold_ttl": "soon"}}, "'soon' is not a duration", id="no duration"),
        pytest.param({"budgets": {"on_hold_expiry": "keep"}}, "on_hold_expiry", id="no such policy"),
        pytest.param(
            {"budgets": {"on_unknown_price": "fallback", "fallback_price": {"input": "much"}}}, "'much'", id="no amount"
        ),
    ],
)
def test_wrong_settings_end_the_start_with_one_sentence(
    prepare: PREPARE, settings: dict[str, dict[str, object]], complaint: str
) -> None:
    with pytest.raises(AssertionError) as failed:
        prepare(**settings).start()
    code, log = failed.value.args[0]
    assert code == 1
    assert log.startswith("Error: ")
    assert complaint in log
    assert "Traceback" not in log


def test_an_occupied_port_is_named(prepare: PREPARE) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(AssertionError, match=rf"cannot listen on {endpoint}"):
            prepare(control={"endpoint": endpoint}).start()
