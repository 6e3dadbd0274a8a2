"""Questions of the gate: what becomes of one that nobody waits for any more."""

import asyncio
import time
from collections.abc import Callable

import pytest
from spanward_client.asking import aask
from spanward_client.settling import flush

from tests.client.answers import ALLOW, FINISHED
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


def test_a_task_that_is_cancelled_while_it_asks_leaves_nothing_held(stub: Stub) -> None:
    """`asyncio.wait_for` around a call that is never made: its hold would refuse others, and be posted as spent."""
    stub.answer(ALLOW).answer(FINISHED)

    async def give_up() -> None:
        stub.release.clear()
        asking = asyncio.create_task(aask({"action": "llm.call", "model": "gpt-4o"}))
        await asyncio.to_thread(until, lambda: len(stub.asked) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        stub.release.set()
        await asyncio.to_thread(until, lambda: len(stub.asked) == 2)

    asyncio.run(give_up())
    assert flush(30)
    assert stub.asked[1].body == {"holds": [{"id": "hold-1", "settle": None}]}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
