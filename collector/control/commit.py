"""Changes recorded by the loop → durable groups, and an answer for whoever waits for his.

What is recorded while one group is being written forms the next: at rest a decision waits for one
flush, under load many share it. Invariant: nobody is told of a change before it is on disk, and
groups are written in the order they were recorded. After a commit that failed nothing more is
written and everybody who waits is told to ask again, because memory is then ahead of the disk.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from collector.governance.budgets import Budgets
from collector.state.rows import Group, Keep
from collector.state.store import State, StoreFailed
from schemas.errors import Retryable

# A flush quicker than this is done where the loop stands: handing it to the thread and taking turns with it costs more.
_INLINE_S = 0.001
# Of how many groups, about, the mean is taken; one checkpoint among them is no slow disk.
_RECENT = 8


class Committer:
    """The one writer of `state.db`. Everything here belongs to the loop, except what runs in `_thread`."""

    def __init__(self, state: State, budgets: Budgets) -> None:
        self._state = state
        self._budgets = budgets
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._wanted = asyncio.Event()
        # Events and not futures: one who stops waiting must not end the wait of the others.
        self._written = asyncio.Event()
        self._writing: asyncio.Event | None = None
        self._stopping = False
        self._failed = False
        self._flush_s = 0.0
        self._jobs: list[tuple[Callable[[], None], asyncio.Future[None]]] = []
        self._keep: Keep | None = None
        self.on_durable: Callable[[], None] = lambda: None
        """Called in the loop after each group."""

    @property
    def group(self) -> Group:
        """Where changes are recorded now."""
        return self._budgets.group

    async def durable(self) -> None:
        """Returns once everything recorded so far is on disk; raises `Retryable` when it cannot be written."""
        if not self._failed:
            if self._budgets.group:
                self._wanted.set()
                await self._written.wait()
            elif self._writing is not None:
                await self._writing.wait()
        if self._failed:
            raise unavailable()

    async def exclusively(self, job: Callable[[], None]) -> None:
        """Run `job` in the loop at a moment when memory and disk are equal, and nothing in between."""
        done = self._loop.create_future()
        self._jobs.append((job, done))
        self._wanted.set()
        await done

    def prune(self, keep: Keep) -> None:
        """Delete old rows after the next group."""
        self._keep = keep
        self._wanted.set()

    async def run(self) -> None:
        """Commit groups until `stop`; raises `StoreFailed` when one may not be durable."""
        try:
            await self._run()
        except StoreFailed:
            self._fail()
            raise

    async def abandon(self) -> None:
        """Write nothing more, let nobody wait any longer, and return when the thread is idle."""
        self._fail()
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._budgets.group:
                # The answers of the last group leave first, and what has just arrived comes along.
                await asyncio.sleep(0)
                await self._commit()
            self._run_jobs()
            if self._keep is not None:
                await self._prune(self._keep)
            if self._budgets.group:
                self._wanted.set()
            elif self._stopping:
                self._thread.shutdown()
                return

    def stop(self) -> None:
        """Write what is recorded, then let `run` return."""
        self._stopping = True
        self._wanted.set()

    async def _prune(self, keep: Keep) -> None:
        more = await self._loop.run_in_executor(self._thread, self._state.prune, keep)
        if more:
            # After the groups that came meanwhile: pruning keeps nobody waiting.
            self._wanted.set()
        else:
            self._keep = None

    async def _commit(self) -> None:
        group = self._take()
        began = time.perf_counter()
        if self._flush_s < _INLINE_S:
            self._state.commit(group)
        else:
            await self._loop.run_in_executor(self._thread, self._state.commit, group)
        self._flush_s += (time.perf_counter() - began - self._flush_s) / _RECENT
        self._tell(group)

    def _fail(self) -> None:
        self._failed = True
        self._written.set()
        if self._writing is not None:
            self._writing.set()
        for _, done in self._jobs:
            if not done.done():
                done.set_exception(unavailable())

    def _run_jobs(self) -> None:
        """The committing thread is idle and this function never awaits, so nothing happens beside it."""
        if not self._jobs:
            return
        if self._budgets.group:
            group = self._take()
            self._state.commit(group)
            self._tell(group)
        jobs, self._jobs = self._jobs, []
        for job, done in jobs:
            job()
            if not done.done():
                done.set_result(None)

    def _take(self) -> Group:
        group = self._budgets.group
        self._budgets.group = Group()
        self._writing, self._written = self._written, asyncio.Event()
        return group

    def _tell(self, group: Group) -> None:
        """The group is on disk."""
        assert self._writing is not None
        self._writing.set()
        self._writing = None
        self._budgets.forget(group.finals)
        self.on_durable()


def unavailable() -> Retryable:
    """What those are told who ask while nothing can be written; why is for the operator's log."""
    return Retryable(
        "The state of budgets cannot be written at the moment, so nothing can be promised.",
        fix="Ask again in a moment; the operator finds the reason in the collector's log.",
    )
