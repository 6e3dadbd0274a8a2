"""Records → the forest of their spans, and who stands above whom.

Several records may tell of one span (a repetition with other content): they are one node. A parent
that has not arrived is no node. Nothing here trusts the tree to be one: a cycle ends every walk.
"""

from typing import NamedTuple

import numpy as np

from collector.accounting.records import Ints, Records
from collector.columns import Bools

# Deeper nesting than any framework makes; it bounds what a hostile chain of spans can cost.
_MAX_DEPTH = 256


class Forest(NamedTuple):
    """`node_of`: record → node. `parent`: node → node above, -1 where there is none."""

    node_of: Ints
    parent: Ints

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.parent)

    def mask(self, records: Bools) -> Bools:
        """The nodes of some records."""
        marked = np.zeros(self.size, np.bool_)
        marked[self.node_of[records]] = True
        return marked

    def nearest(self, nodes: Ints, wanted: Bools) -> Ints:
        """For each node the nearest wanted one above it, -1 if there is none."""
        found = np.full(len(nodes), -1, np.int64)
        current = self.parent[nodes]
        active = np.flatnonzero(current >= 0)
        for _ in range(_MAX_DEPTH):
            if not len(active):
                break
            at = current[active]
            hit = wanted[at]
            found[active[hit]] = at[hit]
            active = active[~hit]
            current[active] = self.parent[current[active]]
            active = active[current[active] >= 0]
        return found

    def above(self, nodes: Ints) -> Bools:
        """Every node above one of these."""
        marked = np.zeros(self.size, np.bool_)
        frontier = self.parent[nodes]
        while True:
            frontier = np.unique(frontier[frontier >= 0])
            frontier = frontier[~marked[frontier]]
            if not len(frontier):
                return marked
            marked[frontier] = True
            frontier = self.parent[frontier]


def forest(records: Records) -> Forest:
    """The forest of these records."""
    nodes, first, node_of = np.unique(records["node"], return_index=True, return_inverse=True)
    above = records["parent"][first]
    if len(nodes) < len(records):
        # Of records that disagree the same one must be believed whatever came first.
        np.maximum.at(above, node_of, records["parent"])
    place = np.searchsorted(nodes, above)
    place[place == len(nodes)] = 0
    parent = np.where((above != 0) & (nodes[place] == above), place, -1) if len(nodes) else place
    parent[parent == np.arange(len(nodes))] = -1
    return Forest(node_of.astype(np.int64), parent.astype(np.int64))
