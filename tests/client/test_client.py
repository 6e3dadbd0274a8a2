"""Asking a real server, synchronously: every answer becomes a decision or one typed exception."""

import logging
import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from spanward_client import (
    ApprovalRequired,
    BudgetExceeded,
    Client,
    Denied,
    Killed,
    Rejected,
    Settings,
    Unauthenticated,
    Unavailable,
)

from tests.client.answers import AGENT, ALLOW, BUDGET, DENY, SETTLED, VOID, denied, error
from tests.client.stub import Stub


def test_a_question_arrives_as_asked_and_with_the_key(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    with Client(settings) as client:
        decision = client.check(
            model="gpt-5",
            provider="openai",
            input_tokens=1200,
            max_output_tokens=400,
            labels={"ticket": "T-1"},
            idempotency_key="ask-1",
        )
    assert decision.decision_id == "dec-1"
    assert stub.asked[0].path == "/v1/decisions"
    assert stub.asked[0].headers["authorization"] == "Bearer key-1"
    assert stub.asked[0].body == {
        "model": "gpt-5",
        "provider": "openai",
        "input_tokens": 1200,
        "max_output_tokens": 400,
        "labels": {"ticket": "T-1"},
        "idempotency_key": "ask-1",
    }


def test_what_is_not_known_is_left_out_and_the_idempotency_key_is_made_up(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    with Client(settings) as client:
        client.check(model="gpt-5", max_output_tokens=None, labels=None)
        client.check(model="gpt-5", idempotency_key=None)
    first, second = (asked.body for asked in stub.asked)
    assert first.keys() == {"model", "idempotency_key"}
    assert first["idempotency_key"] != second["idempotency_key"]


def test_a_word_that_is_not_a_question_is_a_type_error(settings: Settings) -> None:
    with Client(settings) as client, pytest.raises(TypeError, match=r"max_tokens.*max_output_tokens"):
        client.check(max_tokens=5)  # type: ignore[call-arg]


def test_one_connection_serves_many_questions(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    with Client(settings) as client:
        for _ in range(5):
            client.check(model="gpt-5")
    assert stub.connections == 1


def test_a_budget_without_room_says_whose_how_much_is_left_and_when_it_resets(stub: Stub, settings: Settings) -> None:
    stub.answer(DENY)
    with Client(settings) as client, pytest.raises(BudgetExceeded) as caught:
        client.check(model="gpt-5")
    no = caught.value
    assert no.scope == AGENT
    assert no.rule == f"budget.daily.{AGENT}"
    assert no.decision_id == "dec-2"
    assert no.resets_at == datetime(2026, 11, 25, tzinfo=UTC)
    assert no.remaining_usd == Decimal("0.199999999")
    assert no.fix == "Wait for the reset, or raise budgets.daily.usd."
    assert str(no) == f"{no.reason} {no.fix}"
    assert no.reason.endswith("It resets at 2026-11-25T00:00:00Z.")


def test_a_refusal_that_does_not_say_when_it_resets_is_completed(stub: Stub, settings: Settings) -> None:
    stub.answer({**DENY, "reasons": [{"rule": f"budget.daily.{AGENT}", "message": "No room.", "fix": ""}]})
    with Client(settings) as client, pytest.raises(BudgetExceeded) as caught:
        client.check(model="gpt-5")
    assert str(caught.value) == f"No room. The daily budget of {AGENT} resets at 2026-11-25T00:00:00Z."


def test_of_several_full_budgets_the_one_that_resets_last_counts(stub: Stub, settings: Settings) -> None:
    month = {**BUDGET, "window": "monthly", "scope": "acme", "remaining": "0.3", "resets_at": "2026-12-01T00:00:00Z"}
    reasons = [
        {"rule": f"budget.daily.{AGENT}", "message": "The day is full.", "fix": ""},
        {"rule": "budget.monthly.acme", "message": "The month is full.", "fix": "Raise it."},
    ]
    stub.answer({**DENY, "reasons": reasons, "budgets": [BUDGET, month]})
    with Client(settings) as client, pytest.raises(BudgetExceeded) as caught:
        client.check(model="gpt-5")
    no = caught.value
    assert (no.scope, no.rule, no.remaining_usd) == ("acme", "budget.monthly.acme", Decimal("0.3"))
    assert no.resets_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert str(no).startswith("The month is full. The monthly budget of acme resets at 2026-12-01T00:00:00Z.")


def test_a_budget_refusal_without_budgets_still_says_why(stub: Stub, settings: Settings) -> None:
    stub.answer({**DENY, "budgets": []})
    with Client(settings) as client, pytest.raises(BudgetExceeded) as caught:
        client.check(model="gpt-5")
    assert (caught.value.scope, caught.value.resets_at, caught.value.remaining_usd) == ("", None, None)
    assert "0.199999999 USD left" in str(caught.value)


def test_a_budget_of_tokens_is_found_by_its_rule_and_has_no_room_in_usd(stub: Stub, settings: Settings) -> None:
    tokens = {**BUDGET, "unit": "tokens", "limit": "2000000", "settled": "1999000", "held": "0", "remaining": "1000"}
    answer = {**denied(f"budget.daily.tokens.{AGENT}"), "budgets": [BUDGET, tokens]}
    stub.answer(answer)
    with Client(settings) as client, pytest.raises(BudgetExceeded) as caught:
        client.check(model="gpt-5")
    assert caught.value.budget is not None
    assert (caught.value.budget.unit, caught.value.budget.remaining) == ("tokens", Decimal(1000))
    assert caught.value.remaining_usd is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (denied("kill.all.acme"), Killed),
        (denied("model.deny"), Denied),
        (denied("approval.quorum", verdict="approval_required"), ApprovalRequired),
        ({**DENY, "verdict": "a_verdict_of_tomorrow", "reasons": []}, Denied),
    ],
)
def test_every_verdict_that_is_not_allow_is_a_no(
    stub: Stub, settings: Settings, answer: dict[str, object], kind: type[Denied]
) -> None:
    stub.answer(answer)
    with Client(settings) as client, pytest.raises(Denied) as caught:
        client.check(model="gpt-5")
    assert type(caught.value) is kind
    assert caught.value.decision.decision_id == caught.value.decision_id
    assert str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthenticated), (403, Rejected), (400, Rejected), (404, Rejected), (413, Rejected)],
)
def test_an_error_of_the_asker_says_what_the_server_said(
    stub: Stub, settings: Settings, status: int, kind: type[Exception]
) -> None:
    stub.answer(error("nope", "The key is not known."), status=status)
    with Client(settings) as client, pytest.raises(kind, match=r"The key is not known\. Mend it\."):
        client.check(model="gpt-5")


