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
from collector.accounting.records import CALL, ECHO, TOOL, Bools, Hashes, Ints, Records
from collector.accounting.tree import Forest
from schemas.accounting import Rule

# One process, two clocks reads: a wrapper may end this much before what it wraps.
_SLACK_NS = 2_000_000
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
        for same, _ in _repeated(records["node"], (roles == role) & ~records["log"]):
            groups.join(*same, Rule.SAME_SPAN)
        _join_same_id(groups, records, name, (roles == role) & (records[name] != 0), why)
    sums = _join_nested(groups, records, forest)
    _join_nested_tools(groups, records, forest)
    _join_by_time(groups, records, sums)
    return Links(groups, sums)


def _repeated(keys: Hashes, among: Bools) -> Iterator[tuple[tuple[int, int], int]]:
    """Neighbours that have one key, and that key."""
    where = np.flatnonzero(among)
    order = where[np.argsort(keys[where], kind="stable")]
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    for first, second in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        yield (first, second), int(keys[first])


def _join_same_id(groups: Groups, records: Records, name: str, among: Bools, why: str) -> None:
    """Join records of one id that tell of one time, or that one sender told at different times.

    Ids are the provider's to make unique, and some do not. Whoever is wrong about it must not make
    another call disappear: of one id, other usage is another call, unless two instrumentations tell
    it at one time.
    """
    repeated = {key for _, key in _repeated(records[name], among)}
    if not repeated:
        return
    where = np.flatnonzero(among & np.isin(records[name], np.array(sorted(repeated), np.uint64)))
    order = where[np.lexsort((records["node"][where], records["end"][where], records["start"][where]))]
    for members in _members(records[name][order], order).values():
        open_: list[int] = []
        senders: dict[tuple[int, int], _Sender] = defaultdict(_Sender)
        for record in members:
            start = records["start"][record] - _CLOCK_SKEW_NS
            open_ = [each for each in open_ if records["end"][each] >= start][-_MAX_OPEN:]
            twin = next((each for each in open_ if _may_be_one(records, each, record)), None)
            if twin is not None:
                groups.join(twin, record, why)
            open_.append(record)
            sender = senders[int(records["service"][record]), int(records["credential"][record])]
            known = sender.same(record, _usage(records, record))
            if known is not None:
                groups.join(known, record, why)


class _Sender:
    """What one sender told of one id so far, in order of time.

    `current` is the newest record, of the usage `told`: None until one says it.
    """

    def __init__(self) -> None:
        self._current: int | None = None
        self._told: tuple[int, int] | None = None
        self._by_usage: dict[tuple[int, int], int] = {}

    def same(self, record: int, usage: tuple[int, int] | None) -> int | None:
        """An earlier record that this one tells again, if there is one."""
        known = self._current if usage is None or self._told in {None, usage} else self._by_usage.get(usage)
        self._current = record
        if usage is not None:
            self._told = usage
            self._by_usage[usage] = record
        return known


def _usage(records: Records, record: int) -> tuple[int, int] | None:
    if not records["metered"][record]:
        return None
    return int(records["input"][record]), max(0, int(records["output"][record]))


def _may_be_one(records: Records, first: int, second: int) -> bool:
    usages = {_usage(records, first), _usage(records, second)} - {None}
    return len(usages) < 2 or bool(records["scope"][first] != records["scope"][second])


def _join_nested(groups: Groups, records: Records, forest: Forest) -> Bools:
    """A call and the one call inside it are one; the call around several others is returned as their sum."""
    sums = np.zeros(len(records), np.bool_)
    calls = (records["role"] == CALL) & ~records["log"]
    inside = np.flatnonzero((records["role"] == CALL) | (records["role"] == ECHO))
    around = forest.nearest(forest.node_of[inside], forest.mask(calls))
    inside, around = inside[around >= 0], around[around >= 0]
    if not len(inside):
        return sums
    outer = np.flatnonzero(calls & _mask(forest.size, around)[forest.node_of])
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
    for node, found in parts.items():
        _join_parts(groups, records, of_node[node], found, sums)
    return sums


