"""A real client of the feedback stream: one connection, its events in a list."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

PATIENCE_S = 30.0


class Heard(NamedTuple):
    """One event as it came."""

    id: str
    name: str
    data: Any


class Listener:
    """Listens in a thread until the stream ends or it is closed."""

    def __init__(self, url: str, key: str, *, client: str = "one", last_id: str = "") -> None:
        self.heard: list[Heard] = []
        self.comments = 0
        self.status = 0
        self.error: dict[str, str] = {}
        self._url, self._key, self._client = url, key, client
        parts = urlsplit(url)
        self._http = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        self._news = threading.Condition()
        headers = {"x-api-key": key} | ({"last-event-id": last_id} if last_id else {})
        self._http.request("GET", f"/v1/feedback?client={client}", headers=headers)
        self._socket = self._http.sock
        response = self._http.getresponse()
        self.status = response.status
        if self.status != 200:
            self.error = json.loads(response.read())
        self._thread = threading.Thread(target=self._listen, args=(response,))
        self._thread.start()

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.heard]

    def event(self, name: str, number: int = 1) -> Heard:
        """The `number`th event of that name, once it is there."""
        self.until(lambda: self.names.count(name) >= number)
        return [event for event in self.heard if event.name == name][number - 1]

    def ack(self, epoch: int, drill_id: str = "") -> httpx.Response:
        body = {"client": self._client, "epoch": epoch, "drill_id": drill_id}
        headers = {"x-api-key": self._key}
        return httpx.post(f"{self._url}/v1/feedback/acks", json=body, headers=headers, trust_env=False)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while not condition():
                assert time.monotonic() < deadline, f"it never came: {self.names}"
                self._news.wait(0.05)

    def ended(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._http.close()

    def _listen(self, response: HTTPResponse) -> None:
        fields: dict[str, str] = {}
        with contextlib.suppress(OSError, HTTPException, ValueError):
            while line := response.readline():
                self._take(line.decode().rstrip("\n"), fields)
        response.close()

    def _take(self, line: str, fields: dict[str, str]) -> None:
        with self._news:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.heard.append(Heard(fields["id"], fields["event"], json.loads(fields["data"])))
                fields.clear()
            self._news.notify_all()
