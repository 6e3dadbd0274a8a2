"""A data directory → a running `spanward serve`, asked as any operator's script would ask it.

Uses what outsiders may rely on alone: the command line, `bootstrap.json`, `endpoints.json` and
`GET /v1/budgets`.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from collector.demo.fleet import Agent
from collector.demo.parts import PartFailed, Parts, spanward
from schemas.control import BudgetView

START_TIMEOUT_S = 60
ASK_TIMEOUT_S = 10

DOORS = (
    "receivers.otlp.protocols.http.endpoint",
    "receivers.otlp.protocols.grpc.endpoint",
    "extensions.control.endpoint",
    "extensions.control.grpc_endpoint",
    "extensions.health_check.endpoint",
    "service.telemetry.metrics.endpoint",
)


class Server:
    """The collector of the demo, on free ports of 127.0.0.1."""

    def __init__(self, parts: Parts, data: Path) -> None:
        self.data = data
        self.endpoints: dict[str, str] = {}
        self._parts = parts

    def start(self) -> None:
        """Start it; its doors open later."""
        (self.data / "endpoints.json").unlink(missing_ok=True)
        free_ports = [word for door in DOORS for word in ("--set", f"{door}=127.0.0.1:0")]
        self._part = self._parts.start("server", "collector", "serve", "--data", str(self.data), *free_ports)

    def wait_until_ready(self) -> None:
        """Return when the doors are open; raises `PartFailed`, `Stopped`."""
        self.endpoints = json.loads(wait_for_text(self._parts, lambda: _read(self.data / "endpoints.json")))
        keys = json.loads(wait_for_text(self._parts, lambda: _read(self.data / "bootstrap.json")))
        self._admin = {"authorization": f"Bearer {keys['admin_token']}"}

    def create_key(self, agent: Agent) -> str:
        """A new key of an agent; raises `PartFailed`. Threads may make keys at once."""
        words = ("keys", "create", "--agent", agent.path, "--json", "--data", str(self.data))
        return str(json.loads(spanward(self._parts.folder / f"{agent.name}.key.log", *words))["key"])

    def budgets(self) -> list[BudgetView]:
        """Every budget that has a limit, as it stands; raises `PartFailed` when the server does not say."""
        try:
            answer = httpx.get(
                f"{self.endpoints['control']}/v1/budgets",
                headers=self._admin,
                timeout=ASK_TIMEOUT_S,
                trust_env=False,
            )
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=_Budgets).budgets
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            self._part.check(patience_s=1)
            raise PartFailed(f"The server did not say how the budgets stand: {error}.", self._part.log) from error

    def seal(self) -> None:
        """Return when everything it acknowledged is in the ledger; raises `PartFailed`."""
        spanward(self._parts.folder / "seal.log", "seal", "--data", str(self.data))

    def report(self, *words: str, to_terminal: bool) -> str:
        """A report as a person reads it, written to the terminal or returned; raises `PartFailed`."""
        log = self._parts.folder / "report.log"
        return spanward(log, "report", *words, "--data", str(self.data), to_terminal=to_terminal)


class _Budgets(msgspec.Struct):
    budgets: list[BudgetView]


def wait_for_text(parts: Parts, read: Callable[[], str]) -> str:
    """What `read` returns once that is not empty; raises `PartFailed` when a part ends or it takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        parts.check()
        if text := read():
            return text
        time.sleep(0.05)
    raise PartFailed(f"The demo was not ready within {START_TIMEOUT_S} s.", parts.running[0].log)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
