"""The real owner on a data directory of its own, with both ends the world has: HTTP and ingest's socket."""

import asyncio
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pyarrow as pa

from collector.access.bootstrap import access_path
from collector.access.keys import KeyStore
from collector.control.link import OwnerLink
from collector.control.process import run
from collector.control.wiring.house import Outside, Settings
from schemas.booking import Booked, Booking, Event, Pending, Poll, Position, Resume
from schemas.errors import SpanwardError
from schemas.ids import AgentPath, new_id

TRIAGE = "acme/support/triage"
CALL = {"action": "llm.call", "model": "gpt-4o", "provider": "openai", "input_tokens": 1000, "max_output_tokens": 1000}
# gpt-4o on the price list: 2.50 USD a million input tokens, 10.00 output.
CALL_USD = "0.012500000"
CALL_NANO = 12_500_000

Limits = Mapping[str, Mapping[str, object]]
"""USD by scope and window; a window may also be a whole `{usd, tokens}`, and `mode` stands beside them."""
Spends = Sequence[tuple[str, int, int] | tuple[str, int, int, int]]
"""Agent path, slot time, nano-USD, tokens."""
Calls = Sequence[dict[str, Any]]
"""`path`, and columns of a booking's calls."""
_OWNER = ("org", "tenant", "agent")
_SPEND_NUMBERS = ("slot_time", "cost_nano_usd", "tokens", "calls")
_CALL_TEXTS = (*_OWNER, "provider", "model", "request_model", "decision_id", "entry_id", "trace_id")
_CALL_NUMBERS = ("start_time", "end_time", "received_time", "cost_nano_usd", "tokens")


