"""`state.db`: a group is on disk whole or not at all, and everything comes back at start."""

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.state import tables
from collector.state.notices import Notice
from collector.state.rows import (
    Asker,
    Booked,
    Crossing,
    Delivery,
    Entry,
    Group,
    HoldChange,
    HoldRow,
    Increase,
    Keep,
    KeptDecision,
    KillRow,
    Named,
    Positions,
    ReleaseRow,
    Ruling,
    Spend,
    SpendLine,
    StoredHold,
)
from collector.state.store import DEDUPE_ITEM_BYTES, PRUNED_AT_ONCE, State, in_use
from schemas.errors import ConfigError, Fatal

HOLD = HoldRow(
    "hold_1", "dec_1", "key", "acme", "support", "triage", "openai", "gpt-4o", "worst_case", 100, 200, 50, 900
)  # fmt: skip
NOTICE = Notice("budget.alert", "acme|daily|80", "acme", "info", "A title", "A text.", {"threshold": 80}, 5)
DELIVERY = Delivery(1, "ops", "pending", 2, "It answered 500.", 6)
KILL = KillRow("kill_1", "all", "acme", "a loop", "user:ops", 100, 1)
RELEASE = ReleaseRow("kill_1", "mended", "user:ops", 200, 2)
CHANGE = HoldChange(
    "hold_1", 1, "settle", "settled", 30, "client", False, 30, -50, 0, 150, 700, 700, -900, 0
)  # fmt: skip
INCREASE = Increase("inc_1", "acme", "daily", 20, 0, 100, 200, "user:ann", "a busy day")
CORRECTION = b"sixteen bytes id"
RULING = Ruling("dec_2", "acme/support/triage", "openai", "gpt-4o", "deny", "budget.daily.acme", 5)
ASKER = Asker("acme/support/triage", 3, 5)
ALL = Keep(
    spends_since=0,
    entries_since=0,
    decisions_since=0,
    decisions=10**9,
    dedupe_keys=10**9,
    rulings=10**9,
    askers_since=0,
    findings=10**9,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    state = State(path)
    yield state
    state.close()


def filled() -> Group:
    group = Group()
    group.holds.append(HOLD)
    group.changes.append(CHANGE)
    group.lines.append(SpendLine("acme", "support", "triage", 900, 7, 5, 60))
    group.spends["acme", "support", "triage", 900] = (7, 60)
    group.crossings.append(Crossing(0, "acme", "daily", "tokens", 80, 100, 5))
    group.increases.append(INCREASE)
    group.decisions.append(KeptDecision("key", "once", b"digest", b"{}", 5))
    group.corrections.append((CORRECTION, 5))
    group.rulings.append(RULING)
    group.askers[ASKER.agent] = ASKER
    group.findings["a finding"] = (b"as it stands", 5)
    group.notify(NOTICE)
    group.deliveries.append(DELIVERY)
    group.kills.append(KILL)
    group.releases.append(RELEASE)
    group.named.append(Named("tool", "shell"))
    group.meta["name"] = b"value"
    group.event({"entry_id": "a", "kind": "decision", "event_time": 1})
    group.booked = Booked(Positions(3, 4, 0), b"k" * DEDUPE_ITEM_BYTES)
    return group


def test_everything_in_a_group_comes_back_after_a_restart(path: Path) -> None:
    state = State(path)
    state.commit(filled())
    state.close()
    again = State(path)
    assert again.open_holds() == [StoredHold(HOLD, CHANGE)]
    assert again.hold("hold_1") == StoredHold(HOLD, CHANGE)
    assert [entry.kind for entry in again.entries()] == ["spend", "hold", "settle"]
    assert list(again.spends(0)) == [Spend("acme", "support", "triage", 900, 7, 60)]
    assert again.crossings(0) == [Crossing(0, "acme", "daily", "tokens", 80, 100, 5)]
    assert again.increases() == [INCREASE]
    assert again.decisions() == [KeptDecision("key", "once", b"digest", b"{}", 5)]
    assert again.corrections([CORRECTION]) == {CORRECTION}
    assert again.holds(["hold_1", "hold_2"]) == {"hold_1": StoredHold(HOLD, CHANGE)}
    assert (again.rulings(), again.askers()) == ([RULING], [ASKER])
    assert again.findings() == [("a finding", b"as it stands")]
    assert again.notices(0, 10) == [(1, NOTICE)]
    assert again.last_notice == 1
    assert again.deliveries("pending", 10) == [DELIVERY]
    assert (again.kills(), again.releases(), again.named()) == ([KILL], [RELEASE], [Named("tool", "shell")])
    assert again.meta("name") == b"value"
    assert again.positions() == Positions(3, 4, 0)
    assert again.dedupe() == [b"k" * DEDUPE_ITEM_BYTES]
    assert [number for number, _ in again.events(0, 10)] == [1]
    assert again.last_event == 1
    again.close()


def test_a_fresh_state_is_empty_and_at_the_beginning(state: State) -> None:
    assert state.positions() == Positions(0, 0, 0)
    assert (state.last_event, state.open_holds(), state.dedupe(), state.meta("name")) == (0, [], [], None)
    assert not Group()


def test_every_field_of_a_group_makes_it_worth_committing() -> None:
    for name in Group.__slots__:
        group = Group()
        setattr(group, name, getattr(filled(), name) or ["something"])
        assert group, name


def test_a_group_that_cannot_be_written_whole_is_not_written_at_all(state: State, path: Path) -> None:
    group = filled()
    group.changes.append(CHANGE._replace(number=2, state="held"))
    with pytest.raises(Fatal, match="Cannot write"):
        state.commit(group)
    state.close()
    again = State(path)
    assert (again.open_holds(), again.entries(), again.last_event, again.positions()) == ([], [], 0, Positions())
    again.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE holds SET amount = 0",
        "UPDATE hold_changes SET number = 9",
        "UPDATE spend_lines SET amount = 0",
        "UPDATE kills SET epoch = 9",
        "UPDATE kill_releases SET epoch = 9",
        "DELETE FROM kill_releases",
        "DELETE FROM kills",
    ],
)
def test_the_budget_book_and_the_kills_are_immutable(state: State, path: Path, change: str) -> None:
    state.commit(filled())
    with contextlib.closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError, match="immutable"):
        other.execute(change)


