"""The module-level functions: one client a process, none inherited across a fork."""

import asyncio
import os

import pytest
import spanward_client
from spanward_client import SettingsError

from tests.client.answers import ALLOW, DENY
from tests.client.stub import Stub

pytestmark = pytest.mark.usefixtures("environment")


def test_check_keeps_one_connection_until_it_is_closed(stub: Stub) -> None:
    stub.answer(ALLOW)
    assert spanward_client.check(model="gpt-5").allowed
    assert spanward_client.check(model="gpt-5").allowed
    assert stub.connections == 1
    spanward_client.close()
    spanward_client.check(model="gpt-5")
    assert stub.connections == 2


def test_after_close_the_environment_is_read_anew(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.answer(ALLOW)
    spanward_client.check(model="gpt-5")
    spanward_client.close()
    monkeypatch.setenv("SPANWARD_API_KEY", "key-2")
    spanward_client.check(model="gpt-5")
    assert [asked.headers["authorization"] for asked in stub.asked] == ["Bearer key-1", "Bearer key-2"]


def test_a_wrong_environment_is_said_at_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWARD_FAIL_MODE", "perhaps")
    with pytest.raises(SettingsError, match="perhaps"):
        spanward_client.check(model="gpt-5")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(stub: Stub) -> None:
    stub.answer(ALLOW)
    spanward_client.check(model="gpt-5")
    child = os.fork()
    if child == 0:
        os._exit(0 if spanward_client.check(model="gpt-5").allowed else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stub.connections == 2
    spanward_client.check(model="gpt-5")
    assert stub.connections == 2


@pytest.mark.asyncio
async def test_acheck_keeps_one_connection_a_loop(stub: Stub) -> None:
    stub.answer(ALLOW)
    await spanward_client.acheck(model="gpt-5")
    await spanward_client.acheck(model="gpt-5")
    assert stub.connections == 1
    await spanward_client.aclose()
    await spanward_client.aclose()


@pytest.mark.asyncio
async def test_acheck_raises_as_check_does(stub: Stub) -> None:
    stub.answer(DENY)
    with pytest.raises(spanward_client.BudgetExceeded):
        await spanward_client.acheck(model="gpt-5")
    await spanward_client.aclose()


def test_two_loops_one_after_the_other_each_get_their_own_client(stub: Stub) -> None:
    stub.answer(ALLOW)

    async def once() -> bool:
        try:
            return (await spanward_client.acheck(model="gpt-5")).allowed
        finally:
            await spanward_client.aclose()

    assert asyncio.run(once())
    assert asyncio.run(once())
    assert stub.connections == 2


@pytest.mark.filterwarnings("ignore:.*scheduled after loop.shutdown_asyncgens:ResourceWarning")  # httpx's own.
def test_a_loop_that_is_used_on_after_its_end_gets_a_client_that_is_open(stub: Stub) -> None:
    """openai-agents' `run_sync` ends the generators of the default loop after each run and runs it again."""
    stub.answer(ALLOW)
    loop = asyncio.new_event_loop()
    try:
        for connections in (1, 2, 2):
            assert loop.run_until_complete(spanward_client.acheck(model="gpt-5")).allowed
            assert stub.connections == connections
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(spanward_client.aclose())
    finally:
        loop.close()


def test_what_is_exported_is_what_is_listed() -> None:
    public = {name for name in vars(spanward_client) if not name.startswith("_")}
    rooms = {"ambient", "asking", "client", "decision", "errors", "feedback", "gate", "governing", "holding", "otel"}
    rooms |= {"protocol", "settings", "settling", "spans"}
    assert public - rooms == set(spanward_client.__all__)
