"""`spanward.control.v1.Control`: the questions of `/v1/…` as protobuf messages.

Invariant: a message's fields have the names, units and texts of the struct of `schemas.control` they stand for, so
both doors give the same answer; a test compares the two.
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec

from collector.control.doors.agents import check_tokens
from collector.control.doors.asking import Asker
from collector.control.doors.grpc.server import Call, Context, Service
from schemas.control import BudgetView, Decision, DecisionRequest, HoldState, SettleRequest
from schemas.protobuf import control_pb2 as pb

NAME = "spanward.control.v1.Control"


class ControlService:
    """The methods. Every one raises what the owner raises."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
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
        return Service(NAME, methods, {"Feedback": feedback})

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


async def feedback(_requests: AsyncIterator[bytes], context: Context) -> None:
    """The stream is not served over gRPC by this version."""
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED, "Feedback is not served over gRPC yet. Use GET /v1/feedback on the HTTP port."
    )


def _fields(message: pb.DecisionRequest | pb.SettleRequest) -> dict[str, Any]:
    """The fields that were set, by name; the others keep the struct's defaults."""
    return {field.name: value for field, value in message.ListFields()}


def _decision(decision: Decision) -> pb.Decision:
    return pb.Decision(**msgspec.to_builtins(decision))


def _hold_state(state: HoldState) -> pb.HoldState:
    return pb.HoldState(**msgspec.to_builtins(state))


def _budget(view: BudgetView) -> pb.BudgetView:
    return pb.BudgetView(**msgspec.to_builtins(view))
