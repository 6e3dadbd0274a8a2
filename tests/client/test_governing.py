"""Tools and actions that ask before they act: functions, coroutines, generators and async generators."""

from collections.abc import AsyncGenerator, Generator

import pytest
import spanward_client
from spanward_client import BudgetExceeded, current_decision_id, governed

from tests.client.answers import ALLOW, DENY
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


@governed()
def search(text: str, *, limit: int = 3) -> tuple[str, int, str]:
    """Find it."""
    return text, limit, current_decision_id()


@governed(action="data.export", labels={"table": "customers"})
async def export() -> str:
    return current_decision_id()


@governed(tool="count")
def counting(start: int) -> Generator[tuple[int, str], int, str]:
    for number in range(start, start + 3):
        sent = yield number, current_decision_id()
        if sent:
            yield sent, current_decision_id()
    return "counted"


@governed(tool="listen")
async def listening() -> AsyncGenerator[str, None]:
    yield current_decision_id()
    yield current_decision_id()


def test_a_tool_asks_by_its_name_and_runs_under_its_decision(stub: Stub) -> None:
    stub.answer(ALLOW)
    assert search("sky", limit=5) == ("sky", 5, "dec-1")
    (asked,) = stub.asked
    assert (asked.body["action"], asked.body["tool"]) == ("tool.call", "search")
    assert current_decision_id() == ""
    assert (search.__name__, search.__doc__) == ("search", "Find it.")


def test_each_call_is_an_act_of_its_own(stub: Stub) -> None:
    stub.answer(ALLOW)
    search("sky")
    search("sky")
    assert len({asked.body["idempotency_key"] for asked in stub.asked}) == 2


def test_a_refused_tool_does_not_run(stub: Stub) -> None:
    stub.answer(DENY)
    ran = []

    @governed(tool="send_money")
    def send() -> None:
        ran.append(True)

    with pytest.raises(BudgetExceeded):
        send()
    assert ran == []


async def test_a_coroutine_asks_without_blocking_and_an_action_needs_no_tool(stub: Stub) -> None:
    stub.answer(ALLOW)
    assert await export() == "dec-1"
    (asked,) = stub.asked
    assert asked.body["action"] == "data.export"
    assert asked.body["labels"] == {"table": "customers"}
    assert "tool" not in asked.body


def test_a_generator_asks_at_its_first_item_and_its_caller_stays_outside(stub: Stub) -> None:
    """A decision that leaks into the caller between two items would be put on spans that are not its."""
    stub.answer(ALLOW)
    numbers = counting(1)
    assert stub.asked == []
    assert next(numbers) == (1, "dec-1")
    assert current_decision_id() == ""
    assert numbers.send(10) == (10, "dec-1")
    assert [number for number, _ in numbers] == [2, 3]
    assert len(stub.asked) == 1


def test_a_generator_keeps_its_value_its_exceptions_and_its_end(stub: Stub) -> None:
    stub.answer(ALLOW)
    ended = []

    @governed(tool="read")
    def reading() -> Generator[int, None, str]:
        try:
            yield 1
            yield 2
        except KeyError:
            yield -1
        finally:
            ended.append(current_decision_id())
        return "done"

    def whole() -> Generator[int, None, str]:
        return (yield from reading())

    steps = whole()
    assert next(steps) == 1
    assert steps.throw(KeyError("gone")) == -1
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "done"
    steps = whole()
    next(steps)
    steps.close()
    assert ended == ["dec-1", "dec-1"]


async def test_an_async_generator_does_the_same(stub: Stub) -> None:
    stub.answer(ALLOW)
    seen = [(decision, current_decision_id()) async for decision in listening()]
    assert seen == [("dec-1", ""), ("dec-1", "")]
    assert len(stub.asked) == 1


async def test_an_async_client_is_closed_with_its_loop_or_by_hand(stub: Stub) -> None:
    stub.answer(ALLOW)
    await export()
    await export()
    assert stub.connections == 1
    await spanward_client.aclose()
    await export()
    assert stub.connections == 2
