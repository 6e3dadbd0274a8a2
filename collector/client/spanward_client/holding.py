"""A decision → the hold an agent works under, known to the spans it starts.

Invariant: money is never given back on a guess. A hold that ends without `settle` or `void` stays
open: the call's span settles it with the true cost when it arrives, and if none comes the server
posts the held amount as estimated when it expires. Asking is left to `client`.
"""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol, Unpack

from spanward_client.decision import Decision, HoldState
from spanward_client.protocol import Actual

CALL_ACTION = "llm.call"

_decision_id: ContextVar[str] = ContextVar("spanward.decision.id", default="")

# One item while a hold for a model call has not been used by a call yet; shared by the tasks under it.
_uncalled: ContextVar[list[Decision]] = ContextVar("spanward.uncalled")


def current_decision_id() -> str:
    """Id of the decision the running code works under; empty outside `hold`.

    Threads and tasks see what their context holds: `asyncio` tasks and `asyncio.to_thread` inherit
    it, a bare `threading.Thread` does not (run it in `contextvars.copy_context()`).
    """
    return _decision_id.get()


@contextmanager
def working_under(decision: Decision, action: str = CALL_ACTION) -> Iterator[None]:
    """Make the decision's id the current one; a decision on a model call answers for the first call inside."""
    id_token = _decision_id.set(decision.decision_id)
    uncalled_token = _uncalled.set([decision] if action == CALL_ACTION else [])
    try:
        yield
    finally:
        # A generator that is resumed in another context (a streamed web response, say) leaves the hold
        # there. The context that was changed is gone, so nothing is left to restore.
        with suppress(ValueError):
            _uncalled.reset(uncalled_token)
            _decision_id.reset(id_token)


def take_call() -> Decision | None:
    """The decision the running code asked for its next model call, once; a retry or a second call asks anew."""
    try:
        return _uncalled.get().pop()
    except (LookupError, IndexError):
        return None


class Settles(Protocol):
    """The part of a client a `Hold` needs."""

    def settle(self, hold_id: str, **actual: Unpack[Actual]) -> HoldState | None:
        """Book the true cost."""

    def void(self, hold_id: str) -> HoldState | None:
        """Give the money back."""


class AsyncSettles(Protocol):
    """The part of an async client an `AsyncHold` needs."""

    def settle(self, hold_id: str, **actual: Unpack[Actual]) -> Awaitable[HoldState | None]:
        """Book the true cost."""

    def void(self, hold_id: str) -> Awaitable[HoldState | None]:
        """Give the money back."""


class Hold:
    """Room in the budgets for one action, from `with hold(...)`."""

    def __init__(self, client: Settles, decision: Decision) -> None:
        self._client = client
        self.decision = decision

    def settle(self, **actual: Unpack[Actual]) -> HoldState | None:
        """Book what the action really cost: `cost_usd`, or `input_tokens` and `output_tokens`.

        Not needed when the call's span goes to Spanward. Returns `None` when nothing was held, or
        when the server is away and the fail mode is open. Raises `Rejected`, `Unavailable`.
        """
        return self._client.settle(self.decision.hold.id, **actual) if self.decision.hold else None

    def void(self) -> HoldState | None:
        """Give the money back. Only for a request that was *never sent*: after that the provider may charge.

        Returns and raises as `settle` does.
        """
        return self._client.void(self.decision.hold.id) if self.decision.hold else None


class AsyncHold:
    """Room in the budgets for one action, from `async with hold(...)`."""

    def __init__(self, client: AsyncSettles, decision: Decision) -> None:
        self._client = client
        self.decision = decision

    async def settle(self, **actual: Unpack[Actual]) -> HoldState | None:
        """As `Hold.settle`."""
        return await self._client.settle(self.decision.hold.id, **actual) if self.decision.hold else None

    async def void(self) -> HoldState | None:
        """As `Hold.void`."""
        return await self._client.void(self.decision.hold.id) if self.decision.hold else None
