"""A real HTTP server that answers as a test tells it to, and remembers what it was asked.

`drops` counts the requests it will cut off without an answer; answers wait while `release` is cleared.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, object]


class Stub:
    """The server's script. `asked` and `answers` are guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: list[Asked] = []
        self.answers: list[tuple[int, Mapping[str, str], bytes]] = []
        self.drops = 0
        self.release = threading.Event()
        self.release.set()
        self.connections = 0
        self.url = ""

    def answer(self, body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """Answer the next request with this; the last answer is repeated."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, headers or {}, raw))
        return self

    def next_answer(self) -> tuple[int, Mapping[str, str], bytes]:
        """Called by the handler."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def setup(self) -> None:
        super().setup()
        with self.stub.lock:
            self.stub.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.stub.lock:
            self.stub.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            drop = self.stub.drops > 0
            self.stub.drops -= drop
        if drop:
            self.close_connection = True
            return
        self.stub.release.wait()
        with self.stub.lock:
            status, headers, raw = self.stub.next_answer()
        # A test of silence has hung up by now; there is nobody left to answer.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in {"content-length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it.
        """The test's output is not a server log."""


@contextmanager
def serving() -> Iterator[Stub]:
    """The stub on a free port of 127.0.0.1."""
    stub = Stub()
    handler = type("Handler", (_Handler,), {"stub": stub})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield stub
        finally:
            stub.release.set()
            server.shutdown()
            thread.join()
