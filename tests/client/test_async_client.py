"""The async client does what the sync one does."""

import asyncio
from decimal import Decimal

import pytest
from spanward_client import AsyncClient, BudgetExceeded, Settings, Unauthenticated, Unavailable

from tests.client.answers import ALLOW, DENY, SETTLED, VOID
from tests.client.stub import Stub

pytestmark = pytest.mark.asyncio


async def test_a_question_is_answered_over_one_connection(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    async with AsyncClient(settings) as client:
        for _ in range(3):
            assert (await client.check(model="gpt-5", input_tokens=10)).decision_id == "dec-1"
    assert stub.connections == 1
    assert stub.asked[0].headers["authorization"] == "Bearer key-1"
    assert stub.asked[0].body.keys() == {"model", "input_tokens", "idempotency_key"}


async def test_a_no_is_an_exception(stub: Stub, settings: Settings) -> None:
    stub.answer(DENY)
    async with AsyncClient(settings) as client:
        with pytest.raises(BudgetExceeded) as caught:
            await client.check(model="gpt-5")
    assert caught.value.remaining_usd == Decimal("0.199999999")


async def test_without_a_key_nothing_is_sent(stub: Stub) -> None:
    async with AsyncClient(Settings(endpoint=stub.url)) as client:
        with pytest.raises(Unauthenticated):
            await client.check(model="gpt-5")
    assert stub.asked == []


async def test_silence_is_unavailable_and_open_lets_it_pass(stub: Stub) -> None:
    stub.answer(ALLOW).release.clear()
    async with AsyncClient(Settings(endpoint=stub.url, api_key="k", timeout_s=0.2)) as client:
        with pytest.raises(Unavailable, match="did not answer"):
            await client.check(model="gpt-5")
    async with AsyncClient(Settings(endpoint=stub.url, api_key="k", timeout_s=0.2, fail_mode="open")) as client:
        assert not (await client.check(model="gpt-5")).judged


async def test_a_connection_that_breaks_is_tried_once_more(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW).drops = 1
    async with AsyncClient(settings) as client:
        await client.check(model="gpt-5")
    first, second = stub.asked
    assert first.body == second.body


async def test_a_connection_that_breaks_twice_is_unavailable(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW).drops = 2
    async with AsyncClient(settings) as client:
        with pytest.raises(Unavailable):
            await client.check(model="gpt-5")


async def test_holds_are_settled_and_voided(stub: Stub, settings: Settings) -> None:
    stub.answer(SETTLED).answer(VOID)
    async with AsyncClient(settings) as client:
        settled = await client.settle("hold-1", cost_usd="0.41")
        voided = await client.void("hold-1")
    assert settled is not None
    assert voided is not None
    assert (settled.state, voided.state) == ("settled", "void")
    assert [asked.path for asked in stub.asked] == ["/v1/holds/hold-1/settle", "/v1/holds/hold-1/void"]


async def test_many_tasks_ask_at_once(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    async with AsyncClient(settings) as client:
        answers = await asyncio.gather(*(client.check(model="gpt-5") for _ in range(16)))
    assert [answer.allowed for answer in answers] == [True] * 16