def test_a_hold_is_known_by_its_last_change(state: State) -> None:
    for number, (settled, final) in enumerate([(50, False), (35, True)], start=1):
        group = Group()
        group.holds = [HOLD] if number == 1 else []
        group.changes = [CHANGE._replace(number=number, settled=settled, final=final, recorded_time=number)]
        state.commit(group)
    stored = state.hold("hold_1")
    assert stored is not None
    assert stored.change is not None
    assert (stored.change.number, stored.change.settled, bool(stored.change.final)) == (2, 35, True)


@pytest.mark.parametrize(
    ("change", "is_open"),
    [
        pytest.param(None, True, id="live"),
        pytest.param(CHANGE, True, id="waits for its span"),
        pytest.param(CHANGE._replace(final=True), False, id="final"),
    ],
)
def test_open_holds_are_those_that_can_still_change(state: State, change: HoldChange | None, is_open: bool) -> None:  # noqa: FBT001
    group = Group()
    group.holds, group.changes = [HOLD], [change] if change else []
    state.commit(group)
    assert state.open_holds() == ([StoredHold(HOLD, change)] if is_open else [])


def test_the_budget_book_says_what_each_line_added(state: State) -> None:
    state.commit(filled())
    spend, hold, settle = state.entries()
    assert spend == Entry("spend", None, "acme", "support", "triage", 900, 7, 0, 0, 5, 60, 0, 0)
    assert hold == Entry("hold", "hold_1", "acme", "support", "triage", 100, 0, 50, 0, 100, 0, 900, 0)
    assert settle == Entry("settle", "hold_1", "acme", "support", "triage", 100, 30, -50, 0, 150, 700, -900, 0)


