"""Changes recorded by the loop → durable groups, and a future for whoever waits for his.

What is recorded while one group is being written forms the next: at rest a decision waits for one
flush, under load many share it. Invariant: nobody is told of a change before it is on disk, and
groups are written in the order they were recorded. A failed commit ends the process, because memory
is then ahead of the disk.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from collector.governance.budgets import Budgets
from collector.state.rows import Group, Keep
from collector.state.store import State


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
        self._jobs: list[tuple[Callable[[], None], asyncio.Future[None]]] = []
        self._keep: Keep | None = None
        self.on_durable: Callable[[], None] = lambda: None
        """Called in the loop after each group."""

    @property
    def group(self) -> Group:
        """Where changes are recorded now."""
        return self._budgets.group

    async def durable(self) -> None:
        """Returns once everything recorded so far is on disk."""
        if self._budgets.group:
            self._wanted.set()
            await self._written.wait()
        elif self._writing is not None:
            await self._writing.wait()

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
        """Commit groups until `stop`; raises `Fatal` when one may not be durable."""
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
        await self._loop.run_in_executor(self._thread, self._state.commit, group)
        self._tell(group)

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
