"""Settles and voids → the server, behind the agent's back.

One daemon thread a process sends them, so that no call waits for its booking. Invariant: handing one
over never blocks and never raises. The queue is bounded; what finds it full, or does not get through,
is counted and left: the call's span settles the hold, or its expiry posts it as estimated.
"""

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from spanward_client.ambient import sync_client
from spanward_client.errors import Rejected, SpanwardError

QUEUE_MAX = 1_000
"""Settles and voids that may wait; at one millisecond each, a second of work."""

FLUSH_S = 2.0
"""The longest the end of the process waits for them."""

_log = logging.getLogger("spanward_client")


class _Desk:
    """The queue and the thread of this process; a forked child starts with neither."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)
        atexit.register(self.flush)

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.waiting: queue.Queue[Callable[[], object]] = queue.Queue(QUEUE_MAX)
        self.thread: threading.Thread | None = None
        self.dropped = 0

    def hand_over(self, act: Callable[[], object]) -> None:
        """Have it done soon, or count it as dropped."""
        try:
            self.waiting.put_nowait(act)
        except queue.Full:
            self._drop("the queue is full")
            return
        if self.thread is None:
            self._start()

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until everything handed over was sent; false when it was not in time."""
        deadline = time.monotonic() + timeout_s
        with self.waiting.all_tasks_done:
            while self.waiting.unfinished_tasks:
                left = deadline - time.monotonic()
                if left <= 0 or self.thread is None:
                    return False
                self.waiting.all_tasks_done.wait(left)
        return True

    def _start(self) -> None:
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="spanward-settle", daemon=True)
                self.thread.start()

    def _work(self) -> None:
        while True:
            act = self.waiting.get()
            try:
                act()
            except Rejected as no:
                # The span was faster, most often: the hold is settled already.
                _log.debug("A hold was not finished: %s", no)
            except SpanwardError as error:
                self._drop(str(error))
            finally:
                self.waiting.task_done()

    def _drop(self, why: str) -> None:
        self.dropped += 1
        _log.warning("A hold is left to its span or its expiry, %s so far: %s", self.dropped, why)


_desk = _Desk()


def settle_soon(hold_id: str, *, input_tokens: int, output_tokens: int) -> None:
    """Book these tokens on the hold, in the background."""
    _desk.hand_over(lambda: sync_client().settle(hold_id, input_tokens=input_tokens, output_tokens=output_tokens))


def void_soon(hold_id: str) -> None:
    """Give the hold's money back, in the background; only for a call that was certainly not charged."""
    _desk.hand_over(lambda: sync_client().void(hold_id))


def flush(timeout_s: float = FLUSH_S) -> bool:
    """Wait until all settles and voids handed over were sent; false when they were not in time."""
    return _desk.flush(timeout_s)


def dropped() -> int:
    """How many settles and voids this process could not deliver."""
    return _desk.dropped
