"""The calls of one booking → those few that may have ignored a decision. Pure, and vectorised: most fleets have none.

Runs beside the owner's loop. Invariants: a call is held against a kill, a refusal or an expiry only by
its own start, and only when that lies later than them by more than clocks may differ; a call whose
clock is visibly ahead is held against no time at all. What a suspect did is left to `judge`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import Bools, numpy_of, one
from collector.governance.adherence.stops import CALL_SCOPES, Stop
from collector.governance.kills import Identities
from collector.state.rows import Ruling
from schemas.kills import MODEL, TOOL, concerns

Ints = npt.NDArray[np.int64]

PATH = "path"
"""ORG/TENANT/AGENT of a suspect."""
_NEVER = np.iinfo(np.int64).max


class Watch(NamedTuple):
    """What calls are looked at for. The mappings belong to the loop; here they are only asked for single keys."""

    identities: Identities
    tolerance_ns: int
    denial_window_ns: int
    late_ns: int
    """A call that is told later than this after it began may have had a hold that nobody remembers."""
    stops: Sequence[Stop]
    refused: Mapping[str, Mapping[str, Ruling]]
    ruling: Callable[[str], Ruling | None]
    asks_since: Callable[[str], int | None]


class Suspects(NamedTuple):
    """Calls to judge: `table` has their columns and `PATH`, the arrays one element a row.

    `stop` and `refusal` are places in the lists, -1 for none. `unasked` calls name no decision and are of agents
    that ask, `timed` are those whose own time can be believed. `claim` is the place in `claims` of what a call that
    names a decision says, -1 for the others.
    """

    table: pa.Table
    stop: Ints
    refusal: Ints
    unasked: Bools
    timed: Bools
    claim: Ints
    stops: Sequence[Stop]
    refusals: list[Ruling]
    claims: list[tuple[str, str, str, str, str]]
    """Path, decision id, provider, model, request model."""


def suspects(calls: pa.Table, watch: Watch) -> Suspects:
    """Those of a booking's calls (`schemas.booking.Booking.calls`) that need a closer look."""
    named = numpy_of(pc.is_valid(calls["decision_id"]))
    path = pc.binary_join_element_wise(calls["org"], calls["tenant"], calls["agent"], "/")
    calls = calls.append_column(PATH, path)
    agents = _Distinct(path)
    start, timed = numpy_of(calls["start_time"]), _timed(calls, watch.tolerance_ns)
    stop = _stopped(calls, agents, timed, watch)
    asks_since = agents.numbers(lambda agent: _or_never(watch.asks_since(agent)))
    # Late ones are left out: their hold may have been closed and forgotten.
    fresh = numpy_of(calls["received_time"]) - start <= watch.late_ns
    unasked = ~named & timed & fresh & (start > _later(asks_since, watch.tolerance_ns))
    refused = ~named & timed & agents.where(lambda agent: bool(watch.refused.get(agent)))
    at = np.flatnonzero(named | (stop >= 0) | unasked | refused)
    few = calls.take(pa.array(at))
    claim, claims = _combinations(few, named[at], (PATH, "decision_id", "provider", "model", "request_model"))
    refusal, refusals = _refusals(few, claim, claims, watch)
    _refusals_without_id(few, refused[at], (refusal, refusals), watch)
    return Suspects(few, stop[at], refusal, unasked[at], timed[at], claim, watch.stops, refusals, claims)


class _Distinct:
    """A column's distinct texts; a question is asked once for each of them."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        encoded = one(column).dictionary_encode()
        self._texts: list[str] = encoded.dictionary.to_pylist()
        self._which = numpy_of(encoded.indices)

    def where(self, test: Callable[[str], bool]) -> Bools:
        """The rows whose text passes."""
        found: Bools = np.array([test(text) for text in self._texts], np.bool_)[self._which]
        return found

    def numbers(self, ask: Callable[[str], int]) -> Ints:
        """The answer of each row's text."""
        found: Ints = np.array([ask(text) for text in self._texts], np.int64)[self._which]
        return found


def _timed(calls: pa.Table, tolerance_ns: int) -> Bools:
    """Calls whose own time can be believed: it is not the time of receipt, and they had ended by then."""
    start, received = numpy_of(calls["start_time"]), numpy_of(calls["received_time"])
    end = numpy_of(pc.fill_null(pc.coalesce(calls["end_time"], calls["start_time"]), 0))
    believed: Bools = (start < received) & (end - tolerance_ns <= received)
    return believed


