"""Working under a decision: what is sent, what is left to the span, and who knows the decision's id."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest
import spanward_client
from spanward_client import BudgetExceeded, Client, Rejected, Settings, Unavailable, current_decision_id

from tests.client.answers import ALLOW, DENY, SETTLED, VOID, error
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


def paths(stub: Stub) -> list[str]:
    return [asked.path for asked in stub.asked]


def test_a_hold_that_ends_normally_is_left_to_its_span(stub: Stub) -> None:
    stub.answer(ALLOW)
    with spanward_client.hold(model="gpt-5", input_tokens=100) as held:
        assert held.decision.hold is not None
        assert held.decision.hold.amount_usd == Decimal("0.52")
    assert paths(stub) == ["/v1/decisions"]


def test_a_hold_that_ends_in_an_exception_gives_no_money_back_on_a_guess(stub: Stub) -> None:
    stub.answer(ALLOW)
    with pytest.raises(ConnectionResetError), spanward_client.hold(model="gpt-5"):
        raise ConnectionResetError
    assert paths(stub) == ["/v1/decisions"]


def test_a_request_that_was_never_sent_is_voided_by_the_caller(stub: Stub) -> None:
    stub.answer(ALLOW).answer(VOID)
    with spanward_client.hold(model="gpt-5") as held:
        state = held.void()
    assert state is not None
    assert state.state == "void"
    assert paths(stub) == ["/v1/decisions", "/v1/holds/hold-1/void"]


def test_a_call_without_a_span_is_settled_by_the_caller(stub: Stub) -> None:
    stub.answer(ALLOW).answer(SETTLED)
    with spanward_client.hold(model="gpt-5") as held:
        held.settle(input_tokens=90, output_tokens=10)
    assert stub.asked[1].path == "/v1/holds/hold-1/settle"
    assert stub.asked[1].body == {"input_tokens": 90, "output_tokens": 10}


def test_a_no_keeps_the_body_from_running(stub: Stub) -> None:
    stub.answer(DENY)
    with pytest.raises(BudgetExceeded), spanward_client.hold(model="gpt-5"):
        pytest.fail("the body ran")
    assert current_decision_id() == ""


def test_a_decision_without_a_hold_has_nothing_to_settle(stub: Stub) -> None:
    stub.answer({**ALLOW, "hold": None})
    with spanward_client.hold(action="tool.call") as held:
        assert held.settle(cost_usd=1) is None
        assert held.void() is None
    assert paths(stub) == ["/v1/decisions"]


def test_a_second_end_is_the_servers_to_judge(stub: Stub) -> None:
    stub.answer(ALLOW).answer(VOID).answer(error("conflict", "The hold is void."), status=409)
    with spanward_client.hold(model="gpt-5") as held:
        held.void()
        with pytest.raises(Rejected, match="The hold is void") as caught:
            held.settle(cost_usd="0.1")
    assert caught.value.status == 409


def test_a_settle_nobody_hears_raises_when_closed_and_is_left_to_the_span_when_open(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in ("closed", "open"):
        stub.answers.clear()
        stub.answer(ALLOW).answer(error("busy", "Try later."), status=503)
        settings = Settings(endpoint=stub.url, api_key="k", fail_mode=mode)
        with Client(settings) as client, client.hold(model="gpt-5") as held:
            if mode == "closed":
                with pytest.raises(Unavailable, match="Try later"):
                    held.settle(cost_usd="0.1")
            else:
                with caplog.at_level(logging.WARNING, "spanward_client"):
                    assert held.settle(cost_usd="0.1") is None
    assert "left to its span" in caplog.text


def test_inside_a_hold_the_decision_is_known_and_the_inner_one_counts(stub: Stub) -> None:
    stub.answer(ALLOW).answer({**ALLOW, "decision_id": "dec-inner"})
    assert current_decision_id() == ""
    with spanward_client.hold(model="gpt-5"):
        assert current_decision_id() == "dec-1"
        with spanward_client.hold(model="gpt-5"):
            assert current_decision_id() == "dec-inner"
        assert current_decision_id() == "dec-1"
    assert current_decision_id() == ""


def test_each_thread_has_its_own_decision(stub: Stub) -> None:
    stub.answer(ALLOW)
    seen: list[str] = []
    with spanward_client.hold(model="gpt-5"):
        bare = threading.Thread(target=lambda: seen.append(current_decision_id()))
        bare.start()
        bare.join()
        context = contextvars.copy_context()
        copied = threading.Thread(target=context.run, args=(lambda: seen.append(current_decision_id()),))
        copied.start()
        copied.join()
    assert seen == ["", "dec-1"]


def test_a_stream_that_ends_in_another_context_ends_quietly(stub: Stub) -> None:
    stub.answer(ALLOW)

    def stream() -> Iterator[str]:
        with spanward_client.hold(model="gpt-5"):
            yield current_decision_id()

    pieces = stream()
    assert contextvars.copy_context().run(next, pieces) == "dec-1"
    assert list(pieces) == []


@pytest.mark.asyncio
async def test_the_same_hold_works_with_async_with(stub: Stub) -> None:
    stub.answer(ALLOW).answer(SETTLED).answer(VOID)
    async with spanward_client.hold(model="gpt-5") as held:
        assert current_decision_id() == "dec-1"
        assert await asyncio.to_thread(current_decision_id) == "dec-1"
        settled = await held.settle(cost_usd="0.41")
        voided = await held.void()
    assert current_decision_id() == ""
    assert settled is not None
    assert voided is not None
    assert (settled.state, voided.state) == ("settled", "void")
    await spanward_client.aclose()


@pytest.mark.asyncio
async def test_an_async_hold_leaves_a_failed_call_to_its_span(stub: Stub) -> None:
    stub.answer({**ALLOW, "hold": None})

    async def call() -> None:
        async with spanward_client.hold(model="gpt-5") as held:
            assert await held.settle(cost_usd=1) is None
            assert await held.void() is None
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await call()
    assert paths(stub) == ["/v1/decisions"]
    await spanward_client.aclose()


@pytest.mark.asyncio
async def test_tasks_do_not_see_each_others_decisions(stub: Stub) -> None:
    for number in range(4):
        stub.answer({**ALLOW, "decision_id": f"dec-{number}"})

    async def work() -> tuple[str, str]:
        async with spanward_client.hold(model="gpt-5") as held:
            await asyncio.sleep(0)
            return held.decision.decision_id, current_decision_id()

    seen = await asyncio.gather(*(work() for _ in range(4)))
    assert all(own == current for own, current in seen)
    assert {own for own, _ in seen} == {"dec-0", "dec-1", "dec-2", "dec-3"}
    await spanward_client.aclose()
