"""Kills, refusals, expiries and calls at any times, by clocks that differ: who began before is never found."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.governance.adherence.stops import Stop
from collector.governance.adherence.suspects import suspects
from tests.collector.governance.adherence.matching import COLUMNS, Matching, Row
from tests.collector.governance.bookkeeping import MINUTE, NOON, SECOND

TOLERANCE = 5 * SECOND
SPAN = 10 * MINUTE
# Each example opens a state file of its own, on a machine that may be busy.
slow = settings(deadline=None, max_examples=60)
moments = st.integers(0, SPAN).map(lambda at: NOON + at)
skews = st.integers(-TOLERANCE, TOLERANCE)


class Ran(NamedTuple):
    """A call as it truly was, and what its clock made of it."""

    began: int
    lasted: int
    skew: int
    delay: int


calls = st.lists(
    st.builds(Ran, moments, st.integers(0, 2 * MINUTE), skews, st.integers(TOLERANCE, 5 * MINUTE)), max_size=12
)


@slow
@given(killed=moments, lasted=st.none() | st.integers(1, SPAN), ran=calls)
def test_a_kill_is_held_against_those_who_began_under_it_and_nobody_else(
    killed: int, lasted: int | None, ran: list[Ran]
) -> None:
    until = None if lasted is None else killed + lasted
    with closing(matching()) as made:
        made.stops.append(Stop("kill-1", "all", "acme", killed, until, 1))
        found = counted(made, "adherence.after_kill", told(made, ran))
    under = [call for call in ran if killed < call.began and (until is None or call.began < until)]
    # What lies between is nearer to an edge than clocks are to each other, so it may be either.
    surely = [
        call
        for call in under
        if killed + 2 * TOLERANCE < call.began and (until is None or call.began < until - 2 * TOLERANCE)
    ]
    assert len(surely) <= found <= len(under)


@slow
@given(refused=moments, ran=calls, named=st.booleans())
def test_a_refusal_is_held_against_those_who_name_it_and_those_who_began_after_it(
    refused: int, ran: list[Ran], *, named: bool
) -> None:
    with closing(matching(now=refused)) as made:
        decision_id = made.deny()
        rows = told(made, ran, decision_id if named else None)
        found = counted(made, "adherence.after_deny", rows)
    after = [call for call in ran if refused < call.began]
    surely = [call for call in after if refused + 2 * TOLERANCE < call.began]
    assert found == len(ran) if named else len(surely) <= found <= len(after)


@slow
@given(made_at=moments, ttl=st.integers(1, SPAN), ran=calls)
def test_an_expiry_is_held_against_those_who_began_after_it(made_at: int, ttl: int, ran: list[Ran]) -> None:
    with closing(matching(now=made_at)) as made:
        decision_id = made.allow(ttl=ttl).terms.decision_id
        found = counted(made, "adherence.after_expiry", told(made, ran, decision_id))
    after = [call for call in ran if made_at + ttl < call.began]
    surely = [call for call in after if made_at + ttl + 2 * TOLERANCE < call.began]
    assert len(surely) <= found <= len(after)


@slow
@given(ran=calls, cuts=st.lists(st.integers(0, 12), max_size=4), restarts=st.booleans())
def test_batches_and_restarts_change_no_count(ran: list[Ran], cuts: Sequence[int], *, restarts: bool) -> None:
    totals = []
    for edges in ([], sorted(cuts)):
        with closing(matching()) as made:
            made.stops.append(Stop("kill-1", "llm", "platform", NOON + MINUTE, NOON + 2 * MINUTE, 1))
            refused = made.deny()
            rows = told(made, ran)
            for place, row in enumerate(rows):
                row["decision_id"] = refused if place % 3 else None
            for first, last in zip([0, *edges], [*edges, len(rows)], strict=True):
                made.run(*rows[first:last])
                if edges and restarts:
                    made.restart()
            made.flush()
            sums: dict[tuple[str, str], int] = {}
            for row in made.found:
                key = (str(row["action"]), row["detail"]["finding"])
                sums[key] = sums.get(key, 0) + row["detail"]["count"]
            totals.append(sums)
    assert totals[0] == totals[1]


def test_a_fleet_that_only_emits_has_no_suspects() -> None:
    """However much it sends, nothing of it reaches a loop."""
    with closing(matching()) as made:
        rows = [made.call() | {"org": f"o{number % 7}"} for number in range(1_000)]
        table = pa.Table.from_pylist(rows, schema=pa.schema(COLUMNS))
        assert len(suspects(table, made.adherence.watch()).table) == 0
        assert len(suspects(table.slice(0, 0), made.adherence.watch()).table) == 0


def matching(now: int = NOON) -> Matching:
    return Matching(Path(tempfile.mkdtemp()) / "state.db", {"on_unasked": "ignore"}, now=now)


def told(made: Matching, ran: Sequence[Ran], decision_id: str | None = None) -> list[Row]:
    """What telemetry says of these calls, received by our own clock."""
    return [
        made.call(
            at=call.began + call.skew,
            lasted=call.lasted,
            decision_id=decision_id,
            received_time=call.began + call.lasted + call.delay,
        )
        for call in ran
    ]


def counted(made: Matching, rule: str, rows: Sequence[Row]) -> int:
    made.run(*rows)
    made.flush()
    return sum(row["detail"]["count"] for row in made.found if row["action"] == rule)
