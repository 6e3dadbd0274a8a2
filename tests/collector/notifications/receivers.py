"""Real places to notify on localhost: they check what they get, remember it, and fail when told to."""

import base64
import json
import socket
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import standardwebhooks
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class HttpReceiver:
    """Accepts POST. `answers` are the statuses of the next requests; after them 200. `delay_s` holds each answer back.

    `refused` holds what a validating endpoint would not have taken; a test ends by looking at it.
    """

    def __init__(self, answers: Iterable[int] = (), *, delay_s: float = 0) -> None:
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.refused: list[str] = []
        self.asked = 0
        self.delay_s = delay_s
        self.answers = list(answers)
        self.moved_to = ""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.asked += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(receiver.delay_s)
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == 200:
                    status = receiver.take({k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", receiver.moved_to)
                if status == 429:
                    self.send_header("retry-after", "7")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/services/T0/B0/secret"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The status of a request that is not told to fail."""
        problem = self.check(headers, body)
        if problem:
            self.refused.append(problem)
            return 400
        self.headers.append(headers)
        self.bodies.append(json.loads(body))
        return 200

    def check(self, headers: dict[str, str], body: bytes) -> str:
        """What is wrong with a request, or nothing."""
        return "" if headers["content-type"] == "application/json" and body else "not JSON"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class SlackReceiver(HttpReceiver):
    """Judges as Slack's incoming webhooks do: JSON, `text`, blocks of known types within their limits."""

    def check(self, headers: dict[str, str], body: bytes) -> str:
        message = json.loads(body)
        if headers["content-type"] != "application/json" or not isinstance(message.get("text"), str):
            return "invalid_payload"
        if message.keys() - {"text", "blocks"} or not 1 <= len(message["blocks"]) <= 50:
            return "invalid_blocks"
        return next(filter(None, map(_block_problem, message["blocks"])), "")

    def titles(self) -> list[str]:
        """Header of each message, without its mark."""
        return [body["blocks"][0]["text"]["text"].partition(" ")[2] for body in self.bodies]


class WebhookReceiver(HttpReceiver):
    """Takes only what the Standard Webhooks library verifies with the shared secret."""

    def check(self, headers: dict[str, str], body: bytes) -> str:
        try:
            standardwebhooks.Webhook(SECRET).verify(body, headers)
        except standardwebhooks.WebhookVerificationError as error:
            return str(error)
        return ""


class MailReceiver:
    """A real SMTP server that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        self.mails.append(envelope)
        return "250 OK"

    def close(self) -> None:
        self._controller.stop()


def _block_problem(block: dict[str, Any]) -> str:
    match block:
        case {"type": "header", "text": {"type": "plain_text", "text": str(text)}}:
            most = 150
        case {"type": "section", "text": {"type": "plain_text" | "mrkdwn", "text": str(text)}}:
            most = 3000
        case {"type": "context", "elements": [{"type": "plain_text" | "mrkdwn", "text": str(text)}]}:
            most = 3000
        case _:
            return "invalid_blocks_format"
    return "" if 0 < len(text) <= most else "invalid_blocks_format: length"
