"""The environment → the clients behind the module-level functions.

Invariant: one sync client a process and one async client an event loop, made when first needed. A
forked child starts with none: a connection shared by two processes would mix up their answers.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Unpack
from weakref import WeakKeyDictionary

from spanward_client.client import AsyncClient, Client
from spanward_client.decision import Decision
from spanward_client.holding import AsyncHold, Hold
from spanward_client.protocol import Question

_Kept = tuple[AsyncClient, AsyncGenerator[None, None]]


class _Opened:
    """What this process has opened. `lock` guards `sync`; `by_loop` is touched by each loop for itself."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start with nothing. The lock is new too: another thread may have held it at the fork."""
        self.lock = threading.Lock()
        self.sync: Client | None = None
        self.by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()


_opened = _Opened()


def sync_client() -> Client:
    """The process's client, from the environment at its first use; raises `SettingsError`."""
    with _opened.lock:
        if _opened.sync is None:
            _opened.sync = Client()
        return _opened.sync


async def async_client() -> AsyncClient:
    """The running loop's client, from the environment at its first use; raises `SettingsError`.

    It is closed with the loop: `asyncio.run` ends by finishing the generators that are still open.
    """
    loop = asyncio.get_running_loop()
    kept = _opened.by_loop.get(loop)
    if kept is None:
        client = AsyncClient()
        kept = _opened.by_loop[loop] = client, _closing(loop, client)
        # A loop that is used on after its end (some `run_sync` do) takes no more generators without a warning.
        if not getattr(loop, "_asyncgens_shutdown_called", False):
            await anext(kept[1])
    return kept[0]


async def _closing(loop: asyncio.AbstractEventLoop, client: AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _opened.by_loop.pop(loop, None)
        await client.aclose()


def check(**question: Unpack[Question]) -> Decision:
    """Ask whether an action may happen; returns only when it may.

    The answer holds the action's worst-case cost in every budget above the agent until the call's
    span arrives. Raises `BudgetExceeded`, `ApprovalRequired` or `Denied` when it may not,
    `Unauthenticated`, `Rejected`, and `Unavailable` when nobody answered and the fail mode is
    closed. Prefer `hold`, which also tells the span which decision it belongs to.
    """
    return sync_client().check(**question)


async def acheck(**question: Unpack[Question]) -> Decision:
    """As `check`, for `asyncio`."""
    return await (await async_client()).check(**question)


class Holding:
    """What `hold` returns: enter it with `with` or `async with`, once."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._entered = ExitStack()
        self._entered_async = AsyncExitStack()

    def __enter__(self) -> Hold:
        return self._entered.enter_context(sync_client().hold(**self._question))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._entered.__exit__(kind, error, trace)

    async def __aenter__(self) -> AsyncHold:
        client = await async_client()
        return await self._entered_async.enter_async_context(client.hold(**self._question))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered_async.__aexit__(kind, error, trace)


def hold(**question: Unpack[Question]) -> Holding:
    """Work under a decision, in a `with` or an `async with` statement.

    Asks as `check` does and raises what it raises, before the body runs. Inside, every span started
    carries the decision's id (see `spanward_client.otel`). When the body ends, nothing is sent: the
    span settles the hold. Call `h.settle(...)` for a call that has no span, and `h.void()` only for
    a request that was never sent.
    """
    return Holding(question)


def close() -> None:
    """Close the process's client. The next question reads the environment anew."""
    with _opened.lock:
        client, _opened.sync = _opened.sync, None
    if client is not None:
        client.close()


async def aclose() -> None:
    """Close the running loop's client; `asyncio.run` does so at its end."""
    kept = _opened.by_loop.pop(asyncio.get_running_loop(), None)
    if kept is not None:
        client, closing = kept
        await closing.aclose()
        await client.aclose()
