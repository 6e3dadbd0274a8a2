"""Records → what each one is: alone or part of a call, billed or not, and whose name it bears.

A pure function of the set of records. Invariants: a call is billed once; a sum is billed only when
nothing metered stands below it and no smaller sum that is billed does; what has no usage is never
free, only unmetered.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from collector.accounting.links import Links, link
from collector.accounting.records import AGGREGATE, CALL, ECHO, NO_ROLE, TOOL, Hashes, Ints, Records, mix
from collector.accounting.tree import Forest, forest
from collector.columns import Bools
from schemas.accounting import Rule

RULES = (
    "", Rule.USAGE, Rule.NO_USAGE, Rule.FAILED, Rule.AGGREGATE, Rule.AGGREGATE_ONLY, Rule.COVERED, Rule.ECHO,
    Rule.TOOL, Rule.STORED_RESPONSE,
)  # fmt: skip
"""What a unit can be, by its code."""
BILLED = (Rule.USAGE, Rule.NO_USAGE, Rule.AGGREGATE_ONLY, Rule.TOOL)
"""The rules under which a unit counts as a call, or as a tool execution."""
COUNTED = (*BILLED, Rule.FAILED)
"""The rules under which a unit counts at all: failed calls are counted apart."""
_CODE = {rule: code for code, rule in enumerate(RULES)}


class Resolution(NamedTuple):
    """By record: `unit` names the records that are one; `code` says what the unit is (`RULES`).

    `claim` is the record whose agent name it bears, -1 for none. `state` changes whenever anything
    does that decides how the unit is booked. `why` holds, for records of a unit of several, the rule
    that joined them.
    """

    unit: Ints
    code: Ints
    claim: Ints
    state: Hashes
    why: dict[int, str]


def resolve(records: Records) -> Resolution:
    """What these records are, seen together."""
    tree = forest(records)
    links = link(records, tree)
    unit, sums = _units(records, tree, links)
    code = _codes(records, tree, unit, sums)
    claim = _claims(records, tree)
    return Resolution(unit, code, claim, _states(records, unit, code, claim), links.groups.why)


def _units(records: Records, tree: Forest, links: Links) -> tuple[Ints, Bools]:
    """Sums of one node are one unit; everything else is what the links say."""
    sums = links.sums | (records["role"] == AGGREGATE)
    return np.where(sums, len(records) + tree.node_of, links.groups.names()), sums


def _codes(records: Records, tree: Forest, unit: Ints, sums: Bools) -> Ints:
    roles = records["role"]
    calls = (roles == CALL) & ~sums
    _, of = np.unique(unit, return_inverse=True)
    count = int(of.max(initial=-1)) + 1

    def some(which: Bools) -> Bools:
        found: Bools = (np.bincount(of[which], minlength=count) > 0)[of]
        return found

    metered = some(calls & records["metered"])
    answered = some(calls & ~records["failed"])
    is_call = some(calls)
    billed_sums = _billed_sums(records, tree, calls, sums)
    over = tree.mask(billed_sums)
    covered = np.zeros(len(records), np.bool_)
    if over.any():
        unmetered = np.flatnonzero(calls & ~metered)
        covered[unmetered] = tree.nearest(tree.node_of[unmetered], over) >= 0
    # fmt: off
    code: Ints = np.select(
        [
            sums & billed_sums, sums, is_call & metered, is_call & some(covered), is_call & answered, is_call,
            roles == ECHO, roles == TOOL, records["stored"],
        ],
        [_CODE[rule] for rule in (
            Rule.AGGREGATE_ONLY, Rule.AGGREGATE, Rule.USAGE, Rule.COVERED, Rule.NO_USAGE, Rule.FAILED, Rule.ECHO,
            Rule.TOOL, Rule.STORED_RESPONSE,
        )],
        default=0,
    )
    # fmt: on
    return code


def _billed_sums(records: Records, tree: Forest, calls: Bools, sums: Bools) -> Bools:
    """The smallest sums that have usage and nothing metered below them."""
    with_usage = sums & records["metered"]
    if not with_usage.any():
        return np.zeros(len(records), np.bool_)
    over_metered = tree.above(tree.node_of[calls & records["metered"]])
    wanted = tree.mask(with_usage) & ~over_metered
    smallest = wanted & ~tree.above(np.flatnonzero(wanted))
    billed: Bools = with_usage & smallest[tree.node_of]
    return billed


def _claims(records: Records, tree: Forest) -> Ints:
    claim = np.where(records["claims"], np.arange(len(records)), -1)
    if not records["claims"].any():
        return claim
    claiming = np.flatnonzero(records["claims"])
    # Of several records of one span that name an agent always the same one is believed.
    order = np.lexsort((records["input"][claiming], records["end"][claiming], records["start"][claiming]))
    by_node = np.full(tree.size, -1, np.int64)
    by_node[tree.node_of[claiming[order]]] = claiming[order]
    heirs = np.flatnonzero(~records["claims"] & ((records["parent"] != 0) | (records["role"] != NO_ROLE)))
    above = tree.nearest(tree.node_of[heirs], by_node >= 0)
    claim[heirs] = np.where(above >= 0, by_node[above], -1)
    return claim


def _states(records: Records, unit: Ints, code: Ints, claim: Ints) -> Hashes:
    named = np.where(claim >= 0, records["node"][claim], 0).astype(np.uint64)
    # One record more or less shows in the sum, whatever order they are added in.
    parts = mix(mix(records["node"], records["start"].view(np.uint64)), named ^ code.astype(np.uint64))
    _, of = np.unique(unit, return_inverse=True)
    sums: npt.NDArray[np.uint64] = np.zeros(int(of.max(initial=-1)) + 1, np.uint64)
    np.add.at(sums, of, parts)
    return sums[of] | np.uint64(1)
