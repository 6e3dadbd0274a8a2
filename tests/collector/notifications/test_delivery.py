"""Crossings of budgets → notices that arrive: each once in intent, at least once in fact, whatever fails meanwhile.

Complaints of others covered here: mlflow/mlflow#26054 (a crossing by backfill never alerts), LiteLLM
#3738, #3113 (the same alert again and again), #32597 (80/85/95 once a period).
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from collector.governance.windows import slot_of
from tests.collector.control.owned import CALL_NANO, TRIAGE, Owned, OwnerProcess, OwnerThread
from tests.collector.notifications.receivers import HttpReceiver, SlackReceiver

START = Callable[..., OwnerThread]
OPENED = Callable[..., Any]
DAY_NS = 86400 * 10**9
REACHED = [f"The daily budget of {TRIAGE} has reached {n} %" for n in (80, 90)]
USED_UP = f"The daily budget of {TRIAGE} is used up"


def told(receiver: HttpReceiver, **more: object) -> dict[str, object]:
    """A target of the receiver's, as `spanward.yaml` has it."""
    return {"name": "ops", "type": "slack", "url": receiver.url, "allow_private": True} | more


def settings(*targets: object, **more: object) -> dict[str, object]:
    return {"initial_interval": "20ms", "max_interval": "50ms", "targets": list(targets)} | more


def spend(owner: Owned, cost: int, *, at: int | None = None) -> None:
    owner.book(spends=[(TRIAGE, slot_of(time.time_ns() if at is None else at), cost)])


def waiting(owner: Owned) -> list[dict[str, Any]]:
    """What `spanward notify list` shows."""
    found: list[dict[str, Any]] = owner.get("/v1/admin/notices", key="operator").json()["deliveries"]
    return found


def limit(owner: Owned) -> str:
    """The agent's only limit."""
    (view,) = owner.get("/v1/budgets").json()["budgets"]
    return str(view["limit"])


def settled(owner: Owned) -> bool:
    """Nothing waits any more, and everything that was recorded has been routed."""
    time.sleep(0.3)
    return not waiting(owner)


def test_each_threshold_arrives_once_however_many_cross_it_at_once(start: START, opened: OPENED) -> None:
    """LiteLLM #3738, #3113, #32597: sixteen askers cross 80, 90 and 100 %, and go on asking."""
    slack = opened(SlackReceiver())
    owner = start(limits={TRIAGE: {"daily": "0.5"}}, notifications=settings(told(slack)))

    def ask() -> None:
        for _ in range(6):
            owner.ask()

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owner.eventually(lambda: len(slack.bodies) >= 3 and settled(owner))
    assert 16 * 6 * CALL_NANO > 500_000_000
    assert sorted(slack.titles()) == [*REACHED, USED_UP]
    assert slack.refused == []


def test_a_notice_says_which_budget_how_far_what_happens_until_when_and_how_to_raise_it(
    start: START, opened: OPENED
) -> None:
    slack = opened(SlackReceiver())
    owner = start(limits={TRIAGE: {"daily": "50"}}, notifications=settings(told(slack)))
    owner.resume()
    spend(owner, 45_250_000_000)
    owner.eventually(lambda: len(slack.bodies) == 2)
    text = slack.bodies[1]["blocks"][1]["text"]["text"]
    assert "45.25 USD are settled and 0.00 USD held of 50.00 USD, 90 % of the daily budget of" in text
    assert "Nothing is refused yet. It resets at 20" in text
    assert "budgets.daily.usd in governance/acme/support/agents/triage.yaml" in text
    spend(owner, 5_000_000_000)
    owner.eventually(lambda: len(slack.bodies) == 3)
    assert "Calls that do not fit are refused until it resets at" in slack.bodies[2]["text"]


def test_late_calls_of_a_past_day_tell_of_its_budget_once(start: START, opened: OPENED) -> None:
    """mlflow/mlflow#26054: a crossing by backfill never alerts."""
    slack = opened(SlackReceiver())
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.resume()
    for _ in range(3):
        spend(owner, 850_000_000, at=time.time_ns() - 3 * DAY_NS)
    owner.eventually(lambda: len(slack.bodies) >= 3 and settled(owner))
    assert slack.titles() == [*REACHED, USED_UP]
    assert "Late calls brought it there: the window ended at" in slack.bodies[0]["text"]


def test_a_raised_limit_is_told_anew_and_going_back_repeats_nothing(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver())
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: len(slack.bodies) == 1)
    for usd, arrived in (("2", 1), ("1.05", 2), ("1", 2)):
        owner.govern({TRIAGE: {"daily": usd}})
        owner.eventually(lambda usd=usd: limit(owner).startswith(usd))  # type: ignore[misc]
        owner.eventually(lambda arrived=arrived: len(slack.bodies) >= arrived and settled(owner))  # type: ignore[misc]
    limits = [body["text"].partition("held of ")[2].partition(" USD")[0] for body in slack.bodies]
    assert (slack.titles(), limits) == ([REACHED[0]] * 2, ["1.00", "1.05"])


def test_nothing_is_told_again_after_a_restart(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver())
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: len(slack.bodies) == 1 and settled(owner))
    owner.hang_up()
    owner.start().resume()
    spend(owner, 60_000_000)
    owner.eventually(lambda: len(slack.bodies) >= 2 and settled(owner))
    assert slack.titles() == REACHED


