"""Which records tell of one call, or of one tool execution.

In order: the same span; the provider's response id, across traces; a call directly inside a call;
and, where two instrumentations watch one service and an id is missing, the same usage at the same
time. A call around several calls is their sum. All of it depends on the set of records alone, never
on the order they came in: pairs are sought in sorted order.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from collector.accounting.groups import Groups
from collector.accounting.records import AGGREGATE, CALL, ECHO, TOOL, Hashes, Ints, Records
from collector.accounting.tree import Forest
from collector.columns import Bools
from schemas.accounting import Rule

# One process, two clocks reads: a wrapper may end this much before what it wraps.
_SLACK_NS = 2_000_000
# Without usage only calls of about the same length are taken for one; below this length is no matter.
_SHORT_NS = 50_000_000
# Clocks of two hosts may differ by this much.
_CLOCK_SKEW_NS = 1_000_000_000
# Records of one id at one time that a further one is compared with.
_MAX_OPEN = 16
# A call is compared with so many that began before it, and so many that began after.
_MAX_RIVALS = 64


class Links(NamedTuple):
    """`groups`: the records that are one. `sums`: calls that turned out to be sums of calls below them."""

    groups: Groups
    sums: Bools


def link(records: Records, forest: Forest) -> Links:
    """Join what is one."""
    groups = Groups(len(records))
    roles = records["role"]
    for role, name, why in ((CALL, "response", Rule.SAME_RESPONSE), (TOOL, "tool_call", Rule.SAME_TOOL_CALL)):
        _join_same_span(groups, records, (roles == role) & ~records["log"])
        _join_same_id(groups, records, name, (roles == role) & (records[name] != 0), why)
    sums = _join_nested(groups, records, forest)
    _join_nested_tools(groups, records, forest)
    _join_by_time(groups, records, sums)
    return Links(groups, sums)


def _join_same_span(groups: Groups, records: Records, among: Bools) -> None:
    where = np.flatnonzero(among)
    nodes = records["node"][where]
    order = where[np.argsort(nodes, kind="stable")]
    same = np.flatnonzero(records["node"][order][1:] == records["node"][order][:-1])
    for first, second in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        groups.join(first, second, Rule.SAME_SPAN)


def _join_same_id(groups: Groups, records: Records, name: str, among: Bools, why: str) -> None:
    """Join records of one id that tell of one time, or that one sender told at different times.

    Ids are the provider's to make unique, and some do not. Whoever is wrong about it must not make
    another call disappear: of one id, other usage is another call, unless two instrumentations of
    one key tell it at one time.
    """
    keys, count = np.unique(records[name][among], return_counts=True)
    where = np.flatnonzero(among & np.isin(records[name], keys[count > 1]))
    order = where[np.lexsort((records["node"][where], records["end"][where], records["start"][where]))]
    for members in _members(records[name][order], order).values():
        calls: list[_SameId] = []
        for telling in (_Member(records, record) for record in members):
            recent = calls[-_MAX_OPEN:]
            # The same usage before usage that is not known before other usage.
            fits = [(call.likeness(telling), number) for number, call in enumerate(recent) if call.takes(telling)]
            if fits:
                call = recent[max(fits)[1]]
                groups.join(call.record, telling.record, why)
                call.add(telling)
            else:
                calls.append(_SameId(telling))


class _Member:
    """What one record of an id says."""

    def __init__(self, records: Records, record: int) -> None:
        one = records[record]
        self.record = record
        self.start, self.end = int(one["start"]), int(one["end"])
        self.scope, self.credential = int(one["scope"]), int(one["credential"])
        self.sender = (int(one["service"]), self.credential)
        self.usage = _usage(records, record)


class _SameId:
    """The records of one id that are one call, so far, in order of time."""

    def __init__(self, first: _Member) -> None:
        self.record = first.record
        self._end = first.end
        self._usage: dict[int, tuple[int, int]] = {}
        """By scope."""
        self._senders: set[tuple[int, int]] = set()
        self._credentials: set[int] = set()
        self.add(first)

    def add(self, telling: _Member) -> None:
        """This record is of it."""
        self._end = max(self._end, telling.end)
        self._senders.add(telling.sender)
        if telling.usage is not None:
            self._usage.setdefault(telling.scope, telling.usage)
            self._credentials.add(telling.credential)

    def takes(self, telling: _Member) -> bool:
        """Whether this record may be of it."""
        if telling.start > self._end + _CLOCK_SKEW_NS and telling.sender not in self._senders:
            return False
        if telling.usage is None or not self._usage or telling.usage in self._usage.values():
            return True
        at_one_time = telling.start <= self._end + _CLOCK_SKEW_NS
        return at_one_time and telling.scope not in self._usage and self._credentials == {telling.credential}

    def likeness(self, telling: _Member) -> int:
        """How well the record fits."""
        return 2 if telling.usage in self._usage.values() else int(telling.usage is None or not self._usage)


def _usage(records: Records, record: int) -> tuple[int, int] | None:
    if not records["metered"][record]:
        return None
    return int(records["input"][record]), max(0, int(records["output"][record]))


def _join_nested(groups: Groups, records: Records, forest: Forest) -> Bools:
    """A call and the one call inside it are one; the call around several others is returned as their sum."""
    sums = np.zeros(len(records), np.bool_)
    calls = (records["role"] == CALL) & ~records["log"]
    inside = np.flatnonzero((records["role"] == CALL) | (records["role"] == ECHO))
    # A tool or an agent in between does work of its own: what it calls is not the call around it.
    is_call = forest.mask(calls)
    between = forest.mask((records["role"] == TOOL) | (records["role"] == AGGREGATE))
    around = forest.nearest(forest.node_of[inside], is_call | between)
    around = np.where((around >= 0) & is_call[around], around, -1)
    inside, around = inside[around >= 0], around[around >= 0]
    if not len(inside):
        return sums
    outer = np.flatnonzero(calls & np.isin(forest.node_of, around))
    of_node = _members(forest.node_of[outer], outer)
    parts: dict[int, list[int]] = defaultdict(list)
    for record, node in zip(inside.tolist(), around.tolist(), strict=True):
        whole = of_node[node][0]
        if records["log"][record] and records["parent"][record] == records["node"][whole]:
            # The event of a span, written in it: it tells what the span tells.
            groups.join(whole, record, Rule.SAME_SPAN)
        elif records["role"][record] == ECHO:
            groups.join(whole, record, Rule.ECHO)
        elif records["embeds"][record] == records["embeds"][whole]:
            parts[node].append(record)
    _join_parts(groups, records, {node: (of_node[node], found) for node, found in parts.items()}, sums)
    return sums


def _join_parts(groups: Groups, records: Records, nested: dict[int, tuple[list[int], list[int]]], sums: Bools) -> None:
    """Decide over all nodes as the groups were before any of them: no decision may hang on another's turn."""
    single: list[tuple[list[int], int]] = []
    unit = groups.names()
    for outer, inner in nested.values():
        answered = [record for record in inner if not records["failed"][record]]
        parts = {int(unit[record]): record for record in answered or inner}
        if int(unit[outer[0]]) in parts:
            continue
        if len(parts) > 1:
            sums[outer] = _may_be_sum(records, outer[0], list(parts.values()))
        elif bool(records["failed"][outer].all()) == (not answered):
            single.append((outer, next(iter(parts.values()))))
    # A call around one that is a sum is a sum too.
    while over := [pair for pair in single if sums[pair[1]]]:
        for outer, _ in over:
            sums[outer] = True
        single = [pair for pair in single if not sums[pair[1]]]
    for outer, inside in single:
        if not _are_two(records, outer[0], inside):
            groups.join(outer[0], inside, Rule.NESTED)


