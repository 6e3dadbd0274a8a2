"""The control service over gRPC gives the answers HTTP gives, and a status that is exact."""

from collections.abc import Callable
from typing import Any

import grpc
import msgspec
import pytest

from schemas import control, kills
from schemas.protobuf import control_pb2 as pb
from tests.collector.control.doors.calling import Caller
from tests.collector.control.owned import CALL, CALL_USD, OwnerProcess

SERVICE = "spanward.control.v1.Control"
FIELDS: dict[str, Any] = CALL
QUESTION = pb.DecisionRequest(**FIELDS)


def decide(caller: Caller, **metadata: str) -> pb.Decision:
    return caller(f"{SERVICE}/Decide", QUESTION, pb.Decision, **metadata)


PAIRS = [
    (control.DecisionRequest, pb.DecisionRequest, set()),
    (control.Decision, pb.Decision, set()),
    (control.Reason, pb.Reason, set()),
    (control.HoldView, pb.HoldView, set()),
    (control.HoldState, pb.HoldState, set()),
    (control.BudgetView, pb.BudgetView, set()),
    (control.SettleRequest, pb.SettleRequest, {"hold_id"}),
    (kills.Kill, pb.Kill, set()),
    (kills.Snapshot, pb.FeedbackEvent.Snapshot, set()),
    (kills.KillsEvent, pb.FeedbackEvent.Kills, set()),
    (kills.BudgetsEvent, pb.FeedbackEvent.Budgets, set()),
    (kills.PolicyEvent, pb.FeedbackEvent.Policy, set()),
    (kills.DrillEvent, pb.FeedbackEvent.Drill, set()),
    (kills.KeyEvent, pb.FeedbackEvent.Key, set()),
    (kills.EndEvent, pb.FeedbackEvent.End, set()),
    (kills.Ack, pb.FeedbackRequest, {"last_event_id"}),
]


