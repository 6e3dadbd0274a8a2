"""The server's feedback stream → the kill state of this process, each epoch and drill acknowledged.

One daemon thread a process follows `GET /v1/feedback`; while the stream is broken it polls
`GET /v1/feedback/state` and tries the stream again with a growing pause. Invariant: it never raises
into the agent, never keeps the process alive, and a forked child follows for itself.
"""

import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx

from spanward_client.client import may_use_proxy
from spanward_client.decision import Malformed
from spanward_client.errors import SpanwardError
from spanward_client.feedback.kills import STATE_TTL_S, KillState
from spanward_client.protocol import headers
from spanward_client.settings import Settings
from spanward_client.spans import without_spans

STREAM_PATH = "/v1/feedback"
STATE_PATH = "/v1/feedback/state"
ACK_PATH = "/v1/feedback/acks"

PAUSE_LEAST_S = 0.5
PAUSE_MOST_S = 30.0
"""Pauses between two tries of the stream: the first is half a second, each is twice the last, with jitter."""

LINE_MAX = 4 * 1024 * 1024
"""Longest line of the stream, in characters; a longer one breaks it off."""

_log = logging.getLogger("spanward_client")


class Event(NamedTuple):
    """One event of the stream; `name` is empty for a keep-alive."""

    name: str
    data: str


class _Ended(Exception):
    """The stream is over. Never leaves this module."""


class Follower:
    """Keeps `state` true until `stop`. Owned by the thread it starts, but for `state` and `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.state = KillState()
        self.client_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._settings = settings
        self._stopped = threading.Event()
        self._last_id = ""
        self._acked = -1
        self._streamed = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="spanward-feedback", daemon=True)

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does at its next word from the server, and nobody waits for it."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            with (
                without_spans(),
                httpx.Client(
                    base_url=self._settings.endpoint,
                    headers=headers(self._settings),
                    timeout=httpx.Timeout(self._settings.timeout_s, read=STATE_TTL_S),
                    trust_env=may_use_proxy(self._settings),
                ) as http,
            ):
                self._follow(http)
        except SpanwardError as error:
            _log.warning("Kills are not followed: %s", error)

    def _follow(self, http: httpx.Client) -> None:
        pause = PAUSE_LEAST_S
        while not self._stopped.is_set():
            self._streamed = False
            try:
                self._stream(http)
            except (httpx.HTTPError, Malformed, _Ended) as error:
                self._warn_once(error)
            # A stream that worked and broke is tried again soon, one that never works less and less often.
            pause = PAUSE_LEAST_S if self._streamed else min(pause * 2, PAUSE_MOST_S)
            self._poll_for(http, pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret.

    def _stream(self, http: httpx.Client) -> None:
        wanted = {"accept": "text/event-stream"}
        if self._last_id:
            wanted["last-event-id"] = self._last_id
        with http.stream("GET", STREAM_PATH, params={"client": self.client_id}, headers=wanted) as response:
            if response.status_code != httpx.codes.OK:
                raise _Ended(f"the stream was answered with status {response.status_code}")
            for event in self._events(response):
                self._streamed = True
                self.state.hear()
                self._take(http, event)
                if self._stopped.is_set():
                    return
        raise _Ended("the stream ended")

    def _take(self, http: httpx.Client, event: Event) -> None:
        """Events this version does not know, and budgets and policies, need no act of a client."""
        match event.name:
            case "snapshot" | "kills":
                self._ack(http, epoch=self.state.learn(event.data))
            case "drill":
                self._ack(http, epoch=self.state.epoch, drill_id=_field(event.data, "drill_id"))
            case "end":
                raise _Ended(_field(event.data, "message") or "the server ended the stream")

    def _poll_for(self, http: httpx.Client, seconds: float) -> None:
        """Poll until it is time to try the stream again."""
        until = time.monotonic() + seconds
        interval = self._settings.poll_interval_s
        while not self._stopped.is_set():
            try:
                response = http.get(STATE_PATH)
                if response.is_client_error:
                    interval = seconds  # A revoked key, or a server without this page: asking often helps nobody.
                if response.status_code == httpx.codes.OK:
                    epoch = self.state.learn(response.text)
                    if epoch != self._acked:
                        self._ack(http, epoch=epoch)
            except (httpx.HTTPError, Malformed) as error:
                self._warn_once(error)
            left = until - time.monotonic()
            if left <= 0 or self._stopped.wait(min(interval, left)):
                return

    def _ack(self, http: httpx.Client, *, epoch: int, drill_id: str = "") -> None:
        body = {"client": self.client_id, "epoch": epoch, "drill_id": drill_id}
        if http.post(ACK_PATH, json=body).status_code == httpx.codes.OK:
            self._acked = epoch

    def _events(self, response: httpx.Response) -> Iterator[Event]:
        """Events of the stream (WHATWG HTML, 9.2.6): fields by line, a blank line ends one, `:` is a comment."""
        name, data = "", [""]
        for line in _lines(response):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if name:
                    yield Event(name, "\n".join(data[1:]))
                name, data = "", [""]
            elif not field:
                yield Event("", "")
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self._last_id = value

    def _warn_once(self, error: Exception) -> None:
        """Said once in a process: each call is still judged by the server, so this is no emergency."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        _log.log(level, "Kills do not come by stream from %s (%s); polling.", self._settings.endpoint, error)


def _lines(response: httpx.Response) -> Iterator[str]:
    """Lines as soon as they are whole. `iter_lines` of httpx also breaks at U+2028, which JSON may hold."""
    rest = ""
    for text in response.iter_text():
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
        if len(rest) > LINE_MAX:
            raise _Ended(f"a line has more than {LINE_MAX} characters")


def _field(data: str, name: str) -> str:
    try:
        told = json.loads(data)
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, str) else ""
