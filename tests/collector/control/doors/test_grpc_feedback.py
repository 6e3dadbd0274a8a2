"""The feedback stream over gRPC: the same events as over HTTP, acknowledged on the same stream."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from schemas.protobuf import control_pb2 as pb
from tests.collector.control.doors.calling import Caller
from tests.collector.control.owned import OwnerProcess

FEEDBACK = "/spanward.control.v1.Control/Feedback"


class Listener:
    """One stream: `say` sends, iterating receives."""

    def __init__(self, caller: Caller, key: str) -> None:
        self._said: queue.Queue[pb.FeedbackRequest | None] = queue.Queue()
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = caller.channel.stream_stream(FEEDBACK)
        self._events = stream(self._messages(), metadata=(("x-api-key", key),), timeout=60)

    def say(self, **fields: Any) -> "Listener":  # noqa: ANN401 - the fields of one message
        self._said.put(pb.FeedbackRequest(**fields))
        return self

    def hear(self, kind: str) -> pb.FeedbackEvent:
        """The next event of that kind."""
        while True:
            event = pb.FeedbackEvent.FromString(next(self._events))
            if event.WhichOneof("event") == kind:
                return event

    def hang_up(self) -> None:
        self._said.put(None)
        self._events.cancel()

    def _messages(self) -> Iterator[bytes]:
        while (message := self._said.get()) is not None:
            yield message.SerializeToString()


@pytest.fixture
def listen(grpc_call: Caller, owner: OwnerProcess) -> Iterator[Listener]:
    listener = Listener(grpc_call, owner.key)
    yield listener
    listener.hang_up()


def kill(owner: OwnerProcess, **order: str) -> dict[str, Any]:
    answer = owner.post("/v1/admin/kills", {"scope": "llm", "reason": "test"} | order, key=owner.admin)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def release(owner: OwnerProcess, made: dict[str, Any]) -> None:
    path = f"/v1/admin/kills/{made['id']}/release"
    assert owner.post(path, {"reason": "over"}, key=owner.admin).status_code == 200


def test_the_state_comes_first_and_a_kill_at_once_and_its_acknowledgement_arrives(
    listen: Listener, owner: OwnerProcess
) -> None:
    snapshot = listen.say(client="one").hear("snapshot").snapshot
    assert "acme" in {budget.scope for budget in snapshot.budgets}
    made = kill(owner, target="acme/support/triage")
    told = listen.hear("kills").kills
    assert (told.epoch, [each.target for each in told.kills]) == (snapshot.epoch + 1, ["acme/support/triage"])
    assert told.kills[0].since == made["since"]
    listen.say(client="one", epoch=told.epoch)

    def acknowledged() -> bool:
        (listed,) = owner.get("/v1/admin/kills", key=owner.admin).json()["kills"]
        return bool(listed["acks"]["acked"] == 1)

    owner.eventually(acknowledged)
    release(owner, made)
    assert list(listen.hear("kills").kills.kills) == []


def test_a_client_resumes_after_the_last_event_it_saw(listen: Listener, grpc_call: Caller, owner: OwnerProcess) -> None:
    seen = listen.say(client="two").hear("snapshot").id
    listen.hang_up()
    made = kill(owner, target="acme/support/triage")
    again = Listener(grpc_call, owner.key).say(client="two", last_event_id=seen)
    assert [each.id for each in again.hear("kills").kills.kills] == [made["id"]]
    again.hang_up()
    release(owner, made)


def test_a_key_that_is_revoked_ends_its_stream_with_the_reason(grpc_call: Caller, owner: OwnerProcess) -> None:
    key = owner.new_key("acme/support/poor")
    listener = Listener(grpc_call, key).say(client="three")
    listener.hear("snapshot")
    owner.store.revoke(key.split("_")[2], actor="user:test", reason="test")
    assert listener.hear("key").key.state == "revoked"
    assert listener.hear("end").end.reason == "key"
    with pytest.raises(StopIteration):
        listener.hear("end")
    listener.hang_up()


@pytest.mark.parametrize(
    ("key", "said", "code"),
    [
        pytest.param("spw_agent_nobody", {"client": "x"}, grpc.StatusCode.UNAUTHENTICATED, id="a key nobody knows"),
        pytest.param("", {}, grpc.StatusCode.INVALID_ARGUMENT, id="a client without a name"),
        pytest.param("", {"client": "x", "ack": 99}, grpc.StatusCode.INVALID_ARGUMENT, id="an epoch yet to come"),
    ],
)
def test_a_stream_that_cannot_be_gets_its_exact_status(
    grpc_call: Caller, owner: OwnerProcess, key: str, said: dict[str, Any], code: grpc.StatusCode
) -> None:
    epoch = said.pop("ack", None)
    listener = Listener(grpc_call, key or owner.key).say(**said)
    if epoch is not None:
        listener.say(client="x", epoch=epoch)
    with pytest.raises(grpc.RpcError) as caught:
        listener.hear("end")
    assert caught.value.code() is code
    listener.hang_up()
    assert owner.ask()["verdict"] == "allow"