def test_a_finding_and_an_asker_are_kept_as_they_stand_last(state: State) -> None:
    for number in (5, 6):
        group = Group()
        group.askers["a"] = Asker("a", 1, number)
        group.findings["f"] = (bytes([number]), number)
        state.commit(group)
    assert state.askers() == [Asker("a", 1, 6)]
    assert state.findings() == [("f", b"\6")]


def test_spends_of_one_slot_add_up(state: State) -> None:
    for _ in range(3):
        group = Group()
        group.spends["acme", "support", "triage", 900] = (7, 5)
        state.commit(group)
    assert [(spend.settled, spend.tokens) for spend in state.spends(0)] == [(21, 15)]
    assert list(state.spends(901)) == []


def test_a_slot_stops_at_the_largest_amount_instead_of_overflowing(state: State) -> None:
    for _ in range(3):
        group = Group()
        group.spends["acme", "support", "triage", 0] = (2**62, 2**62)
        state.commit(group)
    assert [(spend.settled, spend.tokens) for spend in state.spends(0)] == [(2**62, 2**62)]


def test_event_ids_are_dense_and_never_used_again(path: Path) -> None:
    state = State(path)
    for _ in range(3):
        group = Group()
        group.event({"entry_id": "a"})
        state.commit(group)
    assert [number for number, _ in state.events(0, 2)] == [1, 2]
    taken = Group()
    taken.booked = Booked(Positions(1, 1, 3), b"")
    state.commit(taken)
    assert state.events(0, 10) == []
    state.close()
    again = State(path)
    again.commit(filled())
    assert [number for number, _ in again.events(0, 10)] == [4]
    again.close()


def test_a_notice_of_the_same_key_is_told_once_and_a_number_is_never_used_again(path: Path) -> None:
    for _ in range(2):
        with contextlib.closing(State(path)) as state:
            group = Group()
            group.notify(NOTICE)
            group.notify(msgspec.structs.replace(NOTICE, title="The same again"))
            state.commit(group)
            assert (state.notices(0, 10), state.last_notice) == ([(1, NOTICE)], 1)
    with contextlib.closing(State(path)) as state:
        state.prune(ALL._replace(spends_since=6))
        assert state.notices(0, 10) == []
        group = Group()
        group.notify(NOTICE)
        state.commit(group)
        (again,) = state.notices(0, 10)
        assert again.number == state.last_notice > 1


def test_a_delivery_is_known_by_how_far_it_came(state: State) -> None:
    state.commit(filled())
    group = Group()
    group.deliveries = [DELIVERY._replace(state="delivered", attempts=3, error="")]
    state.commit(group)
    assert state.deliveries("pending", 10) == []
    assert [row.attempts for row in state.deliveries("delivered", 10)] == [3]


def test_taken_events_stay_taken_when_an_older_booking_is_seen(state: State) -> None:
    for taken in (2, 1):
        group = Group()
        group.booked = Booked(Positions(1, 1, taken), b"")
        state.commit(group)
    assert state.positions().outbox_taken == 2


