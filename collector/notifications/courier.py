"""A notice → the process that delivers to one target, and back what became of it.

The process is started when there is something to send and ended when there is nothing more, so that
nobody pays for targets that are told twice a day. Nothing of a target's library runs in the owner:
its loop answers agents in a millisecond.
"""

import os
import signal
import subprocess
import sys

import msgspec

from collector.notifications.config import Target
from collector.state.notices import Notice
from schemas.quantities import write_quantity

_COMMAND = (sys.executable, "-P", "-m", "collector.notifications")
_ENCODER = msgspec.json.Encoder(enc_hook=write_quantity)


class Job(msgspec.Struct, frozen=True):
    """First line the process reads; notices follow, one a line."""

    target: Target
    timeout_s: float


class Outcome(msgspec.Struct, frozen=True):
    """What became of one attempt: delivered when `error` is empty. `retry_after_s` is what the target asked for."""

    error: str = ""
    retry_after_s: int = 0


class Courier:
    """One target's process. `send` and `rest` belong to one thread at a time, `kill` to any."""

    def __init__(self, target: Target, *, timeout_s: float) -> None:
        self._job = Job(target, timeout_s)
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, notice: Notice) -> Outcome:
        """One attempt; blocks until it ends, which the process's own alarm sees to."""
        try:
            return msgspec.json.decode(self._ask(notice), type=Outcome)
        except OSError as error:
            self._end()
            return Outcome(f"Its process cannot be used: {error}.")
        except msgspec.DecodeError:
            return Outcome(self._end())

    def rest(self) -> None:
        """Let the process end until there is something to send again."""
        self._end()

    def kill(self) -> None:
        """End the process whatever it does; the attempt counts as failed."""
        if self._process is not None:
            self._process.kill()

    def _ask(self, notice: Notice) -> bytes:
        if self._process is None:
            # Requests follow the environment's proxies; whom a proxy connects to, no guard here would see.
            environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
            )
            self._write(self._process, self._job)
        self._write(self._process, notice)
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _write(self, process: subprocess.Popen[bytes], message: Job | Notice) -> None:
        assert process.stdin is not None
        process.stdin.write(_ENCODER.encode(message) + b"\n")
        process.stdin.flush()

    def _end(self) -> str:
        """Close the pipes and wait; why it ended."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.communicate()
        if process.returncode == -signal.SIGALRM:
            return f"It took longer than extensions.notifications.timeout ({self._job.timeout_s:g} s)."
        return f"Its process ended with {process.returncode}; see the log."
