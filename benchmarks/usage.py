"""A process in, what it and its children cost out: CPU seconds and memory.

Linux only, like the figures. A child that ended between two readings keeps what it had used at the
reading before.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAMPLE_S = 0.1


class Usage:
    """Watches the tree below `pid` from now until `stop`. `_cpu` and `peak_rss_bytes` are its thread's own."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu: dict[int, float] = {}
        self.peak_rss_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="usage", daemon=True)
        self._thread.start()

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree since it started."""
        return sum(self._read().values())

    def stop(self) -> None:
        """End the watching."""
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self._read()

    def _read(self) -> dict[int, float]:
        memory = 0
        try:
            family = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return self._cpu
        for process in family:
            try:
                times = process.cpu_times()
                memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self._cpu[process.pid] = times.user + times.system
        self.peak_rss_bytes = max(self.peak_rss_bytes, memory)
        return self._cpu


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Programs started inside run on one core only, where the machine has that many."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