def _are_two(records: Records, outer: int, inner: int) -> bool:
    """Whether a call and one inside it are two: a guardrail's call, say. LiteLLM's ids are its own."""
    ids = {int(records["response"][outer]), int(records["response"][inner])} - {0}
    return len(ids) > 1 and _usage(records, outer) != _usage(records, inner)


def _may_be_sum(records: Records, outer: int, parts: list[int]) -> bool:
    """Whether a call around several is their sum. One that a provider gave an id must count like one."""
    if not (records["response"][outer] and records["metered"][outer]):
        return True
    below, whole = int(records["input"][parts][records["metered"][parts]].sum()), int(records["input"][outer])
    return whole == below if records["metered"][parts].all() else whole >= below


def _join_nested_tools(groups: Groups, records: Records, forest: Forest) -> None:
    """A tool execution directly inside one of the same tool is that one, told by the layer below."""
    tools = np.flatnonzero(records["role"] == TOOL)
    if not len(tools):
        return
    around = forest.nearest(forest.node_of[tools], forest.mask(records["role"] == TOOL))
    of_node = _members(forest.node_of[tools], tools)
    for record, node in zip(tools.tolist(), around.tolist(), strict=True):
        if node >= 0 and records["tool_name"][record] == records["tool_name"][of_node[node][0]] != 0:
            ids = {int(records["tool_call"][each]) for each in (record, of_node[node][0])} - {0}
            if len(ids) < 2:
                groups.join(of_node[node][0], record, Rule.SAME_TOOL_CALL)


