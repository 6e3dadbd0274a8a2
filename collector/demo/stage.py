"""An empty folder → server, provider and fleet at work, followed until the stuck agent is stopped.

Invariant: whatever happens, no process of the demo outlives it, and the data directory stays.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx

from collector.demo.fleet import FLEET, STUCK, Agent
from collector.demo.folder import logs_of
from collector.demo.parts import PartFailed, Parts
from collector.demo.screen import Screen
from collector.demo.server import ASK_TIMEOUT_S, Server, wait_for_text
from collector.demo.watch import Watch

LOOK_EVERY_S = 0.5
AFTER_BLOCK_S = 10

BILLED = "billed.json"
"""What the provider charged, by model, beside the logs: the truth to hold the ledger against."""

DOORS_SHOWN = (("OTLP/HTTP", "otlp_http"), ("OTLP/gRPC", "otlp_grpc"), ("control", "control"))


class Stage:
    """Everything that runs. Leaving it stops everything."""

    def __init__(self, data: Path, screen: Screen, *, latency_ms: int) -> None:
        self.screen = screen
        self.parts = Parts(logs_of(data))
        self.server = Server(self.parts, data)
        self.provider_url = ""
        self._latency_ms = latency_ms
        self._watch = Watch(self.parts.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the agents, then what they talk to."""
        self.stop_agents()
        self.parts.stop(tuple(self.parts.running))

    def open(self) -> None:
        """Start server, provider and fleet; raises `PartFailed`, `Stopped`."""
        self.parts.heed_signals()
        self.server.start()
        latency = ("--latency-ms", str(self._latency_ms))
        provider = self.parts.start("provider", "collector.demo.provider", *latency, env={})
        # Keys can be made while the server starts; it looks for new ones by itself.
        with ThreadPoolExecutor(len(FLEET)) as pool:
            keys = list(pool.map(self.server.create_key, FLEET))
        self.server.wait_until_ready()
        ends = self.server.endpoints
        doors = ", ".join(f"{name} {ends[key].rpartition('//')[2]}" for name, key in DOORS_SHOWN)
        self.screen.say("server", f"ready: {doors}")
        self.provider_url = wait_for_text(self.parts, provider.log.read_text).strip()
        self.screen.say("provider", f"a stand-in for OpenAI at {self.provider_url}: real prices, no network")
        for agent, key in zip(FLEET, keys, strict=True):
            self._start(agent, key)
            self.screen.say("agent", f"{agent.name}, {agent.daily_usd} USD a day: {agent.about}")

    def follow(self, seconds: int) -> None:
        """Show what happens until `AFTER_BLOCK_S` after the block.

        Raises `PartFailed` when a part ends or no block comes in time, `Stopped`.
        """
        deadline = time.monotonic() + seconds
        until = deadline
        while time.monotonic() < until:
            self.parts.check()
            usage, events = self._watch.look(self.server.budgets())
            for event in events:
                self.screen.event(event)
                if event.kind == "blocked":
                    until = time.monotonic() + AFTER_BLOCK_S
            self.screen.usage(usage)
            time.sleep(LOOK_EVERY_S)
        if not self._watch.refusals:
            log = self.parts.folder / f"{STUCK.name}.log"
            raise PartFailed(f"{STUCK.name} was not stopped by its budget within {seconds} s.", log)

    def stop_agents(self) -> None:
        """Each agent finishes its call and sends its last spans."""
        names = {agent.name for agent in FLEET}
        self.parts.stop(part for part in self.parts.running if part.name in names)

    def note_bill(self) -> None:
        """Write down what the provider charged."""
        billed = httpx.get(f"{self.provider_url}/billed", timeout=ASK_TIMEOUT_S, trust_env=False)
        (self.parts.folder / BILLED).write_bytes(billed.content)

    def _start(self, agent: Agent, key: str) -> None:
        ends = self.server.endpoints
        environment = {
            "SPANWARD_ENDPOINT": ends["control"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{ends[agent.door].rpartition('//')[2]}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={key}",
            "OPENAI_BASE_URL": f"{self.provider_url}/v1",
            "OPENAI_API_KEY": "no-key-needed",
        }
        self.parts.start(agent.name, agent.module, env=environment)
