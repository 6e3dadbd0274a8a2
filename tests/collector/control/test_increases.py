"""Limits that are higher for a while, and the forecast of when a limit is reached."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from collector.governance.windows import slot_of, utc_text
from tests.collector.control.owned import TRIAGE, Owned, OwnerProcess

START = Callable[..., Owned]
PATH = "/v1/admin/budgets/increases"
DAILY = "budget.daily.acme"
WISH = {"scope": "acme", "window": "daily", "usd": "0.02", "reason": "the quarter ends"}


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def verdict(owner: Owned) -> tuple[str, str]:
    answer = owner.ask()
    return answer["verdict"], answer["reasons"][0]["rule"]


def increased(owner: Owned, **wish: object) -> dict[str, Any]:
    answer = owner.post(PATH, WISH | {"until": soon(3600)} | wish, key=owner.admin)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_increase_holds_at_once_and_ends_by_itself(start: START) -> None:
    """LiteLLM #34270, #34492: a changed limit is not measured anew; #27735: refused although there is room."""
    owner = start(limits={"acme": {"daily": "0.01"}})
    assert verdict(owner) == ("deny", DAILY)
    made = increased(owner, until=soon(2))
    assert verdict(owner) == ("allow", "budget.within")
    assert owner.get("/v1/budgets").json()["budgets"][0]["limit"] == "0.030000000"
    owner.eventually(lambda: owner.get("/v1/budgets").json()["budgets"][0]["limit"] == "0.010000000")
    assert verdict(owner) == ("deny", DAILY)
    entries = [event.row for event in owner.events("governance") if str(event.row["action"]).startswith("budget.")]
    assert [entry["action"] for entry in entries] == ["budget.increase", "budget.increase_ended"]
    assert entries[0]["org"] == "acme"
    assert str(entries[0]["actor"]).startswith("user:")
    detail = msgspec.json.decode(str(entries[0]["detail"]))
    assert (detail["id"], detail["reason"], detail["until"]) == (made["id"], "the quarter ends", made["until"])


def test_increases_of_one_limit_add_up_and_survive_kill_9(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare(limits={"acme": {"daily": {"usd": "0.01", "tokens": 100}}}).start()
    increased(owner)
    increased(owner, usd=None, tokens=7000)
    increased(owner, usd="0.005", tokens=10)
    owner.kill()
    owner.start()
    limits = {view["unit"]: view["limit"] for view in owner.get("/v1/budgets").json()["budgets"]}
    assert limits == {"usd": "0.035000000", "tokens": "7110"}
    listed = owner.get("/v1/admin/budgets", key=owner.admin).json()["increases"]
    assert [(each["usd"], each["tokens"]) for each in listed] == [
        ("0.020000000", 0), ("0.000000000", 7000), ("0.005000000", 10),
    ]  # fmt: skip
    assert verdict(owner) == ("allow", "budget.within")


def test_a_changed_file_keeps_the_increase_on_top(start: START) -> None:
    owner = start(limits={"acme": {"daily": "0.01"}})
    increased(owner)
    owner.govern({"acme": {"daily": "0.5"}})
    owner.eventually(lambda: owner.get("/v1/budgets").json()["budgets"][0]["limit"] == "0.520000000")


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"scope": "acme/sales"}, "acme/sales has no daily limit in usd that could be increased."),
        ({"window": "monthly"}, "acme has no monthly limit in usd"),
        ({"tokens": 5}, "acme has no daily limit in tokens"),
        ({"usd": None}, "The increase adds nothing."),
        ({"usd": "lots"}, "`$.usd`: 'lots' is not an amount in USD."),
        ({"usd": "-5"}, "`$.usd`: '-5' is not an amount"),
        ({"tokens": -1}, "`$.tokens` is -1."),
        ({"reason": " "}, "`$.reason` is empty or too long."),
        ({"until": "tomorrow"}, "`$.until`: 'tomorrow' is not a time."),
        ({"until": "2020-01-01"}, "`$.until` is 2020-01-01, and an increase ends within 366 days from now."),
        ({"until": "9999-01-01"}, "an increase ends within 366 days from now."),
    ],
)
def test_an_increase_that_cannot_be_is_refused_with_the_field(
    start: START, wish: dict[str, object], message: str
) -> None:
    owner = start(limits={"acme": {"daily": "0.01"}})
    answer = owner.post(PATH, WISH | {"until": soon(60)} | wish, key=owner.admin)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert verdict(owner) == ("deny", DAILY)


def test_an_agent_raises_no_limit_and_sees_no_list(start: START) -> None:
    owner = start(limits={"acme": {"daily": "0.01"}})
    assert owner.post(PATH, WISH | {"until": soon(60)}).status_code == 403
    assert owner.get("/v1/admin/budgets").status_code == 403


def test_only_this_machines_own_commands_say_who_acts(start: START) -> None:
    owner = start(limits={"acme": {"daily": "0.01"}})
    by_token = increased(owner, actor="user:somebody-else")["actor"]
    assert by_token.startswith("user:")
    assert "somebody-else" not in by_token
    local = owner.post(PATH, WISH | {"until": soon(60), "actor": "user:ann@laptop"}, key="operator").json()
    assert local["actor"] == "user:ann@laptop"


def test_the_forecast_is_when_the_last_hour_reaches_the_limit(start: START) -> None:
    owner = start(limits={"acme": {"daily": "1", "monthly": "1000000"}, TRIAGE: {"daily": {"tokens": 10}}})
    now = time.time_ns()
    # The quarter that runs, and one before the hour that counts.
    owner.book(spends=[(TRIAGE, slot_of(now), 900_000_000, 10), (TRIAGE, slot_of(now) - 2 * 3600 * 10**9, 1, 0)])
    views = {(v["scope"], v["window"]): v for v in owner.get("/v1/budgets").json()["budgets"]}
    since = slot_of(now) - 45 * 60 * 10**9
    left = int(float(views["acme", "daily"]["remaining"]) * 10**9)
    at = now + left * (now - since) // 900_000_000
    resets = views["acme", "daily"]["resets_at"]
    expected = {utc_text(at + s * 10**9) for s in (0, 1, 2)} if utc_text(at) < resets else {None}
    assert views["acme", "daily"]["forecast_exhausted_at"] in expected
    assert views["acme", "monthly"]["forecast_exhausted_at"] is None, "not before its reset"
    # What is used up already is so now.
    assert views[TRIAGE, "daily"]["forecast_exhausted_at"] >= utc_text(now)
    assert "forecast_exhausted_at" not in owner.ask()["budgets"][0], "not on the way of a decision"