def _join_by_time(groups: Groups, records: Records, sums: Bools) -> None:
    """Join across traces what different instrumentations of one service say of one time, where an id is missing."""
    calls = np.flatnonzero((records["role"] == CALL) & ~sums)
    _, unit = np.unique(groups.names()[calls], return_inverse=True)
    without_id = np.ones(int(unit.max(initial=-1)) + 1, np.bool_)
    without_id[unit[records["response"][calls] != 0]] = False
    services = np.unique(records["service"][calls[without_id[unit]]])
    mine = calls[np.isin(records["service"][calls], services)]
    for watched in _members(records["service"][mine], mine).values():
        if len(np.unique(records["scope"][watched])) < 2:
            continue
        units = _members(np.array([groups.find(record) for record in watched]), np.array(watched))
        told = {name: _Telling(records, np.array(members)) for name, members in units.items()}
        for first, second in _candidates(told):
            a, b = told[groups.find(first)], told[groups.find(second)]
            if a is not b and a.may_be(b):
                groups.join(first, second, Rule.SAME_TIME)
                told[groups.find(first)] = a.with_(b)


def rivals(mine: Records, others: Records) -> Bools:
    """Which of the others one of mine may be matched with by time; both are calls of one service."""
    found = np.zeros(len(others), np.bool_)
    no_id = others["response"] == 0
    if not no_id.any():
        mine = mine[mine["response"] == 0]
    in_order = np.argsort(others["start"], kind="stable")
    metered = others["metered"][in_order]
    by_usage: dict[tuple[int, int] | None, list[int]] = defaultdict(list)
    for place in in_order[metered].tolist():
        by_usage[_usage(others, place)].append(place)
    near = {usage: np.array(places, np.int64) for usage, places in by_usage.items()}
    unmetered, nothing = in_order[~metered], np.zeros(0, np.int64)
    for record in range(len(mine)):
        usage, one = _usage(mine, record), mine[record]
        for places in (in_order,) if usage is None else (near.get(usage, nothing), unmetered):
            at = int(np.searchsorted(others["start"][places], one["start"])) if len(places) else 0
            same = places[max(0, at - _MAX_RIVALS) : at + _MAX_RIVALS]
            them = others[same]
            holds = (one["start"] <= them["start"] + _SLACK_NS) & (them["end"] <= one["end"] + _SLACK_NS)
            held = (them["start"] <= one["start"] + _SLACK_NS) & (one["end"] <= them["end"] + _SLACK_NS)
            strange = (them["scope"] != one["scope"]) & (no_id[same] | (one["response"] == 0))
            found[same[(holds | held) & strange]] = True
    return found


