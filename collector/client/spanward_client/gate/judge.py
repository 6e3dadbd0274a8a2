"""A model call → a permit, or the refusal that says why not.

The order: the local kill state, a decision the code already asked for with `hold`, then the server.
Invariant: one permit is one call; what becomes of its hold is handed over in the background and only
when it is known: the usage of a whole answer settles, a call that was certainly not charged voids,
and everything else stays held for its span or its expiry.
"""

import asyncio
import time

from spanward_client.ambient import async_client, sync_client
from spanward_client.asking import aask, ask, refuse_killed
from spanward_client.decision import Decision
from spanward_client.gate.recognise import ModelCall
from spanward_client.gate.usage import Usage
from spanward_client.holding import CALL_ACTION, take_call
from spanward_client.protocol import Question
from spanward_client.settling import settle_soon, void_soon
from spanward_client.spans import mark_span

NOT_CHARGED = frozenset((400, 401, 403, 404, 413, 422, 429))
"""Statuses by which a provider says that it generated nothing. After any other error it may have."""


class Permit:
    """Leave for one call. `hold_id` is empty when nothing was held, or when the code holds for itself."""

    def __init__(self, hold_id: str) -> None:
        self._hold_id = hold_id

    def answered(self, usage: Usage | None) -> None:
        """The answer was read to its end; without usage its span or its expiry tells."""
        if self._hold_id and usage is not None:
            settle_soon(self._hold_id, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    def failed(self, status: int) -> None:
        """The provider answered with an error status."""
        if status in NOT_CHARGED:
            self.unsent()

    def unsent(self) -> None:
        """The request certainly reached nobody, or was refused before anything was generated."""
        if self._hold_id:
            void_soon(self._hold_id)


def admit(call: ModelCall) -> Permit:
    """Ask for the call; raises the `SpanwardError` that forbids it."""
    sent_at_ns = time.time_ns()
    question = _question(call)
    refuse_killed(sync_client().settings, question)
    held = take_call()
    if held is not None:
        return _permit(held, sent_at_ns, ours=False)
    return _permit(ask(question), sent_at_ns, ours=True)


async def aadmit(call: ModelCall) -> Permit:
    """As `admit`, without blocking the event loop. Outside `asyncio` (in trio) it blocks while it asks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return admit(call)
    sent_at_ns = time.time_ns()
    question = _question(call)
    refuse_killed((await async_client()).settings, question)
    held = take_call()
    if held is not None:
        return _permit(held, sent_at_ns, ours=False)
    return _permit(await aask(question), sent_at_ns, ours=True)


def _question(call: ModelCall) -> Question:
    """What to ask. Without an idempotency key: each attempt is a call of its own, and may be charged as one."""
    return Question(
        action=CALL_ACTION,
        model=call.model,
        provider=call.provider,
        input_tokens=call.input_tokens,
        max_output_tokens=call.max_output_tokens,
    )


def _permit(decision: Decision, sent_at_ns: int, *, ours: bool) -> Permit:
    if decision.judged:
        mark_span(decision.decision_id, sent_at_ns)
    return Permit(decision.hold.id if ours and decision.hold is not None else "")