class Owned(ABC):
    """An owner on `data`. `limits` are USD by scope, such as `{"acme": {"daily": "50"}}`; all else is settings.

    Subclasses say where it runs.
    """

    def __init__(self, data: Path, *, limits: Limits | None = None, **settings: dict[str, object]) -> None:
        self.data = data
        self.running = False
        self.links: list[OwnerLink] = []
        self.http = httpx.Client(trust_env=False)
        control = {
            "endpoint": "127.0.0.1:0",
            "grpc_endpoint": "",
            "follow_interval": "50ms",
            **settings.pop("control", {}),
        }
        self.settings = {"dedupe_keys": 1000, "operator_token": "operator", **settings, "control": control}
        (data / "state").mkdir(parents=True)
        self.govern(limits or {})
        self.store = KeyStore(access_path(data), clock=time.time_ns)
        self.admin, _ = self.store.create_admin_token(actor="user:test")
        self.key = self.new_key(TRIAGE)
        self.frames = 0

    def new_key(self, path: str) -> str:
        """A key of that agent, known to a running owner when this returns."""
        key = self.store.create_agent_key(AgentPath.parse(path), actor="user:test")[0]
        if self.running:
            self.eventually(lambda: self.get("/v1/budgets", key=key).status_code == 200)
        return key

    def govern(self, limits: Limits, *, zone: str = "UTC") -> None:
        """Write the governance files of these limits, and of the scopes above them."""
        root = self.data / "governance"
        if "platform" in limits:
            self._limit(root / "platform.yaml", {"time_zone": zone}, limits["platform"])
        for scope in {TRIAGE, *limits} - {"platform"}:
            org, tenant, agent = (*scope.split("/"), "", "")[:3]
            self._limit(root / org / "org.yaml", {"time_zone": zone}, limits.get(org))
            if tenant:
                self._limit(root / org / tenant / "tenant.yaml", {}, limits.get(f"{org}/{tenant}"))
            if agent:
                self._limit(root / org / tenant / "agents" / f"{agent}.yaml", {}, limits.get(scope))

    def start(self) -> Self:
        """Start, and return when it answers."""
        self._close_links()
        pairs = [socket.socketpair() for _ in range(2)]
        self.links = self.link, self.poll_link = [OwnerLink(ours) for ours, _ in pairs]
        self.endpoints = self.launch([theirs for _, theirs in pairs])
        self.http = httpx.Client(base_url=self.endpoints["control"], trust_env=False, timeout=30)
        self.running = True
        return self

    @abstractmethod
    def launch(self, connections: list[socket.socket]) -> dict[str, str]:
        """Start it with ingest's connections; its addresses."""

    @abstractmethod
    def wait(self) -> tuple[int, str]:
        """Exit code and log of one that ends."""

    def hang_up(self) -> tuple[int, str]:
        """Close ingest's connections, as a parent that ends does, and wait for the end."""
        self.running = False
        self._close_links()
        return self.wait()

    def end(self) -> None:
        """After a test, in whatever state it left."""
        if self.running:
            self.hang_up()
        self._close_links()
        self.store.close()

    def _close_links(self) -> None:
        for link in self.links:
            link.close()
        self.http.close()

    def post(self, path: str, body: object = None, *, key: str | None = None, **headers: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key if key is None else key}", **headers}
        return self.http.post(path, json=body, headers=headers)

    def get(self, path: str, *, key: str | None = None) -> httpx.Response:
        return self.http.get(path, headers={"x-api-key": self.key if key is None else key})

    def ask(self, *, key: str | None = None, **changes: object) -> dict[str, Any]:
        """A decision that is answered with 200."""
        answer = self.post("/v1/decisions", CALL | changes, key=key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def budgets(self, *, key: str | None = None) -> dict[tuple[str, str], tuple[str, str]]:
        """Settled and held of every limited budget the key may see."""
        views = self.get("/v1/budgets", key=self.admin if key is None else key).json()["budgets"]
        return {(view["scope"], view["window"]): (view["settled"], view["held"]) for view in views}

    def resume(self) -> Position:
        position = self.link.request(Resume())
        assert isinstance(position, Position)
        self.frames = position.journal_frame
        return position

    def book(self, *, spends: Spends = (), calls: Calls = (), taken: int = 0, dedupe: bytes = b"") -> Booked:
        """The next booking."""
        self.frames += 1
        return self.send(booking(self.frames, spends=spends, calls=calls, taken=taken, dedupe=dedupe))

    def send(self, message: Booking) -> Booked:
        booked = self.link.request(message)
        assert isinstance(booked, Booked)
        return booked

    def poll(self, *, wait_ms: int = 0, sealed: int = 0) -> Pending:
        pending = self.poll_link.request(Poll(wait_ms=wait_ms, sealed=sealed))
        assert isinstance(pending, Pending)
        return pending

    def events(self, kind: str = "") -> list[Event]:
        """Everything that waits for the ledger now, of one kind; taken out of the outbox."""
        taken: list[tuple[int, Event]] = []
        events = self.poll().events
        while events:
            taken += events
            events = self.book(taken=taken[-1][0]).events
        return [event for _, event in taken if kind in {"", event.row["kind"]}]

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process has to notice first."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)

    def _limit(self, file: Path, other: dict[str, object], limits: Mapping[str, object] | None) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        budgets = {
            name: {"usd": said} if isinstance(said, str) and name != "mode" else said
            for name, said in (limits or {}).items()
        }
        file.write_text(json.dumps(other | {"budgets": budgets}))


class OwnerThread(Owned):
    """In a thread of this process: it starts in an instant, and a debugger sees it."""

    def launch(self, connections: list[socket.socket]) -> dict[str, str]:
        announced: queue.Queue[dict[str, str]] = queue.Queue()
        self._failure = ""

        async def serve() -> None:
            settings = msgspec.convert(self.settings, Settings, dec_hook=lambda kind, text: kind(text))
            await run(self.data, settings, Outside(connections, asyncio.Event(), announced.put))

        def target() -> None:
            try:
                asyncio.run(serve())
            except SpanwardError as error:
                self._failure = error.diagnostics()
                announced.put({})

        self._thread = threading.Thread(target=target)
        self._thread.start()
        endpoints = announced.get(timeout=30)
        assert endpoints, self._failure
        return endpoints

    def wait(self) -> tuple[int, str]:
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        return int(bool(self._failure)), self._failure


class OwnerProcess(Owned):
    """In a process of its own, as `serve` starts it."""

    def launch(self, connections: list[socket.socket]) -> dict[str, str]:
        descriptors = [connection.fileno() for connection in connections]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "collector.control",
                "--data",
                str(self.data),
                "--fd",
                ",".join(map(str, descriptors)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
        )
        for connection in connections:
            connection.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(self.settings))
        self.process.stdin.close()
        self.process.stdin = None
        line = self.process.stdout.readline()
        assert line, self.wait()
        return json.loads(line)

    def wait(self) -> tuple[int, str]:
        self.running = False
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, log.decode()

    def terminate(self) -> tuple[int, str]:
        """SIGTERM, while ingest is still connected."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> tuple[int, str]:
        """SIGKILL."""
        self.process.kill()
        return self.wait()


def booking(frame: int, *, spends: Spends = (), calls: Calls = (), taken: int = 0, dedupe: bytes = b"") -> Booking:
    """A booking as ingest builds it."""
    spend_rows = [
        _owner(path) | {"slot_time": slot, "cost_nano_usd": cost, "tokens": sum(tokens), "calls": 1}
        for path, slot, cost, *tokens in spends
    ]
    call_rows = [_owner(call["path"]) | _given_by_ingest() | call for call in calls]
    spend_fields = [*((name, pa.string()) for name in _OWNER), *((name, pa.int64()) for name in _SPEND_NUMBERS)]
    call_fields = [*((name, pa.string()) for name in _CALL_TEXTS), *((name, pa.int64()) for name in _CALL_NUMBERS)]
    return Booking(frame, frame, taken, dedupe, _stream(spend_rows, spend_fields), _stream(call_rows, call_fields))


def _given_by_ingest() -> dict[str, Any]:
    """What every call has; a test may say otherwise."""
    return {"received_time": time.time_ns(), "entry_id": new_id(), "provider": "openai"}


def _owner(path: str) -> dict[str, Any]:
    return dict(zip(_OWNER, path.split("/"), strict=True))


def _stream(rows: list[dict[str, Any]], fields: list[tuple[str, pa.DataType]]) -> bytes:
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
