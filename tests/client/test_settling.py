"""Settles and voids that nobody waits for: bounded, flushed at the end of the process, never in the way."""

import os
import subprocess
import sys
import threading
from typing import Any, cast

import pytest
import spanward_client
from spanward_client import Client, settling
from spanward_client.settling import dropped, flush, settle_soon, void_soon

from tests.client.answers import FINISHED, error
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def _fresh_desk() -> None:
    settling._desk.forget()


def finished(stub: Stub) -> list[dict[str, Any]]:
    """What was said of holds, in the order it came."""
    assert {asked.path for asked in stub.asked} <= {"/v1/holds"}
    return [each for asked in stub.asked for each in cast(list[dict[str, Any]], asked.body["holds"])]


def test_what_is_handed_over_is_sent_in_order(stub: Stub) -> None:
    stub.answer(FINISHED)
    settle_soon("hold-1", input_tokens=11, output_tokens=7)
    void_soon("hold-2")
    assert flush(30)
    assert finished(stub) == [
        {"id": "hold-1", "settle": {"input_tokens": 11, "output_tokens": 7}},
        {"id": "hold-2", "settle": None},
    ]


def test_what_waits_is_sent_at_once_so_that_a_slow_way_does_not_let_it_pile_up(stub: Stub) -> None:
    """One request each let 16 busy threads of the openai SDK pile up hundreds, and be refused over held money (2.B)."""
    stub.answer(FINISHED)
    stub.release.clear()
    for number in range(500):
        void_soon(f"hold-{number}")
    stub.release.set()
    assert flush(30)
    assert [each["id"] for each in finished(stub)] == [f"hold-{number}" for number in range(500)]
    assert len(stub.asked) <= 4, "the first went ahead, the others in batches of 200"


def test_a_full_queue_drops_counts_and_says_so_and_never_blocks(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settling, "QUEUE_MAX", 2)
    settling._desk.forget()
    stub.answer(FINISHED)
    stub.release.clear()
    for number in range(10):
        void_soon(f"hold-{number}")
    assert 6 <= dropped() <= 8, "two wait, and up to two may be on their way"
    assert "the queue is full" in caplog.text
    stub.release.set()
    assert flush(30)


def test_a_hold_its_span_settled_first_is_no_error(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    stub.answer({"unfinished": [{"id": "hold-1", "message": "It is settled."}]})
    void_soon("hold-1")
    assert flush(30)
    assert (dropped(), caplog.records) == (0, [])


def test_a_server_that_is_gone_is_counted_and_the_next_one_is_tried(stub: Stub) -> None:
    stub.answer(error("unavailable", "Not now."), status=503).answer(FINISHED)
    void_soon("hold-1")
    assert flush(30)
    void_soon("hold-2")
    assert flush(30)
    assert dropped() == 1
    assert len(stub.asked) == 2


def test_a_client_that_is_closed_meanwhile_does_not_end_the_worker(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answer(FINISHED)
    closed = Client()
    closed.close()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(settling, "sync_client", lambda: closed)
        void_soon("hold-1")
        assert flush(30)
    void_soon("hold-2")
    assert flush(30)
    assert dropped() == 1
    assert [each["id"] for each in finished(stub)] == ["hold-2"]


def test_flush_does_not_wait_longer_than_it_may(stub: Stub) -> None:
    stub.answer(FINISHED)
    stub.release.clear()
    void_soon("hold-1")
    assert not flush(0.05)
    stub.release.set()
    assert flush(30)


def test_the_end_of_a_process_sends_what_waits(stub: Stub) -> None:
    stub.answer(FINISHED)
    program = "from spanward_client.settling import void_soon\nfor n in range(20): void_soon(f'hold-{n}')"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert len(finished(stub)) == 20


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_queue_of_its_own(stub: Stub) -> None:
    stub.answer(FINISHED)
    void_soon("hold-1")
    assert flush(30)
    child = os.fork()
    if child == 0:
        void_soon("hold-2")
        os._exit(0 if flush(30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [each["id"] for each in finished(stub)] == ["hold-1", "hold-2"]


def test_many_threads_start_one_worker(stub: Stub) -> None:
    stub.answer(FINISHED)
    threads = [threading.Thread(target=void_soon, args=(f"hold-{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert flush(30)
    assert len(finished(stub)) == 16
    assert sum(thread.name == "spanward-settle" and thread.is_alive() for thread in threading.enumerate()) >= 1
    spanward_client.close()
