"""Which records are one: groups that grow by joining two at a time."""

import numpy as np

from collector.accounting.records import Ints


class Groups:
    """A disjoint-set forest over record numbers (Tarjan 1975). A group is named by its smallest member.

    `why` holds the rule under which each record was first joined to another.
    """

    def __init__(self, size: int) -> None:
        self._up = np.arange(size)
        self.why: dict[int, str] = {}

    def find(self, record: int) -> int:
        """The name of a record's group."""
        root = record
        while self._up[root] != root:
            root = int(self._up[root])
        while self._up[record] != root:
            self._up[record], record = root, int(self._up[record])
        return root

    def join(self, first: int, second: int, why: str) -> None:
        """These two are one."""
        if first == second:
            return
        self.why.setdefault(first, why)
        self.why.setdefault(second, why)
        a, b = self.find(first), self.find(second)
        self._up[max(a, b)] = min(a, b)

    def names(self) -> Ints:
        """The name of each record's group."""
        names = self._up
        while True:
            above = names[names]
            if (above == names).all():
                return names.astype(np.int64)
            names = above
