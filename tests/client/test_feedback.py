"""Kills reach the agent by stream, by poll while the stream is broken, and outlive a server that is gone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import spanward_client
from spanward_client import Killed, Unavailable, governed
from spanward_client.feedback import kill_state, stop_following
from spanward_client.feedback.kills import STATE_TTL_S, KillState
from spanward_client.settings import Settings

from tests.client import control as control_server
from tests.client.control import Control


@governed()
def search() -> str:
    return "found"


@governed(action="llm.call", model="gpt-5", provider="openai")
def think() -> str:
    return "thought"


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    with control_server.serving() as server:
        monkeypatch.setenv("SPANWARD_ENDPOINT", server.url)
        monkeypatch.setenv("SPANWARD_API_KEY", "key-1")
        monkeypatch.setenv("SPANWARD_FEEDBACK", "on")
        monkeypatch.setenv("SPANWARD_POLL_INTERVAL", "0.05")
        yield server
        stop_following()
        server.break_streams()


def following(control: Control) -> KillState:
    """The state of this process, once it knows what the server knows."""
    state = kill_state(Settings.from_env())
    assert state is not None
    assert state.wait_until(control.epoch, 30)
    return state


def test_a_kill_refuses_without_asking_and_a_release_lets_pass_again(control: Control) -> None:
    state = following(control)
    assert search() == "found"
    kill = control.kill()
    assert state.wait_until(1, 30)
    with pytest.raises(Killed) as caught:
        search()
    assert caught.value.rule == "kill.all.platform"
    assert str(caught.value) == (
        "admin:ann stopped platform (all) at 2026-11-24T02:00:00Z: runaway costs. "
        f"It stays stopped until somebody runs `spanward kill release {kill['id']} --data DIR --reason TEXT`."
    )
    assert len(control.questions) == 1
    control.release()
    assert state.wait_until(2, 30)
    assert search() == "found"


def test_every_epoch_and_every_drill_is_acknowledged_in_one_clients_name(control: Control) -> None:
    following(control)
    control.kill()
    control.tell("drill", {"drill_id": "drill-9"})
    control.wait_for(lambda: len(control.acks) == 3)
    (client,) = {ack["client"] for ack in control.acks}
    assert [(ack["epoch"], ack["drill_id"]) for ack in control.acks] == [(0, ""), (1, ""), (1, "drill-9")]
    assert control.stream_clients == [client]
    host, pid, chance = client.rsplit(":", 2)
    assert host
    assert int(pid) == os.getpid()
    assert len(chance) == 8


def test_events_of_tomorrow_and_news_of_budgets_are_passed_over(control: Control) -> None:
    state = following(control)
    control.tell("budgets", {"budgets": []})
    control.tell("policy", {"policy_digest": "e"})
    control.tell("something_new", {})
    control.kill()
    assert state.wait_until(1, 30)


def test_while_the_stream_is_broken_kills_come_by_poll(control: Control) -> None:
    state = following(control)
    control.break_streams()
    control.wait_for(lambda: control.polls > 0)
    control.kill()
    assert state.wait_until(1, 30)
    with pytest.raises(Killed):
        search()
    control.wait_for(lambda: any(ack["epoch"] == 1 for ack in control.acks))


def test_a_broken_stream_is_taken_up_where_it_ended(control: Control) -> None:
    state = following(control)
    control.kill()
    assert state.wait_until(1, 30)
    control.break_streams(streaming=True)
    control.wait_for(lambda: len(control.streams) == 1)
    assert control.resumed_from == ["", f"{control_server.BOOT}-1"]
    control.release()
    assert state.wait_until(2, 30)


def test_a_kill_of_model_calls_leaves_tools_alone(control: Control) -> None:
    state = following(control)
    control.kill("llm", "acme/support")
    assert state.wait_until(1, 30)
    assert search() == "found"
    with pytest.raises(Killed):
        think()


@pytest.mark.parametrize(
    ("scope", "target", "killed"),
    [
        ("all", "tool:search", True),
        ("all", "tool:other", False),
        ("all", "model:search", False),
        ("all", "acme/support/triage", True),
        ("all", "acme/support/other", False),
        ("new_keys", "platform", False),
    ],
)
def test_a_kill_stops_what_it_names(
    control: Control, monkeypatch: pytest.MonkeyPatch, scope: str, target: str, *, killed: bool
) -> None:
    """Under a tenant's key kills of other agents come along, and are theirs alone."""
    monkeypatch.setenv("SPANWARD_AGENT", "triage")
    state = following(control)
    control.kill(scope, target)
    assert state.wait_until(1, 30)
    if killed:
        with pytest.raises(Killed):
            search()
    else:
        assert search() == "found"


@pytest.mark.parametrize("mode", ["closed", "open"])
def test_a_known_kill_holds_whatever_the_fail_mode_when_nobody_answers(
    control: Control, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A kill that the loss of the store forgets is no kill (peers.md 3.2)."""
    monkeypatch.setenv("SPANWARD_FAIL_MODE", mode)
    state = following(control)
    control.kill()
    assert state.wait_until(1, 30)
    control.open = False
    control.break_streams()
    monkeypatch.setattr(KillState, "fresh", False)
    with pytest.raises(Killed):
        search()


def test_a_stale_kill_is_asked_about_because_its_release_may_have_been_missed(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = following(control)
    control.kill()
    assert state.wait_until(1, 30)
    monkeypatch.setattr(KillState, "fresh", False)
    assert search() == "found"
    assert len(control.questions) == 1


def test_with_nothing_known_and_nobody_there_the_fail_mode_decides(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    following(control)
    control.open = False
    with pytest.raises(Unavailable):
        search()
    monkeypatch.setenv("SPANWARD_FAIL_MODE", "open")
    spanward_client.close()
    assert search() == "found"


def test_a_state_is_fresh_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    state = KillState()
    fresh = [state.fresh]
    state.learn('{"epoch": 3, "kills": []}')
    fresh.append(state.fresh)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STATE_TTL_S + 1)
    assert [*fresh, state.fresh] == [False, True, False]


def test_off_means_no_stream_and_no_poll(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWARD_FEEDBACK", "off")
    spanward_client.instrument()
    assert search() == "found"
    assert control.stream_clients == []
    assert control.polls == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_follows_for_itself(control: Control) -> None:
    following(control)
    child = os.fork()
    if child == 0:
        try:
            state = kill_state(Settings.from_env())
            os._exit(0 if state is not None and state.wait_until(control.epoch, 30) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    control.wait_for(lambda: len(set(control.stream_clients)) == 2)


def test_the_thread_keeps_no_process_alive(control: Control) -> None:
    program = (
        "import spanward_client, time\n"
        "from spanward_client.feedback import kill_state\n"
        "spanward_client.instrument()\n"
        "state = kill_state(spanward_client.Settings.from_env())\n"
        "assert state.wait_until(0, 30)\n"
        "print(time.monotonic())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    # The stream has nothing to say for as long as the test runs; whoever waited for it would wait for ever.
    assert float(done.stdout)
    assert done.stderr == ""
    assert len(control.stream_clients) == 1
