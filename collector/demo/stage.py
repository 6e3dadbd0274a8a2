"""An empty folder → server, provider and fleet at work, followed until the stuck agent is stopped.

Invariant: whatever happens, no process of the demo outlives it, and the data directory stays.
"""

import time
from pathlib import Path
from typing import Self

from collector.demo.fleet import FLEET, STUCK, Agent
from collector.demo.folder import logs_of
from collector.demo.parts import PartFailed, Parts
from collector.demo.screen import Screen
from collector.demo.server import Server, wait_for_text
from collector.demo.watch import Watch

LOOK_EVERY_S = 0.5
AFTER_BLOCK_S = 10
PROVIDER_LATENCY_MS = 200

DOORS_SHOWN = (("OTLP/HTTP", "otlp_http"), ("OTLP/gRPC", "otlp_grpc"), ("control", "control"))


class Stage:
    """Everything that runs. Leaving it stops everything."""

    def __init__(self, data: Path, screen: Screen) -> None:
        self.screen = screen
        self.parts = Parts(logs_of(data))
        self.server = Server(self.parts, data)
        self.watch = Watch(self.parts.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every part, the last started first."""
        self.parts.stop()

    def open(self) -> None:
        """Start server, provider and fleet; raises `PartFailed`."""
        provider = self.parts.start(
            "provider", "collector.demo.provider", "--latency-ms", str(PROVIDER_LATENCY_MS), env={}
        )
        self.server.wait_until_ready()
        ends = self.server.endpoints
        doors = ", ".join(f"{name} {ends[key].rpartition('//')[2]}" for name, key in DOORS_SHOWN)
        self.screen.say("server", f"ready: {doors}")
        url = wait_for_text(provider, provider.log.read_text).strip()
        self.screen.say("provider", f"a stand-in for OpenAI at {url}, real prices, no network")
        for agent in FLEET:
            self._start(agent, url)
            self.screen.say("agent", f"{agent.path}: {agent.about}; budget {agent.daily_usd} USD a day")

    def _start(self, agent: Agent, provider_url: str) -> None:
        ends = self.server.endpoints
        environment = {
            "SPANWARD_ENDPOINT": ends["control"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{ends[agent.door].rpartition('//')[2]}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={self.server.create_key(agent.path)}",
            "OPENAI_BASE_URL": f"{provider_url}/v1",
            "OPENAI_API_KEY": "no-key-needed",
        }
        self.parts.start(agent.name, agent.module, env=environment)

    def follow(self, seconds: int) -> None:
        """Show what happens until `AFTER_BLOCK_S` after the block; raises `PartFailed` when none comes in time."""
        deadline = time.monotonic() + seconds
        until = deadline
        while time.monotonic() < until:
            self.parts.check()
            usage, events = self.watch.look(self.server.budgets())
            for event in events:
                self.screen.event(event)
                if event.kind == "blocked":
                    until = min(deadline, time.monotonic() + AFTER_BLOCK_S)
            self.screen.usage(usage)
            time.sleep(LOOK_EVERY_S)
        if not self.watch.refusals:
            log = self.parts.folder / f"{STUCK.name}.log"
            raise PartFailed(f"{STUCK.name} was not stopped by its budget within {seconds} s.", log)

    def send_home(self) -> None:
        """Stop the agents; each finishes its call and sends its last spans."""
        names = {agent.name for agent in FLEET}
        self.parts.stop(*(part for part in self.parts.running if part.name in names))