def test_without_a_key_nothing_is_sent(stub: Stub) -> None:
    with Client(Settings(endpoint=stub.url)) as client, pytest.raises(Unauthenticated, match="SPANWARD_API_KEY"):
        client.check(model="gpt-5")
    assert stub.asked == []


@pytest.mark.parametrize("status", [302, 429, 500, 503])
def test_a_server_that_cannot_answer_is_unavailable(stub: Stub, settings: Settings, status: int) -> None:
    stub.answer(b"<html>busy</html>", status=status, headers={"retry-after": "3", "location": "/elsewhere"})
    with Client(settings) as client, pytest.raises(Unavailable, match=f"HTTP status {status}") as caught:
        client.check(model="gpt-5")
    assert caught.value.retry_after_s == 3


def test_an_answer_of_something_else_is_unavailable(stub: Stub, settings: Settings) -> None:
    stub.answer(b"<html>captive portal</html>")
    with Client(settings) as client, pytest.raises(Unavailable, match="not one of Spanward's"):
        client.check(model="gpt-5")


def test_a_body_that_cannot_be_decompressed_is_unavailable(stub: Stub, settings: Settings) -> None:
    stub.answer(b"not gzip", headers={"content-encoding": "gzip"})
    with Client(settings) as client, pytest.raises(Unavailable, match="could not be asked"):
        client.check(model="gpt-5")


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_there_means_no_when_the_fail_mode_is_closed() -> None:
    with Client(Settings(endpoint=closed_port(), api_key="key-1")) as client, pytest.raises(Unavailable, match="serve"):
        client.check(model="gpt-5")


def test_nobody_there_means_yes_when_the_fail_mode_is_open_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(endpoint=closed_port(), api_key="key-1", fail_mode="open")
    with caplog.at_level(logging.WARNING, "spanward_client"), Client(settings) as client:
        decision = client.check(model="gpt-5")
    assert decision.allowed
    assert not decision.judged
    assert decision.hold is None
    assert decision.reason.rule == "client.fail_open"
    assert "unjudged" in caplog.text


