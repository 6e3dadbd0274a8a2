"""A question → a decision, over one kept connection; sync and async.

Invariant: one question is at most two requests (a connection that broke is tried once more), both
with one idempotency key, so an action is never held twice. A time-out is not tried again. Building
requests and reading answers is left to `protocol`.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Self, Unpack
from urllib.parse import quote, urlsplit

import httpx

from spanward_client.decision import Decision, HoldState, passed_unjudged
from spanward_client.errors import Unavailable
from spanward_client.holding import CALL_ACTION, AsyncHold, Hold, working_under
from spanward_client.protocol import (
    DECISIONS_PATH,
    HOLDS_PATH,
    Actual,
    Question,
    ask_body,
    finish_body,
    headers,
    may_be_stale,
    read_answer,
    read_finished,
    read_hold,
    settle_body,
    unreachable,
)
from spanward_client.settings import Settings
from spanward_client.spans import without_spans

_log = logging.getLogger("spanward_client")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Client:
    """A connection to the control endpoint. Threads may share one; processes may not."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_env()
        self._http = httpx.Client(
            base_url=self.settings.endpoint,
            timeout=self.settings.timeout_s,
            trust_env=may_use_proxy(self.settings),
        )

    def check(self, **question: Unpack[Question]) -> Decision:
        """Ask whether an action may happen, and hold its cost; see `spanward_client.check`."""
        body = ask_body(question, self.settings)
        try:
            return read_answer(self._post(DECISIONS_PATH, body))
        except Unavailable as error:
            return _without_answer(self.settings, error)

    @contextmanager
    def hold(self, **question: Unpack[Question]) -> Iterator[Hold]:
        """Work under a decision; see `spanward_client.hold`."""
        decision = self.check(**question)
        with working_under(decision, question.get("action", CALL_ACTION)):
            yield Hold(self, decision)

    def settle(self, hold_id: str, **actual: Unpack[Actual]) -> HoldState | None:
        """Book the true cost of a hold; see `Hold.settle`."""
        return self._finish(hold_id, "settle", settle_body(actual))

    def void(self, hold_id: str) -> HoldState | None:
        """Give a hold's money back; see `Hold.void`."""
        return self._finish(hold_id, "void", {})

    def finish(self, outcomes: Mapping[str, Actual | None]) -> Mapping[str, str]:
        """Settle or, where there is `None`, void up to 200 holds at once; returns those that could not be, and why.

        Raises `Rejected`, `Unavailable`.
        """
        return read_finished(self._post(HOLDS_PATH, finish_body(outcomes)))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, hold_id: str, verb: str, body: Mapping[str, object]) -> HoldState | None:
        try:
            return read_hold(self._post(_hold_path(hold_id, verb), body))
        except Unavailable as error:
            _leave_open(self.settings, hold_id, error)
            return None

    def _post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        authorization = headers(self.settings)
        with without_spans():
            try:
                return self._http.post(path, json=body, headers=authorization)
            except httpx.HTTPError as error:
                if not may_be_stale(error):
                    raise unreachable(self.settings, error) from error
            try:
                return self._http.post(path, json=body, headers=authorization)
            except httpx.HTTPError as error:
                raise unreachable(self.settings, error) from error


class AsyncClient:
    """`Client` for `asyncio`. Belongs to the event loop it is first used in."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_env()
        self._http = httpx.AsyncClient(
            base_url=self.settings.endpoint,
            timeout=self.settings.timeout_s,
            trust_env=may_use_proxy(self.settings),
        )

    async def check(self, **question: Unpack[Question]) -> Decision:
        """As `Client.check`."""
        body = ask_body(question, self.settings)
        try:
            return read_answer(await self._post(DECISIONS_PATH, body))
        except Unavailable as error:
            return _without_answer(self.settings, error)

    @asynccontextmanager
    async def hold(self, **question: Unpack[Question]) -> AsyncIterator[AsyncHold]:
        """As `Client.hold`, for `async with`."""
        decision = await self.check(**question)
        with working_under(decision, question.get("action", CALL_ACTION)):
            yield AsyncHold(self, decision)

    async def settle(self, hold_id: str, **actual: Unpack[Actual]) -> HoldState | None:
        """As `Client.settle`."""
        return await self._finish(hold_id, "settle", settle_body(actual))

    async def void(self, hold_id: str) -> HoldState | None:
        """As `Client.void`."""
        return await self._finish(hold_id, "void", {})

    async def aclose(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _finish(self, hold_id: str, verb: str, body: Mapping[str, object]) -> HoldState | None:
        try:
            return read_hold(await self._post(_hold_path(hold_id, verb), body))
        except Unavailable as error:
            _leave_open(self.settings, hold_id, error)
            return None

    async def _post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        authorization = headers(self.settings)
        with without_spans():
            try:
                return await self._http.post(path, json=body, headers=authorization)
            except httpx.HTTPError as error:
                if not may_be_stale(error):
                    raise unreachable(self.settings, error) from error
            try:
                return await self._http.post(path, json=body, headers=authorization)
            except httpx.HTTPError as error:
                raise unreachable(self.settings, error) from error


def may_use_proxy(settings: Settings) -> bool:
    """Proxy variables count for a distant server only: HTTP_PROXY without NO_PROXY would send loopback astray."""
    return urlsplit(settings.endpoint).hostname not in _LOOPBACK


def _hold_path(hold_id: str, verb: str) -> str:
    return f"{HOLDS_PATH}/{quote(hold_id, safe='')}/{verb}"


def _without_answer(settings: Settings, error: Unavailable) -> Decision:
    """What no answer means. Failing open is the user's choice, and each time it happens is said."""
    if settings.fail_mode == "closed":
        raise error
    _log.warning("%s The fail mode is open: the action goes ahead unjudged.", error)
    return passed_unjudged(error.what)


def _leave_open(settings: Settings, hold_id: str, error: Unavailable) -> None:
    """A hold that could not be finished is settled by its span or by its expiry, so open need not fail."""
    if settings.fail_mode == "closed":
        raise error
    _log.warning("%s Hold %s is left to its span or its expiry.", error, hold_id)
