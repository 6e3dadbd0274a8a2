"""Durable notices → one delivery for each target that wants them, tried until it succeeds or is given up.

Invariants: a notice is routed in the transaction that moves the position past it, so each target has
one delivery of it, however often the process ends; a delivery stays pending until its outcome is
durable, so it is made at least once. Each target has a lane of its own, and attempts run in threads,
so that a dead target delays nobody. Everything here belongs to the owner's loop.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from collector.governance import entries
from collector.notifications.config import Config, Target
from collector.notifications.courier import Courier, Outcome
from collector.state.notices import Notice
from collector.state.rows import Delivery, DeliveryState, Group, StoredNotice
from collector.state.store import State
from schemas.errors import Permanent
from schemas.tables import EntryKind

_LOG = logging.getLogger("spanward.notifications")
_ACTOR = "system:notifications"
_ROUTED = "notices_routed"
_ROUTED_AT_ONCE = 100
# A process costs half a second of computing to start, and its memory to keep.
_LINGER_S = 30.0
# An attempt that has begun when we stop may end, so that it need not be made again.
_STOP_S = 2.0
_MOST = 2**62
_DOUBLINGS = 30
_RANDOM = random.SystemRandom()

T = TypeVar("T")


class Durable(Protocol):
    """Whoever commits: changes are recorded in `group`, and are on disk when `durable` returns."""

    @property
    def group(self) -> Group:
        """Where changes are recorded now."""

    async def durable(self) -> None:
        """Return once everything recorded so far is on disk."""


class Tested(NamedTuple):
    """What became of a test notice at one target; delivered when `error` is empty."""

    target: str
    error: str


class Lane:
    """What waits for one target, by the time of its next attempt."""

    def __init__(self, target: Target, *, timeout_s: float) -> None:
        self.target = target
        self.courier = Courier(target, timeout_s=timeout_s)
        self.turn = asyncio.Lock()
        """Held for an attempt: the courier serves one at a time."""
        self._waiting: list[tuple[float, Delivery]] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, due: float, delivery: Delivery) -> None:
        """Try this delivery at that time of the loop's clock."""
        heapq.heappush(self._waiting, (due, delivery))
        self._changed.set()

    async def next(self, at_most_s: float) -> Delivery | None:
        """The next delivery once it is due, or `None` when there is none for so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + at_most_s
        while True:
            self._changed.clear()
            now = loop.time()
            if self._waiting and self._waiting[0][0] <= now:
                return heapq.heappop(self._waiting)[1]
            if now >= end:
                return None
            wake = min(end, self._waiting[0][0]) if self._waiting else end
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wake - now)


class NoticeOutbox:
    """Routes notices and delivers them. `run` until `stop`."""

    def __init__(self, config: Config, state: State, committer: Durable, *, clock: Callable[[], int]) -> None:
        self._config = config
        self._state = state
        self._committer = committer
        self._clock = clock
        self._lanes = {t.name: Lane(t, timeout_s=config.timeout.seconds) for t in config.targets}
        # One attempt a target at a time, and a test beside it waits for its turn before it takes a thread.
        self._threads = ThreadPoolExecutor(max(1, len(self._lanes)), thread_name_prefix="notify")
        self._routed = int(state.meta(_ROUTED) or b"0")
        self._wanted = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """A group became durable."""
        if self._state.last_notice > self._routed:
            self._wanted.set()

    async def run(self) -> None:
        """Take up what was left, then route and deliver. Returns at once when that is switched off."""
        if not self._config.enabled:
            return
        self._resume()
        self.wake()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._route())
            for lane in self._lanes.values():
                tasks.create_task(self._deliver(lane))

    async def stop(self) -> None:
        """Begin no further attempt, and end those that take too long; what is not delivered is tried after a start."""
        if self._stopping:
            return
        self._stopping = True
        turns = [asyncio.create_task(lane.turn.acquire()) for lane in self._lanes.values()]
        if turns:
            await asyncio.wait(turns, timeout=_STOP_S)
        for lane in self._lanes.values():
            lane.courier.kill()
        await asyncio.gather(*turns)
        for lane in self._lanes.values():
            await self._in_thread(lane.courier.rest)
        self._threads.shutdown()

    async def test(self, name: str, notice: Notice) -> list[Tested]:
        """Deliver a notice now, once, to one target or to all; raises `Permanent` for a name nobody has."""
        if name and name not in self._lanes:
            raise Permanent(f"There is no target {name!r}.", fix=f"Configured are: {', '.join(self._lanes) or 'none'}.")
        lanes = [lane for lane in self._lanes.values() if name in {"", lane.target.name}]
        outcomes = await asyncio.gather(*(self._attempt(lane, notice) for lane in lanes))
        return [Tested(lane.target.name, outcome.error) for lane, outcome in zip(lanes, outcomes, strict=True)]

    def unfinished(self, state: DeliveryState, limit: int) -> list[tuple[Delivery, Notice]]:
        """The newest deliveries that wait or were given up, each with what it tells."""
        found = [
            (each, self._state.notices(each.notice_number - 1, 1)) for each in self._state.deliveries(state, limit)
        ]
        # Pruning may have come in between: then the next number is another notice's, or nobody's.
        return [(each, read[0].notice) for each, read in found if read and read[0].number == each.notice_number]

    def _resume(self) -> None:
        """Pending deliveries are tried at once; those of targets that are gone are given up."""
        for delivery in reversed(self._state.deliveries("pending", _MOST)):
            lane = self._lanes.get(delivery.target)
            if lane is None:
                self._give_up(delivery._replace(error="The target is not configured any more."))
            else:
                lane.put(0.0, delivery)

    async def _route(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while found := self._state.notices(self._routed, _ROUTED_AT_ONCE):
                for stored in found:
                    self._route_one(stored)
                self._routed = found[-1].number
                self._committer.group.meta[_ROUTED] = str(self._routed).encode()
                await self._committer.durable()

    def _route_one(self, stored: StoredNotice) -> None:
        for lane in self._lanes.values():
            if lane.target.wants(stored.notice):
                delivery = Delivery(stored.number, lane.target.name, "pending", 0, "", self._clock())
                if len(lane) >= self._config.max_backlog:
                    name = f"extensions.notifications.max_backlog ({self._config.max_backlog})"
                    self._give_up(delivery._replace(error=f"More than {name} wait for this target."))
                else:
                    self._committer.group.deliveries.append(delivery)
                    lane.put(0.0, delivery)

    async def _deliver(self, lane: Lane) -> None:
        """One target's deliveries, one after the other."""
        while True:
            delivery = await lane.next(_LINGER_S)
            if delivery is None:
                async with lane.turn:
                    await self._in_thread(lane.courier.rest)
                continue
            outcome = await self._attempt(lane, self._notice(delivery))
            if not outcome.error:
                done = delivery._replace(state="delivered", attempts=delivery.attempts + 1, error="")
                self._committer.group.deliveries.append(done)
            elif self._stopping:
                return
            else:
                self._failed(lane, delivery, outcome)
            await self._committer.durable()

    async def _attempt(self, lane: Lane, notice: Notice) -> Outcome:
        async with lane.turn:
            if self._stopping:
                return Outcome("The collector is stopping.")
            return await self._in_thread(lambda: lane.courier.send(notice))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _failed(self, lane: Lane, delivery: Delivery, outcome: Outcome) -> None:
        """Try again later, or not at all."""
        delivery = delivery._replace(attempts=delivery.attempts + 1, error=outcome.error)
        if self._clock() - delivery.created >= self._config.max_elapsed_time.ns:
            self._give_up(delivery)
            return
        if delivery.attempts == 1:
            _LOG.warning("Target %s was not told and will be tried again: %s", delivery.target, outcome.error)
        self._committer.group.deliveries.append(delivery)
        lane.put(asyncio.get_running_loop().time() + self._wait_s(delivery.attempts, outcome.retry_after_s), delivery)

    def _wait_s(self, attempts: int, asked_s: int) -> float:
        initial, longest = self._config.initial_interval.seconds, self._config.max_interval.seconds
        wait = min(initial * 2.0 ** min(attempts - 1, _DOUBLINGS), longest)
        return max(_RANDOM.uniform(wait / 2, wait), min(asked_s, longest))

    def _give_up(self, delivery: Delivery) -> None:
        """Say so where it is read: in the log, and in the ledger beside what the notice tells of."""
        notice, now = self._notice(delivery), self._clock()
        message = f"Target {delivery.target} was not told of {notice.title!r}: {delivery.error}"
        _LOG.error("%s", message)
        row = entries.entry(EntryKind.GOVERNANCE, now, actor=_ACTOR) | entries.owner_columns(notice.scope)
        row |= {"action": "notification.failed", "subject": delivery.target, "outcome": "error", "message": message}
        facts = {"key": notice.key, "notice_id": notice.id, "attempts": delivery.attempts, "error": delivery.error}
        row["detail"] = entries.detail(facts)
        group = self._committer.group
        group.event(row)
        group.deliveries.append(delivery._replace(state="failed"))

    def _notice(self, delivery: Delivery) -> Notice:
        return self._state.notices(delivery.notice_number - 1, 1)[0].notice
