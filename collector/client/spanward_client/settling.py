"""Settles and voids → the server, behind the agent's back.

One daemon thread a process sends them, so that no call waits for its booking; all that wait go in one
request, because what is not settled yet holds its worst case and refuses other calls. Invariant:
handing one over never blocks and never raises. The queue is bounded; what finds it full, or does not
get through, is counted and left: the call's span settles the hold, or its expiry posts it as estimated.
"""

import atexit
import logging
import os
import queue
import threading
import time
from contextlib import suppress

from spanward_client.ambient import sync_client
from spanward_client.errors import SpanwardError
from spanward_client.protocol import Actual

QUEUE_MAX = 1_000
"""Settles and voids that may wait."""

BATCH_MAX = 200
"""The most that are sent at once; the server takes no more."""

FLUSH_S = 2.0
"""The longest the end of the process waits for them."""

_log = logging.getLogger("spanward_client")


_Outcome = tuple[str, Actual | None]
"""A hold, and what it used; `None` voids."""


class _Desk:
    """The queue and the thread of this process; a forked child starts with neither."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)
        atexit.register(self.flush)

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.waiting: queue.Queue[_Outcome] = queue.Queue(QUEUE_MAX)
        self.thread: threading.Thread | None = None
        self.dropped = 0

    def hand_over(self, hold_id: str, actual: Actual | None) -> None:
        """Have it sent soon, or count it as dropped."""
        try:
            self.waiting.put_nowait((hold_id, actual))
        except queue.Full:
            self._drop(1, "the queue is full")
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
            batch = [self.waiting.get()]
            with suppress(queue.Empty):
                while len(batch) < BATCH_MAX:
                    batch.append(self.waiting.get_nowait())
            try:
                for hold_id, why in sync_client().finish(dict(batch)).items():
                    # The span was faster, most often: the hold is settled already.
                    _log.debug("Hold %s was not finished: %s", hold_id, why)
            # httpx raises RuntimeError when `close` came in between; the next batch has a new client.
            except (SpanwardError, RuntimeError) as error:
                self._drop(len(batch), str(error))
            finally:
                for _ in batch:
                    self.waiting.task_done()

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        _log.warning("A hold is left to its span or its expiry, %s so far: %s", self.dropped, why)


_desk = _Desk()


def settle_soon(hold_id: str, *, input_tokens: int, output_tokens: int) -> None:
    """Book these tokens on the hold, in the background."""
    _desk.hand_over(hold_id, Actual(input_tokens=input_tokens, output_tokens=output_tokens))


def void_soon(hold_id: str) -> None:
    """Give the hold's money back, in the background; only for a call that was certainly not charged."""
    _desk.hand_over(hold_id, None)


def flush(timeout_s: float = FLUSH_S) -> bool:
    """Wait until all settles and voids handed over were sent; false when they were not in time."""
    return _desk.flush(timeout_s)


def dropped() -> int:
    """How many settles and voids this process could not deliver."""
    return _desk.dropped
