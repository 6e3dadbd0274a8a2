"""One push and its acknowledgements → how long each client took, and who is missing.

Times run from the step that accepted the command, by a clock that never goes back. Counted are the
clients that were connected when it was pushed; one that reconnects and acknowledges counts as well.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from schemas.kills import Acks, ClientAck

NS_PER_MS = 1_000_000


class ClientId(NamedTuple):
    """One client: the name it gives itself is its own among those of its key."""

    key_id: str
    client: str
    speaks_for: str


class Propagation:
    """The acknowledgements of one push."""

    def __init__(self, clients: Iterable[ClientId], started_ns: int, done: Callable[[Acks], None]) -> None:
        """`done` is told once: when the last of `clients` has acknowledged, or at `finish`."""
        self._times: dict[ClientId, int | None] = dict.fromkeys(clients)
        self._started_ns = started_ns
        self._missing = len(self._times)
        self._done = done
        self._finished = False

    def ack(self, client: ClientId, now_ns: int) -> None:
        """This client acts by it now. Only its first word counts."""
        if client not in self._times or self._times[client] is not None:
            return
        self._times[client] = now_ns - self._started_ns
        self._missing -= 1
        if not self._missing:
            self.finish()

    def finish(self) -> None:
        """Wait no longer."""
        if not self._finished:
            self._finished = True
            self._done(self.acks())

    def acks(self) -> Acks:
        """As it stands; the slowest clients first, and those that are missing before them."""
        rows = sorted(self._times.items(), key=lambda item: (item[1] is not None, -(item[1] or 0), item[0]))
        times = sorted(took for _, took in rows if took is not None)
        return Acks(
            connected=len(rows),
            acked=len(times),
            p50_ms=_percentile(times, 50),
            p99_ms=_percentile(times, 99),
            max_ms=_percentile(times, 100),
            finished=self._finished,
            clients=[ClientAck(c.client, c.key_id, c.speaks_for, _ms(took)) for c, took in rows],
        )


def _percentile(times: list[int], percent: int) -> float | None:
    """The smallest time that `percent` of all do not exceed."""
    return _ms(times[max(0, -(-len(times) * percent // 100) - 1)]) if times else None


def _ms(took_ns: int | None) -> float | None:
    return None if took_ns is None else round(took_ns / NS_PER_MS, 3)