def _join_parts(groups: Groups, records: Records, outer: list[int], inner: list[int], sums: Bools) -> None:
    answered = [record for record in inner if not records["failed"][record]]
    parts = {groups.find(record): record for record in sorted(answered or inner)}
    if groups.find(outer[0]) in parts:
        return
    if len(parts) == 1:
        inside = next(iter(parts.values()))
        alike = bool(records["failed"][outer].all()) == (not answered)
        if alike and not _are_two(records, outer[0], inside):
            groups.join(outer[0], inside, Rule.NESTED)
    elif _may_be_sum(records, outer[0], list(parts.values())):
        sums[outer] = True


def _are_two(records: Records, outer: int, inner: int) -> bool:
    """Whether a call and one inside it have ids and usage of their own: a guardrail's call, say."""
    ids = {int(records["response"][outer]), int(records["response"][inner])} - {0}
    usages = {_usage(records, outer), _usage(records, inner)} - {None}
    return len(ids) > 1 and len(usages) > 1


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
    for rivals in _members(records["service"][mine], mine).values():
        if len(np.unique(records["scope"][rivals])) < 2:
            continue
        units = _members(np.array([groups.find(record) for record in rivals]), np.array(rivals))
        told = {name: _Telling(records, np.array(members)) for name, members in units.items()}
        for first, second in _candidates(told):
            a, b = told[groups.find(first)], told[groups.find(second)]
            if a is not b and a.strange_to(b):
                groups.join(first, second, Rule.SAME_TIME)
                told[groups.find(first)] = a.with_(b)


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
        self.order = (self.start, self.end, int(mine["node"].min()))

    def with_(self, other: "_Telling") -> "_Telling":
        """Both as one."""
        self.scopes |= other.scopes
        self.responses |= other.responses
        return self

    def strange_to(self, other: "_Telling") -> bool:
        """Whether two instrumentations told them, and no ids say whether they are one."""
        return self.scopes.isdisjoint(other.scopes) and not (self.responses and other.responses)

    def agrees(self, other: "_Telling") -> bool:
        """Whether the two may be one call, their ids aside."""
        return (
            self.kind == other.kind
            and (not (self.metered and other.metered) or self.usage == other.usage)
            and (not (self.models and other.models) or not self.models.isdisjoint(other.models))
        )

    def holds(self, other: "_Telling") -> bool:
        """Whether the other lies within this one's time."""
        return self.start <= other.start + _SLACK_NS and other.end <= self.end + _SLACK_NS


def _candidates(told: dict[int, _Telling]) -> list[tuple[int, int]]:
    """Pairs that may be one, the surest and closest in time first."""
    found = set()
    for (first, a), (second, b) in _neighbours(told):
        if a.strange_to(b) and (a.holds(b) or b.holds(a)) and a.agrees(b):
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
            for rivals in (same_usage[telling.usage], unmetered) if telling.metered else (in_order,):
                yield from ((item, rival) for rival in _around(telling, rivals))


def _around(telling: _Telling, rivals: list[tuple[int, _Telling]]) -> Iterator[tuple[int, _Telling]]:
    """The rivals that began about when this one did: those it may hold, and those that may hold it."""
    at = bisect_left(rivals, telling.order, key=lambda item: item[1].order)
    yield from rivals[max(0, at - _MAX_RIVALS) : at]
    for item in rivals[at : at + _MAX_RIVALS]:
        if item[1].start > telling.end:
            return
        yield item


def _mask(size: int, numbers: Ints) -> Bools:
    mask = np.zeros(size, np.bool_)
    mask[numbers] = True
    return mask


def _members(keys: Hashes | Ints, records: Ints) -> dict[int, list[int]]:
    """Record numbers by their key, in the order given; `keys` has one for each of `records`."""
    found: dict[int, list[int]] = defaultdict(list)
    for key, record in zip(keys.tolist(), records.tolist(), strict=True):
        found[key].append(record)
    return found
