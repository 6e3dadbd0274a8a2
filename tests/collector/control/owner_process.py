"""The real owner process on a data directory of its own, with both ends the world has: HTTP and ingest's socket."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow as pa

from collector.access.bootstrap import access_path
from collector.access.keys import KeyStore
from collector.control.link import OwnerLink
from schemas.booking import Booked, Booking, Event, Pending, Poll, Position, Resume
from schemas.ids import AgentPath

TRIAGE = "acme/support/triage"
CALL = {"action": "llm.call", "model": "gpt-4o", "provider": "openai", "input_tokens": 1000, "max_output_tokens": 1000}
# gpt-4o on the price list: 2.50 USD a million input tokens, 10.00 output.
CALL_USD = "0.012500000"
CALL_NANO = 12_500_000

Spend = tuple[str, int, int]
"""Agent path, slot time, nano-USD."""
_TEXTS = ("org", "tenant", "agent")
_CALL_TEXTS = (*_TEXTS, "model", "request_model", "decision_id")
_CALL_NUMBERS = ("start_time", "end_time", "cost_nano_usd")


class OwnerProcess:
    """`limits` are in USD by scope, such as `{"acme/support": {"daily": "50"}}`; all else is settings."""

    def __init__(
        self, data: Path, *, limits: Mapping[str, Mapping[str, str]] | None = None, zone: str = "UTC", **settings: Any
    ) -> None:
        self.data = data
        self.settings = settings
        (data / "state").mkdir(parents=True)
        self.govern(limits or {}, zone=zone)
        self.store = KeyStore(access_path(data), clock=time.time_ns)
        self.admin, _ = self.store.create_admin_token(actor="user:test")
        self.key = self.new_key(TRIAGE)
        self.frames = 0
        self._process: subprocess.Popen[bytes] | None = None

    def new_key(self, path: str) -> str:
        return self.store.create_agent_key(AgentPath.parse(path), actor="user:test")[0]

    def govern(self, limits: Mapping[str, Mapping[str, str]], *, zone: str = "UTC") -> None:
        """Write the governance files of these limits, and of the scopes above them."""
        root = self.data / "governance"
        for scope in {TRIAGE, *limits}:
            org, tenant, agent = (*scope.split("/"), "", "")[:3]
            self._limit(root / org / "org.yaml", {"time_zone": zone}, limits.get(org))
            if tenant:
                self._limit(root / org / tenant / "tenant.yaml", {}, limits.get(f"{org}/{tenant}"))
            if agent:
                self._limit(root / org / tenant / "agents" / f"{agent}.yaml", {}, limits.get(scope))

    def start(self) -> "OwnerProcess":
        pairs = [socket.socketpair() for _ in range(2)]
        descriptors = [theirs.fileno() for _, theirs in pairs]
        control = {"endpoint": "127.0.0.1:0", "follow_interval": "50ms", **self.settings.get("control", {})}
        settings = {
            "budgets": {},
            "dedupe_keys": 1000,
            "operator_token": "operator",
            **self.settings,
            "control": control,
        }
        command = [sys.executable, "-m", "collector.control", "--data", str(self.data)]
        self._process = subprocess.Popen(
            [*command, "--fd", ",".join(map(str, descriptors))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
        )
        for _, theirs in pairs:
            theirs.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(settings))
        self._process.stdin.close()
        self._process.stdin = None
        self.link, self.poll_link = (OwnerLink(ours) for ours, _ in pairs)
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self.wait()[1])
        self.url = json.loads(line)["control"]
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        return self

    def wait(self) -> tuple[int, str]:
        """Exit code and log of a process that ends."""
        assert self._process is not None
        _, log = self._process.communicate(timeout=30)
        return self._process.returncode, log.decode()

    def stop(self) -> tuple[int, str]:
        self._signal(signal.SIGTERM)
        return self.close()

    def kill(self) -> tuple[int, str]:
        self._signal(signal.SIGKILL)
        return self.close()

    def close(self) -> tuple[int, str]:
        """Hang up as ingest would, and wait for the end."""
        self.http.close()
        self.link.close()
        self.poll_link.close()
        return self.wait()

    def end(self) -> None:
        """After a test, in whatever state it left."""
        if self._process is not None and self._process.returncode is None:
            self.kill()
        self.store.close()

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

    def book(
        self,
        *,
        spends: list[Spend] | None = None,
        calls: list[dict[str, Any]] | None = None,
        taken: int = 0,
        dedupe: bytes = b"",
    ) -> Booked:
        """The next booking; `calls` have path, cost_nano_usd and what else a call says."""
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
        while events := self.poll().events:
            taken += events
        if taken:
            self.book(taken=taken[-1][0])
        return [event for _, event in taken if kind in {"", event.row["kind"]}]

    def eventually(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process has to notice first."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _limit(self, file: Path, other: dict[str, object], limits: Mapping[str, str] | None) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        budgets = {window: {"usd": usd} for window, usd in (limits or {}).items()}
        file.write_text(json.dumps(other | {"budgets": budgets}))


def booking(
    frame: int,
    *,
    spends: list[Spend] | None = None,
    calls: list[dict[str, Any]] | None = None,
    taken: int = 0,
    dedupe: bytes = b"",
) -> Booking:
    """A booking as ingest builds it."""
    rows = [
        dict(zip(_TEXTS, path.split("/"), strict=True), slot_time=slot, cost_nano_usd=cost, calls=1)
        for path, slot, cost in spends or []
    ]
    spend_schema = [(name, pa.string()) for name in _TEXTS]
    spend_schema += [(name, pa.int64()) for name in ("slot_time", "cost_nano_usd", "calls")]
    full = [dict(zip(_TEXTS, call["path"].split("/"), strict=True)) | call for call in calls or []]
    call_schema = [(name, pa.string()) for name in _CALL_TEXTS] + [(name, pa.int64()) for name in _CALL_NUMBERS]
    return Booking(frame, frame, taken, dedupe, _stream(rows, spend_schema), _stream(full, call_schema))


def _stream(rows: list[dict[str, Any]], fields: list[tuple[str, pa.DataType]]) -> bytes:
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