class _Telling:
    """What the records of one call, joined so far, say of it."""

    def __init__(self, records: Records, members: Ints) -> None:
        mine = records[members]
        best = mine[np.lexsort((mine["output"], mine["input"], mine["metered"]))[-1]]
        self.scopes = set(mine["scope"].tolist())
        self.responses = set(mine["response"].tolist()) - {0}
        self.models = set(mine["model"].tolist()) - {0}
        self.metered = bool(best["metered"])
        self.usage = (int(best["input"]), max(0, int(best["output"])))
        self.kind = (bool(mine["failed"].all()), bool(best["embeds"]))
        self.start, self.end = int(mine["start"].min()), int(mine["end"].max())
        self.times = sorted(set(zip(mine["start"].tolist(), mine["end"].tolist(), strict=True)))[:_MAX_OPEN]
        self.order = (self.start, self.end, int(mine["node"].min()))

    def with_(self, other: "_Telling") -> "_Telling":
        """Both as one."""
        if other.metered and not self.metered:
            self.metered, self.usage = True, other.usage
        self.scopes |= other.scopes
        self.responses |= other.responses
        self.models |= other.models
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.times = sorted({*self.times, *other.times})[:_MAX_OPEN]
        return self

    def may_be(self, other: "_Telling") -> bool:
        """Whether the two may be one call that two instrumentations told, and no ids say whether they are."""
        return (
            self.scopes.isdisjoint(other.scopes)
            and not (self.responses and other.responses)
            and (self.holds(other) or other.holds(self))
            and self._agrees(other)
        )

    def _agrees(self, other: "_Telling") -> bool:
        known = self.metered and other.metered
        longer, shorter = sorted((self.end - self.start, other.end - other.start), reverse=True)
        return (
            self.kind == other.kind
            and (self.usage == other.usage if known else longer - shorter <= max(longer // 2, _SHORT_NS))
            and (not (self.models and other.models) or not self.models.isdisjoint(other.models))
        )

    def holds(self, other: "_Telling") -> bool:
        """Whether a record of the other lies within the time of one of this one's."""
        return any(
            start <= inner_start + _SLACK_NS and inner_end <= end + _SLACK_NS
            for start, end in self.times
            for inner_start, inner_end in other.times
        )


def _candidates(told: dict[int, _Telling]) -> list[tuple[int, int]]:
    """Pairs that may be one, the surest and closest in time first."""
    found = set()
    for (first, a), (second, b) in _neighbours(told):
        if a.may_be(b):
            apart = abs((a.end - a.start) - (b.end - b.start))
            (low, one), (high, other) = sorted([(a.order, first), (b.order, second)])
            # Agreement of two metered ones is proof; without usage time alone must do.
            found.add((not (a.metered and b.metered), apart, low, high, one, other))
    return [(one, other) for *_, one, other in sorted(found)]


def _neighbours(told: dict[int, _Telling]) -> Iterator[tuple[tuple[int, _Telling], tuple[int, _Telling]]]:
    """Each call without an id beside those it may be: of the same usage, or one of the two without usage."""
    in_order = sorted(told.items(), key=lambda item: item[1].order)
    same_usage: dict[tuple[int, int], list[tuple[int, _Telling]]] = defaultdict(list)
    for item in in_order:
        if item[1].metered:
            same_usage[item[1].usage].append(item)
    unmetered = [item for item in in_order if not item[1].metered]
    for item in in_order:
        telling = item[1]
        if not telling.responses:
            for others in (same_usage[telling.usage], unmetered) if telling.metered else (in_order,):
                yield from ((item, rival) for rival in _around(telling, others))


def _around(telling: _Telling, others: list[tuple[int, _Telling]]) -> Iterator[tuple[int, _Telling]]:
    """Those that began about when this one did: those it may hold, and those that may hold it."""
    at = bisect_left(others, telling.order, key=lambda item: item[1].order)
    yield from others[max(0, at - _MAX_RIVALS) : at]
    for item in others[at : at + _MAX_RIVALS]:
        if item[1].start > telling.end:
            return
        yield item


def _members(keys: Hashes | Ints, records: Ints) -> dict[int, list[int]]:
    """Record numbers by their key, in the order given; `keys` has one for each of `records`."""
    found: dict[int, list[int]] = defaultdict(list)
    for key, record in zip(keys.tolist(), records.tolist(), strict=True):
        found[key].append(record)
    return found
