"""Governance files and keys that others change are in force within seconds; broken files change nothing."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.collector.control.owned import CALL_USD, TRIAGE, Owned, OwnerProcess, OwnerThread

START = Callable[..., OwnerThread]


def told(owner: Owned) -> list[tuple[object, object]]:
    return [(event.row["action"], event.row["outcome"]) for event in owner.events("governance")]


def gather(seen: list[Any], more: Iterable[Any]) -> list[Any]:
    seen.extend(more)
    return seen


def break_files(owner: Owned) -> None:
    (owner.data / "governance/acme/org.yaml").write_text("budgets: {daly: {usd: 1}}")


def test_a_new_limit_is_in_force_soon_and_recorded_with_its_digest(start: START) -> None:
    """LiteLLM #34270, #34492: adding a window blocks at once, because it does not know what was spent."""
    owner = start()
    owner.ask()
    assert told(owner) == [("governance.load", "ok")]
    owner.govern({TRIAGE: {"daily": "1", "monthly": "2"}})
    owner.eventually(lambda: len(owner.budgets()) == 2)
    assert set(owner.budgets().values()) == {("0.000000000", CALL_USD)}
    (event,) = owner.events("governance")
    assert len(str(event.row["subject"])) == 64
    assert event.row["actor"] == "system:governance"


def test_files_that_say_the_same_in_other_words_are_the_same_policy(start: START) -> None:
    owner = start(limits={"acme": {"daily": "5"}})
    assert len(told(owner)) == 1
    org = owner.data / "governance/acme/org.yaml"
    org.write_text("# a note\n" + org.read_text())
    owner.govern({"acme": {"daily": "6"}})
    owner.eventually(lambda: bool(owner.events("governance")))
    owner.hang_up()
    owner.start()
    assert told(owner) == []


def test_broken_files_change_nothing_and_are_reported_once(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    assert told(owner) == [("governance.load", "ok")]
    break_files(owner)
    events: list[tuple[object, object]] = []
    owner.eventually(lambda: bool(gather(events, told(owner))))
    assert owner.ask()["budgets"][0]["limit"] == "1.000000000"
    owner.govern({TRIAGE: {"daily": "3"}})
    owner.eventually(lambda: owner.ask()["budgets"][0]["limit"] == "3.000000000")
    assert events + told(owner) == [("governance.refuse", "error"), ("governance.load", "ok")]


def test_a_restart_with_broken_files_keeps_the_last_good_limits(start: START) -> None:
    owner = start(limits={TRIAGE: {"daily": "1"}})
    owner.ask()
    owner.hang_up()
    break_files(owner)
    owner.start()
    assert owner.ask()["budgets"][0]["limit"] == "1.000000000"
    assert ("governance.refuse", "error") in told(owner)


def test_a_first_start_with_broken_files_fails_with_file_line_and_word(prepare: Callable[..., OwnerProcess]) -> None:
    owner = prepare()
    break_files(owner)
    with pytest.raises(AssertionError, match=r"org\.yaml:1.*daly.*Did you mean 'daily'"):
        owner.start()


def test_a_changed_time_zone_moves_the_windows_and_keeps_the_money(start: START) -> None:
    limits = {TRIAGE: {"daily": "1"}}
    owner = start(limits=limits)
    before = owner.ask()["budgets"][0]["resets_at"]
    owner.govern(limits, zone="Asia/Kathmandu")
    owner.eventually(lambda: owner.get("/v1/budgets").json()["budgets"][0]["resets_at"] != before)
    view = owner.get("/v1/budgets").json()["budgets"][0]
    assert view["resets_at"].endswith("T18:15:00Z")


def test_key_operations_become_ledger_entries_exactly_once(start: START) -> None:
    owner = start()
    seen = [event.row["entry_id"] for event in owner.events("key")]
    assert len(seen) == len(owner.store.events(0)) == 2
    owner.hang_up()
    owner.start()
    owner.new_key("acme/support/writer")
    owner.eventually(lambda: len(gather(seen, (event.row["entry_id"] for event in owner.events("key")))) > 2)
    assert len(seen) == len(set(seen)) == 3


def test_a_revoked_key_is_refused_within_seconds(start: START) -> None:
    """LiteLLM #9820: a blocked key works on four of five pods."""
    owner = start()
    credential = owner.store.authenticate(owner.key)
    owner.ask()
    owner.store.revoke(credential.id, actor="user:test", reason="leaked")
    owner.eventually(lambda: owner.get("/v1/budgets").status_code == 401)