@pytest.mark.parametrize(("struct", "message", "extra"), PAIRS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_message_has_the_fields_of_the_struct_it_stands_for(
    struct: type[msgspec.Struct], message: type[pb.Decision], extra: set[str]
) -> None:
    assert set(message.DESCRIPTOR.fields_by_name) - extra == set(struct.__struct_fields__) - extra


def test_a_decision_is_the_same_by_both_doors(grpc_call: Caller, owner: OwnerProcess) -> None:
    ours, http = decide(grpc_call), owner.ask()
    assert (ours.verdict, ours.hold.amount_usd, ours.hold.basis) == ("allow", CALL_USD, http["hold"]["basis"])
    assert [reason.rule for reason in ours.reasons] == [reason["rule"] for reason in http["reasons"]]
    assert [(each.scope, each.limit, each.resets_at) for each in ours.budgets] == [
        (each["scope"], each["limit"], each["resets_at"]) for each in http["budgets"]
    ]


def test_a_hold_is_settled_and_voided(grpc_call: Caller) -> None:
    first, second = decide(grpc_call).hold.id, decide(grpc_call).hold.id
    settle = pb.SettleRequest(hold_id=first, input_tokens=1000, output_tokens=0)
    settled = grpc_call(f"{SERVICE}/Settle", settle, pb.HoldState)
    assert (settled.state, settled.settled_usd) == ("settled", "0.002500000")
    voided = grpc_call(f"{SERVICE}/Void", pb.VoidRequest(hold_id=second), pb.HoldState)
    assert (voided.state, voided.HasField("settled_usd")) == ("void", False)
    assert grpc_call(f"{SERVICE}/GetHold", pb.GetHoldRequest(hold_id=first), pb.HoldState) == settled


def test_budgets_are_those_the_key_may_see(grpc_call: Caller) -> None:
    answer = grpc_call(f"{SERVICE}/ListBudgets", pb.ListBudgetsRequest(), pb.ListBudgetsResponse)
    assert [(each.scope, each.window, each.limit) for each in answer.budgets] == [("acme", "daily", "10.000000000")]


Wrong = Callable[[Caller, OwnerProcess], object]
REFUSED: dict[str, tuple[Wrong, grpc.StatusCode, str]] = {
    "no key": (lambda caller, _: decide(caller, a="b"), grpc.StatusCode.UNAUTHENTICATED, "No key was sent"),
    "an admin token": (
        lambda caller, owner: decide(caller, **{"x-api-key": owner.admin}),
        grpc.StatusCode.PERMISSION_DENIED,
        "spanward keys create",
    ),
    "bytes that are no message": (
        lambda caller, _: caller(f"{SERVICE}/Decide", b"\xff\xff", pb.Decision),
        grpc.StatusCode.INVALID_ARGUMENT,
        "no spanward.control.v1.DecisionRequest",
    ),
    "less than no tokens": (
        lambda caller, _: caller(f"{SERVICE}/Decide", pb.DecisionRequest(input_tokens=-1), pb.Decision),
        grpc.StatusCode.INVALID_ARGUMENT,
        "`$.input_tokens` is -1",
    ),
    "an empty action": (
        lambda caller, _: caller(f"{SERVICE}/Decide", pb.DecisionRequest(action=""), pb.Decision),
        grpc.StatusCode.INVALID_ARGUMENT,
        "`$.action` is empty",
    ),
    "a hold of nobody": (
        lambda caller, _: caller(f"{SERVICE}/GetHold", pb.GetHoldRequest(hold_id="h"), pb.HoldState),
        grpc.StatusCode.NOT_FOUND,
        "hold.id",
    ),
    "a scope of somebody else": (
        lambda caller, _: caller(
            f"{SERVICE}/ListBudgets", pb.ListBudgetsRequest(scope="globex"), pb.ListBudgetsResponse
        ),
        grpc.StatusCode.PERMISSION_DENIED,
        "Ask for one of",
    ),
    "a settlement of nothing": (
        lambda caller, _: caller(f"{SERVICE}/Settle", pb.SettleRequest(hold_id=decide(caller).hold.id), pb.HoldState),
        grpc.StatusCode.INVALID_ARGUMENT,
        "cost_usd",
    ),
    "a message over the limit": (
        lambda caller, _: caller(f"{SERVICE}/Decide", pb.DecisionRequest(model="m" * 9_000_000), pb.Decision),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "grpc_max_message",
    ),
}


@pytest.mark.parametrize(("wrong", "code", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_call_that_may_not_be_made_gets_its_exact_status(
    grpc_call: Caller, owner: OwnerProcess, wrong: Wrong, code: grpc.StatusCode, told: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        wrong(grpc_call, owner)
    assert caught.value.code() is code
    assert told in (caught.value.details() or "")
    assert decide(grpc_call).verdict == "allow"


def test_a_reused_idempotency_key_and_a_settled_hold_are_told_apart(grpc_call: Caller) -> None:
    grpc_call(f"{SERVICE}/Decide", pb.DecisionRequest(**FIELDS, idempotency_key="k"), pb.Decision)
    hold = decide(grpc_call).hold.id
    grpc_call(f"{SERVICE}/Void", pb.VoidRequest(hold_id=hold), pb.HoldState)
    for method, message, code in (
        ("Decide", pb.DecisionRequest(idempotency_key="k"), grpc.StatusCode.ALREADY_EXISTS),
        ("Settle", pb.SettleRequest(hold_id=hold, cost_usd="1"), grpc.StatusCode.FAILED_PRECONDITION),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            grpc_call(f"{SERVICE}/{method}", message, pb.Decision)
        assert caught.value.code() is code


def test_a_call_that_takes_too_long_ends_with_its_setting_named(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare(control={"grpc_endpoint": "127.0.0.1:0", "grpc_deadline": "1us"}).start()
    with Caller(owner.endpoints["control_grpc"], owner.key) as caller, pytest.raises(grpc.RpcError) as caught:
        decide(caller)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "grpc_deadline" in (caught.value.details() or "")
    assert owner.ask()["verdict"] == "allow"


def test_a_port_that_is_taken_is_an_error_that_names_the_setting(
    owner: OwnerProcess, prepare: Callable[..., OwnerProcess]
) -> None:
    other = prepare(control={"grpc_endpoint": owner.endpoints["control_grpc"]})
    with pytest.raises(AssertionError, match=r"extensions\.control\.grpc_endpoint: cannot listen"):
        other.start()
