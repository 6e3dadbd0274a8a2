"""A command line → a running part of the demo, whose log tells why it failed.

Invariant: every part is a child of the demo and gone when `Parts.stop` returns. Parts do not see the
terminal: Ctrl-C reaches the demo alone, which stops them in its own order. A signal is remembered and
acted upon at the next `check`, because an exception out of the middle of starting a process would
leave that process behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

STOP_TIMEOUT_S = 45
"""Longer than the server's `drain_timeout`."""
COMMAND_TIMEOUT_S = 120
TAIL_LINES = 15

PYTHON = (sys.executable, "-P", "-m")
"""`-P`: a folder named `schemas` or `collector` in the user's current directory must not be imported."""


class PartFailed(click.ClickException):
    """A part of the demo ended or did not do its work; the message ends with the tail of its log."""

    def __init__(self, what: str, log: Path) -> None:
        tail = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
        super().__init__("\n".join([what, f"The end of {log}:", *(f"  {line}" for line in tail)]))


class Stopped(Exception):
    """A signal asked the demo to end; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Part:
    """One process of the demo. It writes standard output and errors to `log`."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*PYTHON, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    def check(self, *, patience_s: float = 0) -> None:
        """Raises `PartFailed` when the process has ended, or ends within `patience_s`."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(patience_s)
            raise PartFailed(f"{self.name} ended with exit code {code}.", self.log)

    def end(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait for its end, and make it end when it takes too long; raises nothing."""
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Parts:
    """All parts, in the order they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Part] = []
        self._signal = 0

    def heed_signals(self) -> None:
        """From now on Ctrl-C, a stop from outside and a closed terminal end the demo in good order."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._remember)

    def start(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> Part:
        """Start `python -m COMMAND`; `env` is laid over this process's own environment."""
        part = Part(name, command, self.folder / f"{name}.log", environment(env or {}))
        self.running.append(part)
        return part

    def check(self) -> None:
        """Raises `Stopped` when a signal came, `PartFailed` when any part has ended."""
        if self._signal:
            raise Stopped(self._signal)
        for part in self.running:
            part.check()

    def stop(self, parts: Iterable[Part]) -> None:
        """Stop these, all at once."""
        stopping = list(parts)
        for part in stopping:
            part.end()
        for part in stopping:
            part.wait()
            self.running.remove(part)

    def _remember(self, number: int, _frame: object) -> None:
        self._signal = self._signal or number


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would send the demo's traffic somewhere else."""
    astray = ("OTEL_", "OPENAI_", "SPANWARD_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(astray)}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **extra}


def spanward(log: Path, *arguments: str, to_terminal: bool = False) -> str:
    """Run `spanward ARGUMENTS` and return its standard output; raises `PartFailed`.

    `to_terminal` lets it write to this process's own standard output, whose width it then knows.
    """
    with log.open("wb") as errors:
        done = subprocess.run(
            [*PYTHON, "collector", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=None if to_terminal else subprocess.PIPE,
            stderr=errors,
            env=environment({}),
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
    if done.returncode != 0:
        raise PartFailed(f"`spanward {' '.join(arguments)}` ended with exit code {done.returncode}.", log)
    return (done.stdout or b"").decode()
