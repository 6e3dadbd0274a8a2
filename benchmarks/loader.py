"""Orders in, what the clients saw out: the Go loader of `benchmarks/load`, built when its source changes."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools.install import CACHE, go_build

SOURCE = Path(__file__).with_name("load")
RUN_S = 600


class Loader:
    """The built loader."""

    def __init__(self) -> None:
        content = b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))
        self._program = CACHE / f"load-{hashlib.sha256(content).hexdigest()[:12]}" / "load"
        self._batches_sent = 0
        if not self._program.exists():
            self._program.parent.mkdir(parents=True, exist_ok=True)
            go_build(SOURCE, output=self._program)

    def spans(self, url: str, *, key: str, batches: Path, requests: int) -> dict[str, Any]:
        """Send that many batches, each with ids of its own, as fast as they are acknowledged."""
        first = self._batches_sent
        self._batches_sent += requests
        return self._run("spans", url, key, "-batches", batches, "-requests", requests, "-first", first)

    def ask(self, url: str, *, key: str, body: str, rate: int, seconds: float) -> dict[str, Any]:
        """Ask at a fixed rate for some seconds, over 64 connections."""
        timing = ("-rate", rate, "-seconds", seconds, "-connections", 64)
        return self._run("ask", url, key, "-body", body, *timing)

    @contextmanager
    def floor(self) -> Iterator[tuple[str, int]]:
        """A bare server that answers a constant: its URL and process id."""
        command = [str(self._program), "floor", "-seconds", str(RUN_S)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip(), process.pid
            finally:
                process.terminate()

    def _run(self, *arguments: object) -> dict[str, Any]:
        kind, url, key, *options = arguments
        command = [str(self._program), kind, "-url", url, "-key", key, *options]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=True, timeout=RUN_S
        )
        outcome: dict[str, Any] = json.loads(done.stdout)
        if outcome["errors"]:
            raise RuntimeError(f"{url}: {outcome['errors']} requests failed, first: {outcome['first_error']}")
        return outcome