@pytest.mark.parametrize("answer", [DENY, denied("kill.org")])
def test_failing_open_never_turns_a_no_into_a_yes(stub: Stub, answer: dict[str, object]) -> None:
    stub.answer(answer)
    with Client(Settings(endpoint=stub.url, api_key="key-1", fail_mode="open")) as client, pytest.raises(Denied):
        client.check(model="gpt-5")


def test_failing_open_does_not_let_an_unknown_key_pass(stub: Stub) -> None:
    stub.answer(error("unauthenticated", "Who are you?"), status=401)
    settings = Settings(endpoint=stub.url, api_key="key-1", fail_mode="open")
    with Client(settings) as client, pytest.raises(Unauthenticated):
        client.check(model="gpt-5")


def test_a_server_that_stays_silent_is_given_up_and_not_asked_twice(stub: Stub) -> None:
    stub.answer(ALLOW).release.clear()
    settings = Settings(endpoint=stub.url, api_key="key-1", timeout_s=0.2)
    with Client(settings) as client, pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
        client.check(model="gpt-5")
    assert len(stub.asked) <= 1


def test_a_connection_that_breaks_is_tried_once_more_with_the_same_idempotency_key(
    stub: Stub, settings: Settings
) -> None:
    stub.answer(ALLOW).drops = 1
    with Client(settings) as client:
        assert client.check(model="gpt-5").decision_id == "dec-1"
    first, second = stub.asked
    assert first.body == second.body


def test_a_connection_that_breaks_twice_is_unavailable(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW).drops = 2
    with Client(settings) as client, pytest.raises(Unavailable):
        client.check(model="gpt-5")
    assert len(stub.asked) == 2


def test_proxy_variables_do_not_send_loopback_astray(
    stub: Stub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed_port())
    stub.answer(ALLOW)
    with Client(settings) as client:
        assert client.check(model="gpt-5").allowed


def test_threads_may_share_a_client(stub: Stub, settings: Settings) -> None:
    stub.answer(ALLOW)
    allowed: list[bool] = []
    with Client(settings) as client:
        threads = [
            threading.Thread(target=lambda: allowed.append(client.check(model="gpt-5").allowed)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert allowed == [True] * 8


@pytest.mark.parametrize(
    ("cost", "wire"),
    [(Decimal("0.410000001"), "0.410000001"), (Decimal("1E-9"), "0.000000001"), ("12.5", "12.5"), (3, "3")],
)
def test_a_settle_carries_the_cost_exactly(
    stub: Stub, settings: Settings, cost: Decimal | str | int, wire: str
) -> None:
    stub.answer(SETTLED)
    with Client(settings) as client:
        state = client.settle("hold 1/x", cost_usd=cost)
    assert stub.asked[0].path == "/v1/holds/hold%201%2Fx/settle"
    assert stub.asked[0].body == {"cost_usd": wire}
    assert state is not None
    assert (state.state, state.settled_usd) == ("settled", Decimal("0.410000001"))


def test_a_settle_by_tokens_lets_the_server_price(stub: Stub, settings: Settings) -> None:
    stub.answer(SETTLED)
    with Client(settings) as client:
        client.settle("hold-1", input_tokens=1100, output_tokens=80)
    assert stub.asked[0].body == {"input_tokens": 1100, "output_tokens": 80}


@pytest.mark.parametrize("cost", [0.1, True])
def test_a_float_is_not_money(stub: Stub, settings: Settings, cost: float) -> None:
    with Client(settings) as client, pytest.raises(TypeError, match="Decimal"):
        client.settle("hold-1", cost_usd=cost)  # type: ignore[arg-type]
    assert stub.asked == []


@pytest.mark.parametrize("cost", ["fifty", "NaN", "Infinity", "-1"])
def test_what_is_not_an_amount_is_not_sent(stub: Stub, settings: Settings, cost: str) -> None:
    with Client(settings) as client, pytest.raises(ValueError, match="not an amount"):
        client.settle("hold-1", cost_usd=cost)
    assert stub.asked == []


def test_a_settle_that_says_nothing_is_a_type_error(settings: Settings) -> None:
    with Client(settings) as client, pytest.raises(TypeError, match="cost_usd"):
        client.settle("hold-1")


def test_a_void_gives_the_money_back(stub: Stub, settings: Settings) -> None:
    stub.answer(VOID)
    with Client(settings) as client:
        state = client.void("hold-1")
    assert stub.asked[0].path == "/v1/holds/hold-1/void"
    assert state is not None
    assert (state.state, state.settled_usd) == ("void", None)