def _stopped(calls: pa.Table, agents: _Distinct, timed: Bools, watch: Watch) -> Ints:
    """By row the first kill it ignored."""
    stop = np.full(len(calls), -1, np.int64)
    start = numpy_of(calls["start_time"])
    for place, each in enumerate(watch.stops):
        if each.scope not in CALL_SCOPES:
            continue
        ran = timed & (stop < 0) & (start > each.since_ns + watch.tolerance_ns)
        if each.until_ns is not None:
            # A clock that is behind may show a call of after the release as one of before it.
            ran &= start < each.until_ns - watch.tolerance_ns
        if ran.any():
            stop[ran & _concerned(calls, agents, each.target, watch.identities)] = place
    return stop


def _concerned(calls: pa.Table, agents: _Distinct, target: str, identities: Identities) -> Bools:
    if target.startswith(TOOL):
        return np.zeros(len(calls), np.bool_)
    if not target.startswith(MODEL):
        return agents.where(lambda agent: concerns(target, agent))
    stopped = identities("", target.removeprefix(MODEL))
    everywhere = np.ones(len(calls), np.bool_)
    which, models = _combinations(calls, everywhere, ("provider", "model", "request_model"))
    hit = [bool(stopped & ids_of(identities, provider, *named)) for provider, *named in models]
    found: Bools = np.array(hit, np.bool_)[which]
    return found


def _refusals(calls: pa.Table, claim: Ints, claims: list[tuple[str, ...]], watch: Watch) -> tuple[Ints, list[Ruling]]:
    """Calls that name a decision which refused them."""
    refusals: list[Ruling] = []
    place = np.full(len(claims) + 1, -1, np.int64)
    for number, (path, decision_id, *_) in enumerate(claims):
        ruling = watch.ruling(decision_id)
        if ruling is not None and ruling.verdict != "allow" and ruling.agent == path:
            place[number] = len(refusals)
            refusals.append(ruling)
    # The last element answers for the calls without a claim.
    return place[claim] if len(calls) else claim, refusals


def _refusals_without_id(calls: pa.Table, where: Bools, found: tuple[Ints, list[Ruling]], watch: Watch) -> None:
    """Add calls that name no decision and began soon after their agent was refused their model."""
    refusal, refusals = found
    which, asked = _combinations(calls, where, (PATH, "provider", "model", "request_model"))
    start = numpy_of(calls["start_time"])
    for number, (path, provider, model, request_model) in enumerate(asked):
        models = watch.refused.get(path, {})
        asked_ids = ids_of(watch.identities, provider, model, request_model)
        # One question each: the loop may lift a refusal in between.
        ruling = next(filter(None, map(models.get, asked_ids)), None)
        if ruling is None:
            continue
        after, until = ruling.recorded_time + watch.tolerance_ns, ruling.recorded_time + watch.denial_window_ns
        refusal[(which == number) & (start > after) & (start <= until)] = len(refusals)
        refusals.append(ruling)


def ids_of(identities: Identities, provider: str, *models: str) -> frozenset[str]:
    """The ids of a call's model under any of its names."""
    return frozenset().union(*(identities(provider, model) for model in models))


def _combinations(calls: pa.Table, where: Bools, names: Sequence[str]) -> tuple[Ints, list[tuple[Any, ...]]]:
    """The distinct values of these columns in some rows, and by row which of them it has, -1 elsewhere."""
    found = np.full(len(calls), -1, np.int64)
    at = np.flatnonzero(where)
    if not len(at):
        return found, []
    rows = calls.select(names).take(pa.array(at))
    which = np.zeros(len(at), np.int64)
    for name in names:
        encoded = one(pc.fill_null(rows[name], "")).dictionary_encode()
        # Numbered anew for each column, so that they stay below the square of the rows.
        _, which = np.unique(which * len(encoded.dictionary) + numpy_of(encoded.indices), return_inverse=True)
    _, first = np.unique(which, return_index=True)
    found[at] = which
    texts = [pc.fill_null(column, "").to_pylist() for column in rows.take(pa.array(first)).columns]
    return found, list(zip(*texts, strict=True))


def _or_never(since_ns: int | None) -> int:
    return _NEVER if since_ns is None else since_ns


def _later(times: Ints, by_ns: int) -> Ints:
    """These times and some, without leaving 64 bits."""
    return np.minimum(times, _NEVER - by_ns) + by_ns