@pytest.mark.parametrize("answering", [False, True], ids=["before it arrived", "before the answer"])
def test_a_kill_between_commit_and_delivery_loses_no_notice(
    prepare: Callable[..., OwnerProcess],
    opened: OPENED,
    answering: bool,  # noqa: FBT001
) -> None:
    """At least once, with the same idempotency key: the receiver can tell a repetition."""
    slack = opened(SlackReceiver([] if answering else [503] * 1000, delay_s=2 if answering else 0))
    owner = prepare(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.start().resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: slack.asked >= 1)
    owner.kill()
    slack.answers, slack.delay_s = [], 0
    owner.start()
    owner.eventually(lambda: len(slack.bodies) >= 1 and settled(owner))
    assert set(slack.titles()) == {REACHED[0]}
    assert len({headers["idempotency-key"] for headers in slack.headers}) == 1


def test_a_target_that_fails_is_tried_again_until_it_takes_the_notice(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver([500, 429, 404, 302]))
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: len(slack.bodies) == 1)
    assert slack.asked == 5
    owner.eventually(lambda: not waiting(owner))


def test_a_dead_target_delays_no_other_and_no_decision(start: START, opened: OPENED) -> None:
    slack, silent = opened(SlackReceiver()), opened(SlackReceiver(delay_s=30))
    dead = told(silent, name="dead")
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(dead, told(slack), timeout="2s"))
    owner.resume()
    spend(owner, 950_000_000)
    owner.eventually(lambda: set(slack.titles()) == set(REACHED))
    assert owner.ask()["verdict"] == "allow"
    owner.eventually(lambda: any(row["error"] for row in waiting(owner) if row["target"] == "dead"))
    row = next(row for row in waiting(owner) if row["target"] == "dead" and row["error"])
    assert row["state"] == "pending"
    assert row["error"] == "It took longer than extensions.notifications.timeout (2 s)."


def test_what_cannot_be_delivered_is_given_up_with_a_ledger_entry(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver([500] * 1000))
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack), max_elapsed_time="300ms"))
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: any(row["state"] == "failed" for row in waiting(owner)))
    (event,) = [event for event in owner.events("governance") if event.row["action"] == "notification.failed"]
    assert (event.row["subject"], event.row["outcome"], event.row["actor"]) == ("ops", "error", "system:notifications")
    assert (event.row["org"], event.row["tenant"], event.row["agent"]) == ("acme", "support", "triage")
    assert "It answered 500: ok" in str(event.row["message"])
    asked = slack.asked
    time.sleep(0.3)
    assert slack.asked == asked


def test_more_than_the_backlog_holds_is_given_up_at_once(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver([500] * 1000))
    limit = settings(told(slack), max_backlog=1, initial_interval="1h", max_interval="1h")
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=limit)
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: slack.asked == 1 and bool(waiting(owner)[0]["attempts"]))
    spend(owner, 60_000_000)
    owner.eventually(lambda: len(waiting(owner)) == 2)
    assert [row["state"] for row in waiting(owner)] == ["pending", "failed"]
    assert "max_backlog (1)" in waiting(owner)[1]["error"]


def test_each_target_is_told_of_what_it_wants(start: START, opened: OPENED) -> None:
    wishes: tuple[dict[str, object], ...] = (
        {"scopes": ["other*"]},
        {"scopes": ["acme/support*"]},
        {"kinds": ["*.block"]},
        {"min_severity": "warning"},
    )
    receivers = [opened(SlackReceiver()) for _ in wishes]
    targets = [told(r, name=f"t{n}", **wish) for n, (r, wish) in enumerate(zip(receivers, wishes, strict=True))]
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(*targets))
    owner.resume()
    spend(owner, 1_000_000_000)
    owner.eventually(lambda: len(receivers[1].bodies) == 3 and settled(owner))
    assert [len(receiver.bodies) for receiver in receivers] == [0, 3, 1, 2]


def test_deliveries_to_a_target_that_is_gone_are_given_up(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver([500] * 1000))
    owner = start(limits={TRIAGE: {"daily": "1"}}, notifications=settings(told(slack)))
    owner.resume()
    spend(owner, 850_000_000)
    owner.eventually(lambda: bool(waiting(owner)))
    owner.hang_up()
    owner.settings["notifications"] = settings()
    owner.start()
    owner.eventually(lambda: [row["state"] for row in waiting(owner)] == ["failed"])
    assert waiting(owner)[0]["error"] == "The target is not configured any more."


def test_a_kill_and_its_release_are_told_once_each(start: START, opened: OPENED) -> None:
    slack = opened(SlackReceiver())
    owner = start(notifications=settings(told(slack, kinds=["kill*"])))
    order = {"scope": "all", "target": "platform", "reason": "every agent loops"}
    kill = owner.post("/v1/admin/kills", order, key="operator").json()
    owner.post("/v1/admin/kills", order, key="operator")
    owner.eventually(lambda: len(slack.bodies) == 1 and settled(owner))
    for _ in range(2):
        owner.post(f"/v1/admin/kills/{kill['id']}/release", {"reason": "mended"}, key="operator")
    owner.eventually(lambda: len(slack.bodies) >= 2 and settled(owner))
    assert slack.titles() == ["Killed: platform", "Kill of platform released"]
    assert f"every agent loops. It stays until somebody releases it: spanward kill release {kill['id']}" in str(
        slack.bodies[0]
    )
    assert slack.refused == []
