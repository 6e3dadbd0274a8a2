"""HTTP on loopback → chat completions in the format of OpenAI's API.

    python -m collector.demo.provider [--latency-ms 200]

Prints its base URL on the first line of standard output. `GET /billed` tells what it charged, so
that anybody can hold the ledger against it. Invariant: it listens on 127.0.0.1 alone.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click
import msgspec

from collector.demo.completion import Completions, Refusal

BODY_BYTES_MAX = 16 * 1024 * 1024


class _Handler(BaseHTTPRequestHandler):
    """One connection; `completions` and `latency_s` are set by `serving`."""

    protocol_version = "HTTP/1.1"
    completions: Completions
    latency_s: float

    def do_POST(self) -> None:
        """Answer a completion request."""
        try:
            self._send(200, self._complete())
        except Refusal as refusal:
            error = {"message": str(refusal), "type": "invalid_request_error", "param": None, "code": refusal.code}
            self._send(refusal.status, {"error": error})

    def do_GET(self) -> None:
        """Tell what was charged, by model."""
        with self.completions.lock:
            bills = {model: msgspec.structs.asdict(bill) for model, bill in sorted(self.completions.bills.items())}
        self._send(200, bills)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name for it.
        """Say nothing: the demo's terminal is for the fleet."""

    def _complete(self) -> dict[str, object]:
        length = int(self.headers.get("content-length", "0"))
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            raise Refusal(413, "request_too_large", f"The body has {length} bytes; the most is {BODY_BYTES_MAX}.")
        body = self.rfile.read(length)
        if self.path != "/v1/chat/completions":
            raise Refusal(404, "unknown_url", f"Unknown request URL: POST {self.path}.")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise Refusal(400, "invalid_json", f"The body is not JSON: {error}.") from error
        if not isinstance(request, dict):
            raise Refusal(400, "invalid_type", "The body must be an object.")
        answer = self.completions.create(request)
        # A model takes a moment; without it the fleet would spend a day's budget in a second.
        time.sleep(self.latency_s)
        return answer

    def _send(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def serving(*, latency_s: float = 0.0) -> Iterator[str]:
    """The provider on a free port of 127.0.0.1; yields its base URL."""
    handler = type("Handler", (_Handler,), {"completions": Completions(), "latency_s": latency_s})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        often = {"poll_interval": 0.05}
        thread = threading.Thread(target=server.serve_forever, kwargs=often, name="provider", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@click.command()
@click.option("--latency-ms", default=200, show_default=True, help="Time every completion takes.")
def main(latency_ms: int) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serving(latency_s=latency_ms / 1000) as url:
        click.echo(url)
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
