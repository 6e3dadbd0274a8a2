"""`spanward.control.v1.Control`: the questions of `/v1/…` as protobuf messages.

Invariant: a message's fields have the names, units and texts of the struct of `schemas.control` they stand for, so
both doors give the same answer; a test compares the two.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from collector.control.doors.agents import check_tokens
from collector.control.doors.asking import Asker
from collector.control.doors.grpc.server import Call, Service
from collector.control.feedback.hub import Hub
from collector.control.feedback.stream import Event, Subscription
from schemas.control import BudgetView, Decision, DecisionRequest, HoldState, SettleRequest
from schemas.errors import Permanent
from schemas.kills import Ack
from schemas.protobuf import control_pb2 as pb

NAME = "spanward.control.v1.Control"


class ControlService:
    """The methods. Every one raises what the owner raises."""

    def __init__(self, asker: Asker, hub: Hub) -> None:
        self._asker = asker
        self._hub = hub
        self._owner = asker.owner

    def service(self) -> Service:
        """What is served."""
        methods = {
            "Decide": self._decide,
            "Settle": self._settle,
            "Void": self._void,
            "GetHold": self._hold,
            "ListBudgets": self._budgets,
        }
        return Service(NAME, methods, {"Feedback": self._feedback})

    async def _decide(self, call: Call) -> pb.Decision:
        message = call.read(pb.DecisionRequest)
        question = DecisionRequest(**(_fields(message) | {"labels": dict(message.labels)}))
        return _decision((await self._asker.ask(call.key, question)).decision)

    async def _settle(self, call: Call) -> pb.HoldState:
        credential = self._asker.authenticate(call.key)
        fields = _fields(call.read(pb.SettleRequest))
        hold_id = str(fields.pop("hold_id", ""))
        settlement = SettleRequest(**fields)
        check_tokens(input_tokens=settlement.input_tokens, output_tokens=settlement.output_tokens)
        return _hold_state(await self._owner.settle(credential, hold_id, settlement))

    async def _void(self, call: Call) -> pb.HoldState:
        credential = self._asker.authenticate(call.key)
        return _hold_state(await self._owner.void(credential, call.read(pb.VoidRequest).hold_id))

    async def _hold(self, call: Call) -> pb.HoldState:
        credential = self._asker.authenticate(call.key)
        return _hold_state(await self._owner.hold(credential, call.read(pb.GetHoldRequest).hold_id))

    async def _budgets(self, call: Call) -> pb.ListBudgetsResponse:
        credential = self._asker.authenticate(call.key)
        message = call.read(pb.ListBudgetsRequest)
        scope = message.scope if message.HasField("scope") else None
        views = await self._owner.budgets(credential, scope)
        return pb.ListBudgetsResponse(budgets=[_budget(view) for view in views])

    async def _feedback(self, calls: AsyncIterator[Call]) -> AsyncIterator[pb.FeedbackEvent]:
        first = await anext(calls, None)
        if first is None:
            raise Permanent("A feedback stream begins with a message.", fix="Say in `client` who listens.")
        opening = first.read(pb.FeedbackRequest)
        events = await self._hub.subscribe(first.key, opening.client, opening.last_event_id)
        acks = asyncio.create_task(self._acknowledge(calls, opening.client))
        try:
            while waiting := await _next(events, acks):
                for event in waiting:
                    yield pb.FeedbackEvent(id=event.id, **{event.name: msgspec.json.decode(event.data)})
        finally:
            acks.cancel()
            events.close()

    async def _acknowledge(self, calls: AsyncIterator[Call], client: str) -> None:
        async for call in calls:
            message = call.read(pb.FeedbackRequest)
            self._hub.ack(call.key, Ack(client, message.epoch, message.drill_id))


async def _next(events: Subscription, acks: asyncio.Task[None]) -> list[Event]:
    """What waits; raises what is wrong with an acknowledgement, which ends the stream."""
    if acks.done():
        # A client that says no more still listens.
        acks.result()
        return await events.take()
    taking = asyncio.create_task(events.take())
    try:
        await asyncio.wait((taking, acks), return_when=asyncio.FIRST_COMPLETED)
        if acks.done():
            acks.result()
        return await taking
    finally:
        taking.cancel()


def _fields(message: pb.DecisionRequest | pb.SettleRequest) -> dict[str, Any]:
    """The fields that were set, by name; the others keep the struct's defaults."""
    return {field.name: value for field, value in message.ListFields()}


def _decision(decision: Decision) -> pb.Decision:
    return pb.Decision(**msgspec.to_builtins(decision))


def _hold_state(state: HoldState) -> pb.HoldState:
    return pb.HoldState(**msgspec.to_builtins(state))


def _budget(view: BudgetView) -> pb.BudgetView:
    return pb.BudgetView(**msgspec.to_builtins(view))