def test_pruning_leaves_what_was_asked_for(state: State) -> None:
    for number in range(4):
        group = Group()
        group.holds = [HOLD._replace(id=f"hold_{number}", created=number)]
        group.changes = [CHANGE._replace(hold_id=f"hold_{number}")]
        group.spends = {("acme", "support", "triage", number * 900): (1, 1)}
        group.lines = [SpendLine("acme", "support", "triage", 0, 7, number, 0)]
        group.decisions = [KeptDecision("key", str(number), b"", b"", number)]
        group.crossings = [Crossing(number * 900, "acme", "daily", "usd", 80, 100, 5)]
        group.corrections = [(bytes([number]) * 16, number)]
        group.rulings = [RULING._replace(decision_id=f"dec_{number}")]
        group.askers = {str(number): Asker(str(number), 0, number)}
        group.findings = {str(number): (b"", number)}
        group.notices = [msgspec.structs.replace(NOTICE, key=str(number), time=number * 900)]
        group.deliveries = [Delivery(number + 1, "ops", "pending" if number == 1 else "delivered", 1, "", 0)]
        group.booked = Booked(Positions(1, number + 1, 0), bytes([number]) * DEDUPE_ITEM_BYTES)
        state.commit(group)
    state.prune(ALL)
    assert (len(state.entries()), len(state.decisions()), len(state.dedupe())) == (12, 4, 4)
    state.prune(
        ALL._replace(
            spends_since=1800,
            entries_since=2,
            decisions_since=1,
            decisions=2,
            dedupe_keys=2,
            rulings=2,
            askers_since=1,
            findings=2,
        )
    )
    assert [spend.slot_time for spend in state.spends(0)] == [1800, 2700]
    assert [crossing.window_start for crossing in state.crossings(0)] == [1800, 2700]
    assert [state.hold(f"hold_{number}") is not None for number in range(4)] == [False, False, True, True]
    assert sorted(entry.kind for entry in state.entries()) == ["hold", "hold", "settle", "settle", "spend", "spend"]
    assert [decision.idempotency_key for decision in state.decisions()] == ["2", "3"]
    assert [keys[0] for keys in state.dedupe()] == [2, 3]
    assert [ruling.decision_id for ruling in state.rulings()] == ["dec_2", "dec_3"]
    assert [asker.agent for asker in state.askers()] == ["1", "2", "3"]
    assert [key for key, _ in state.findings()] == ["2", "3"]
    assert [found.notice.key for found in state.notices(0, 10)] == ["1", "2", "3"], "one is not delivered yet"
    assert [row.notice_number for row in state.deliveries("delivered", 10)] == [4, 3]
    assert {entry_id[0] for entry_id in state.corrections([bytes([number]) * 16 for number in range(4)])} == {2, 3}


def test_pruning_says_when_more_is_left(state: State) -> None:
    group = Group()
    group.lines = [SpendLine("acme", "support", "triage", 0, 7, 0, 0) for _ in range(PRUNED_AT_ONCE + 1)]
    state.commit(group)
    assert [state.prune(ALL._replace(entries_since=1)) for _ in range(2)] == [True, False]
    assert state.entries() == []


