"""A control endpoint that speaks the contract: decisions, holds, the feedback stream, acks and the poll.

Unlike `stub`, which says what a test tells it, this one keeps the rules: each question gets a decision
and a hold of its own, a hold is finished once, an epoch grows by each kill and each release.
"""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.client.answers import ALLOW, DENY

BOOT = "boot1"


class Control:
    """The server's state. Everything is guarded by `changed`."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.questions: list[dict[str, Any]] = []
        self.finished: list[tuple[str, str, dict[str, Any]]] = []
        self.acks: list[dict[str, Any]] = []
        self.streams: list[queue.Queue[tuple[str, dict[str, Any]] | None]] = []
        self.stream_clients: list[str] = []
        self.resumed_from: list[str] = []
        self.polls = 0
        self.kills: list[dict[str, Any]] = []
        self.epoch = 0
        self.streaming = True
        self.open = True
        self.denial: dict[str, Any] | None = None
        self.url = ""

    def deny(self, answer: dict[str, Any] = DENY) -> None:
        """Refuse from now on."""
        self.denial = answer

    def kill(self, scope: str = "all", target: str = "platform") -> dict[str, Any]:
        """Kill, and tell every stream."""
        with self.changed:
            self.epoch += 1
            kill: dict[str, Any] = {"id": f"kill-{self.epoch}", "scope": scope, "target": target}
            kill |= {"reason": "runaway costs", "actor": "admin:ann", "since": "2026-11-24T02:00:00Z"}
            kill["epoch"] = self.epoch
            self.kills.append(kill)
            self._tell("kills", {"epoch": self.epoch, "kills": list(self.kills)})
            return kill

    def release(self) -> None:
        """Release everything, and tell every stream."""
        with self.changed:
            self.epoch += 1
            self.kills.clear()
            self._tell("kills", {"epoch": self.epoch, "kills": []})

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Send an event to every stream."""
        with self.changed:
            self._tell(name, data)

    def break_streams(self, *, streaming: bool = False) -> None:
        """Cut every stream; whether new ones are let in is `streaming`."""
        with self.changed:
            self.streaming = streaming
            for stream in self.streams:
                stream.put(None)
            self.streams.clear()

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        for stream in self.streams:
            stream.put((name, data))

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Block until the server has seen it; raises `AssertionError` when it does not come."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, "it did not happen"
                self.changed.wait(min(left, 0.05))

    def snapshot(self) -> dict[str, Any]:
        """The event and the poll's answer."""
        return {"epoch": self.epoch, "kills": list(self.kills), "policy_digest": "d", "budgets": []}

    def decide(self, question: dict[str, Any]) -> dict[str, Any]:
        """One decision."""
        self.questions.append(question)
        number = len(self.questions)
        if self.denial is not None:
            return {**self.denial, "decision_id": f"dec-{number}"}
        hold = {**ALLOW["hold"], "id": f"hold-{number}"}  # type: ignore[dict-item]
        return {**ALLOW, "decision_id": f"dec-{number}", "hold": hold}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what several tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control: Control

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        with self.control.changed:
            status, answer = self._answer(body)
            self.control.changed.notify_all()
        self._send(status, answer)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        control = self.control
        if not control.open:
            return 503, {"error": "unavailable", "message": "Not now.", "fix": "Try later."}
        if self.path == "/v1/decisions":
            return 200, control.decide(body)
        if self.path == "/v1/feedback/acks":
            control.acks.append(body)
            return 200, {"epoch": body["epoch"]}
        if self.path != "/v1/holds":
            _, _, _, hold, verb = self.path.split("/")
            control.finished.append((hold, verb, body))
            return 200, {"id": hold, "state": "void" if verb == "void" else "settled"}
        done = {hold for hold, _, _ in control.finished}
        for hold, settle in ((each["id"], each["settle"]) for each in body["holds"] if each["id"] not in done):
            control.finished.append((hold, "void" if settle is None else "settle", settle or {}))
        twice = [each["id"] for each in body["holds"] if each["id"] in done]
        return 200, {"unfinished": [{"id": hold, "message": "It is finished."} for hold in twice]}

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/v1/feedback/state":
            with self.control.changed:
                self.control.polls += 1
                self.control.changed.notify_all()
                answer = self.control.snapshot()
            self._send(200 if self.control.open else 503, answer)
        elif not self.control.streaming:
            self._send(503, {"error": "unavailable", "message": "No streams.", "fix": ""})
        else:
            self._stream(query["client"][0])

    def _stream(self, client: str) -> None:
        control, events = self.control, queue.Queue[tuple[str, dict[str, Any]] | None]()
        with control.changed:
            control.streams.append(events)
            control.stream_clients.append(client)
            resumed = self.headers.get("last-event-id", "")
            control.resumed_from.append(resumed)
            if not resumed:
                events.put(("snapshot", control.snapshot()))
            elif not resumed.endswith(f"-{control.epoch}"):
                events.put(("kills", {"epoch": control.epoch, "kills": list(control.kills)}))
            control.changed.notify_all()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(b": keepalive\n\n")
            while (event := events.get()) is not None:
                name, data = event
                identity = f"{BOOT}-{data.get('epoch', control.epoch)}"
                self.wfile.write(f"id: {identity}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())
                self.wfile.flush()

    def _send(self, status: int, answer: object) -> None:
        raw = json.dumps(answer).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it.
        """The test's output is not a server log."""


@contextmanager
def serving(port: int = 0) -> Iterator[Control]:
    """The endpoint on 127.0.0.1."""
    control = Control()
    handler = type("Handler", (_Handler,), {"control": control})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        control.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield control
        finally:
            control.break_streams()
            server.shutdown()
            thread.join()
