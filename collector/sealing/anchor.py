"""The heads of all logs in, one entry of the anchor log out, every minute, also when nothing happened.

The anchor bounds when every segment came, and makes it visible when a log shrinks or vanishes. Any
collector of a deployment may write it: its numbers are dense and write-once, so who is second reads
what the first wrote, and adds its heads the next time.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

from collector.ledger import layout
from collector.ledger.entry import AnchorEntry, Head, digest, parse_anchor
from collector.sealing.keys import TrustChain
from collector.sealing.log import Log, fenced
from collector.stores.contract import Exists, ObjectStore
from schemas.errors import Permanent

INTERVAL_NS = 60 * 10**9


class Anchor:
    """Owned by one thread. `clock` returns Unix ns; `log` signs with the anchor's key."""

    def __init__(self, store: ObjectStore, chain: TrustChain, log: Log, *, clock: Callable[[], int]) -> None:
        self._store = store
        self._chain = chain
        self._log = log
        self._clock = clock
        self._newest: AnchorEntry | None = None

    def due(self) -> bool:
        """Whether a minute has passed since the newest entry, or the clock was set back."""
        newest = self._newest
        return newest is None or not 0 <= self._clock() - newest.at < INTERVAL_NS

    def write(self) -> AnchorEntry | None:
        """Write the heads as they are now; None if another collector did at this moment.

        Raises `Retryable` if the store is away: the next call tries again.
        """
        self._log.resume()
        self._read_newest()
        trust = self._chain.refresh()
        assert trust is not None
        newest = self._newest
        entry = AnchorEntry(
            origin=self._log.origin,
            n=self._log.size,
            at=max(self._clock(), newest.at + 1 if newest else 0),
            heads=tuple(self._heads([log for log in trust.logs if log != layout.ANCHOR])),
            trust=(trust.n, self._chain.digest),
            prev=self._log.prev,
        )
        with suppress(Exists):
            self._log.put(entry.encode())
            self._newest = entry
            return entry
        return None

    def _read_newest(self) -> None:
        n = self._log.size - 1
        if n < 0 or (self._newest is not None and self._newest.n == n):
            return
        key = layout.entry_key(layout.ANCHOR, n)
        try:
            self._newest = parse_anchor(self._store.get(key) or b"", origin=self._log.origin, n=n)
        except Permanent as error:
            raise fenced(key) from error

    def _heads(self, logs: list[str]) -> Iterator[Head]:
        known = {head.writer: head for head in self._newest.heads} if self._newest else {}
        for writer in logs:
            head = known.get(writer)
            while entry := self._store.get(layout.entry_key(writer, head.size if head else 0)):
                head = Head(writer, head.size + 1 if head else 1, digest(entry))
            if head is not None:
                yield head