def test_the_dedupe_window_keeps_at_least_the_keys_it_promises(state: State) -> None:
    for number, keys in enumerate((5, 1, 3), start=1):
        group = Group()
        group.booked = Booked(Positions(number, number, 0), b"k" * DEDUPE_ITEM_BYTES * keys)
        state.commit(group)
    state.prune(ALL._replace(dedupe_keys=4))
    assert [len(blob) // DEDUPE_ITEM_BYTES for blob in state.dedupe()] == [1, 3]
    state.prune(ALL._replace(dedupe_keys=5))
    assert len(state.dedupe()) == 2


def test_a_second_owner_is_refused_and_a_later_one_is_not(path: Path, state: State) -> None:
    with pytest.raises(ConfigError, match="in use by another process"):
        State(path, lock_wait_s=0)
    state.close()
    State(path, lock_wait_s=0).close()


def test_whether_somebody_has_the_file_is_known_without_taking_it(path: Path) -> None:
    state = State(path)
    assert in_use(path)
    state.close()
    assert not in_use(path)
    State(path, lock_wait_s=0).close()


def test_a_newer_schema_is_a_clear_error(path: Path) -> None:
    State(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match=r"has schema 99, written by a newer spanward"):
        State(path)


# What a file of the second version held: amounts alone, and crossings without a unit.
OLD = """
INSERT INTO spends VALUES (900, 'acme', 'support', 'triage', 7);
INSERT INTO holds VALUES ('hold_1', 'dec_1', 'key', 'acme', 'support', 'triage', 'openai', 'gpt-4o', 'worst_case',
    100, 200, 50);
INSERT INTO hold_changes VALUES ('hold_1', 1, 'settle', 'settled', 30, 'client', 0, 30, -50, 0, 150);
INSERT INTO spend_lines VALUES (NULL, 'acme', 'support', 'triage', 900, 7, 5);
INSERT INTO crossings VALUES (0, 'acme', 'daily', 80, 100, 5);
INSERT INTO decisions VALUES (NULL, 'key', 'once', 'digest', '{}', 5);
INSERT INTO meta VALUES ('name', CAST('value' AS BLOB));
UPDATE positions SET spool_frame = 3, journal_frame = 4;
""".replace("'digest', '{}'", "CAST('digest' AS BLOB), CAST('{}' AS BLOB)")


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_keeps_everything_and_takes_what_is_new(path: Path, version: int) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("".join(tables.STEPS[:version]) + OLD + f"PRAGMA user_version = {version};")
    with contextlib.closing(State(path)) as state:
        (stored,) = state.open_holds()
        assert stored.made == HOLD._replace(tokens=0)
        assert stored.change == CHANGE._replace(settled_tokens=None, settled_tokens_added=0, held_tokens_added=0)
        assert [(entry.kind, entry.settled, entry.held, entry.settled_tokens) for entry in state.entries()] == [
            ("spend", 7, 0, 0), ("hold", 0, 50, 0), ("settle", 30, -50, 0),
        ]  # fmt: skip
        assert list(state.spends(0)) == [Spend("acme", "support", "triage", 900, 7, 0)]
        assert state.crossings(0) == [Crossing(0, "acme", "daily", "usd", 80, 100, 5)]
        assert state.decisions() == [KeptDecision("key", "once", b"digest", b"{}", 5)]
        assert (state.meta("name"), state.positions()) == (b"value", Positions(3, 4, 0))
        # Nobody knows how many tokens those calls used, so they say nothing of how much to hold.
        assert state.settled(10) == []
        assert (state.rulings(), state.askers(), state.findings()) == ([], [], [])
        group = Group()
        group.corrections.append((CORRECTION, 6))
        group.increases.append(INCREASE)
        group.crossings.append(Crossing(0, "acme", "daily", "tokens", 80, 100, 5))
        state.commit(group)
        assert state.corrections([bytes(16), CORRECTION]) == {CORRECTION}
        assert state.increases() == [INCREASE]
        assert len(state.crossings(0)) == 2
    with contextlib.closing(State(path)) as state:
        assert state.increases() == [INCREASE]


def test_an_increase_that_ended_is_gone(state: State) -> None:
    state.commit(filled())
    group = Group()
    group.ended.append(INCREASE.id)
    state.commit(group)
    assert state.increases() == []


def test_what_was_used_lately_is_summed_by_agent(state: State) -> None:
    for slot in (0, 900, 1800, 2700):
        group = Group()
        group.spends["acme", "support", "triage", slot] = (7, 60)
        state.commit(group)
    assert state.burn(900, 2700) == [Spend("acme", "support", "triage", 0, 14, 120)]


def test_what_calls_settled_at_comes_back_oldest_first_and_bounded(state: State) -> None:
    for number in range(4):
        group = Group()
        group.holds = [HOLD._replace(id=f"hold_{number}", created=number)]
        change = CHANGE._replace(hold_id=f"hold_{number}", settled=number, final=False)
        group.changes = [change, change._replace(number=2, kind="close", final=True)]
        state.commit(group)
    assert [(row[3], row[4], row[5]) for row in state.settled(3)] == [("gpt-4o", settled, 700) for settled in (1, 2, 3)]


def test_a_file_that_is_no_database_is_fatal_and_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, and long enough to be looked at" * 20)
    with pytest.raises(Fatal, match=r"Cannot open .*state\.db"):
        State(path)


def test_an_acknowledged_group_survives_kill_9(path: Path) -> None:
    """The process dies in the middle of its next group; what it said was written is there, whole."""
    program = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        from collector.state.rows import Group
        from collector.state.store import State
        state = State(Path(sys.argv[1]))
        for number in itertools.count(1):
            group = Group()
            for slot in range(50):
                group.spends["acme", "support", "triage", slot] = (1, 1)
            group.meta["last"] = str(number).encode()
            state.commit(group)
            print(number, flush=True)
    """)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(20):
                acknowledged = int(process.stdout.readline())
            process.kill()
        state = State(path)
        committed = int(state.meta("last") or b"0")
        sums = {spend.settled for spend in state.spends(0)}
        state.close()
        assert committed >= acknowledged
        assert len(sums) == 1, "a group is there whole or not at all"
