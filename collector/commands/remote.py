"""Orders of the command line → the control endpoint of a collector, running or not.

A collector that does not run is ordered through its owner alone, started without doors for as long as
the order takes: the same code, the same lock on the state, and the next start finds it killed.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from collector.config import Config
from collector.serve import Collector, quiet
from collector.state.store import in_use
from schemas.errors import ConfigError, Retryable

T = TypeVar("T")

_ANSWER_S = 30
# A collector that starts holds the lock before it answers.
_START_S = 30
_POLL_S = 0.1


class Control:
    """A control endpoint, as operators speak to it."""

    def __init__(self, url: str, token: str) -> None:
        self._collector = Collector(url, token, answer_s=_ANSWER_S)

    def answers(self) -> bool:
        """Say whether anybody is there."""
        try:
            return self._collector.runs()
        except Retryable:
            return False

    def get(self, path: str, kind: type[T]) -> T:
        """The answer to a question; raises as `post`."""
        return msgspec.json.decode(self._collector.get(path), type=kind)

    def post(self, path: str, body: msgspec.Struct, kind: type[T]) -> T:
        """The answer to an order; raises `Permanent` when it is refused, `Retryable` when nobody can answer it."""
        return msgspec.json.decode(self._collector.post(path, msgspec.json.encode(body)), type=kind)

    def close(self) -> None:
        """Hang up."""
        self._collector.close()


@contextmanager
def control_at(url: str, token: str) -> Iterator[Control]:
    """A control endpoint anywhere, reached with an administrator's token; raises `ConfigError` for what is no URL."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"--endpoint {url} is no URL.", fix="Write it with its scheme, such as http://HOST:4320.")
    control = Control(url, token)
    try:
        yield control
    finally:
        control.close()


@contextmanager
def control_of(data_dir: Path, config: Config) -> Iterator[Control]:
    """The control endpoint of a data directory; where no collector runs, one that lasts as long as the order.

    Raises `ConfigError` when it is no data directory, `Retryable` when a collector has it and does not answer.
    """
    if not (data_dir / "state").is_dir():
        raise ConfigError(
            f"{data_dir} is not a data directory.", fix="Give the directory that spanward serve was given."
        )
    running = _running(data_dir)
    if running is not None:
        try:
            yield running
        finally:
            running.close()
        return
    from collector.service import start_owner

    owner = start_owner(data_dir.resolve(), quiet(config))
    try:
        with control_at(owner.endpoints["control"], (data_dir / "operator.token").read_text()) as control:
            yield control
    finally:
        owner.stop()


def _running(data_dir: Path) -> Control | None:
    """The collector that holds the state, once it answers; `None` when nobody holds it."""
    deadline = time.monotonic() + _START_S
    while in_use(data_dir / "state" / "state.db"):
        found = _announced(data_dir)
        if found is not None:
            if found.answers():
                return found
            found.close()
        if time.monotonic() >= deadline:
            raise Retryable(
                f"A collector has {data_dir} and does not answer.",
                fix="Look at its log; stop it, and give the order again: it holds for the next start.",
            )
        time.sleep(_POLL_S)
    return None


def _announced(data_dir: Path) -> Control | None:
    try:
        url = json.loads((data_dir / "endpoints.json").read_bytes())["control"]
        return Control(url, (data_dir / "operator.token").read_text())
    except (OSError, ValueError, KeyError):
        return None
