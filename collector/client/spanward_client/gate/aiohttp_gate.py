"""`ClientSession` of aiohttp → the same, behind the gate; google-genai uses it for its async calls when it is there.

A refused call raises the typed exception itself: google-genai passes it on and retries only what it knows.
"""

import json
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from spanward_client.gate.httpx_gate import already_gated, gated
from spanward_client.gate.judge import aadmit
from spanward_client.gate.patches import Patches
from spanward_client.gate.recognise import ModelCall, recognise
from spanward_client.gate.usage import Watch


def patch(library: ModuleType, patches: Patches) -> None:
    """Put the gate before `ClientSession._request`, which all its verbs go through."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        async def request(session: Any, method: str, url: Any, **options: Any) -> Any:
            call = _model_call(method, url, options)
            if call is None:
                return await original(session, method, url, **options)
            permit = await aadmit(call)
            with gated():
                try:
                    response = await original(session, method, url, **options)
                except library.ClientConnectorError:
                    permit.unsent()
                    raise
            if response.status >= 400:
                permit.failed(response.status)
            else:
                watch = Watch(response.headers.get("content-type", ""), permit.answered)
                response.content = _Content(response.content, watch)
            return response

        return request

    patches.replace(library.ClientSession, "_request", wrap)


class _Content:
    """The `StreamReader` of an answer, its bytes looked at as they are read."""

    def __init__(self, content: Any, watch: Watch) -> None:
        self._content = content
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    def __aiter__(self) -> Any:
        return type(self._content).__aiter__(self)

    def iter_any(self) -> Any:
        return type(self._content).iter_any(self)

    def iter_chunked(self, size: int) -> Any:
        return type(self._content).iter_chunked(self, size)

    async def read(self, size: int = -1) -> bytes:
        return self._seen(await self._content.read(size))

    async def readany(self) -> bytes:
        return self._seen(await self._content.readany())

    async def readline(self, **options: Any) -> bytes:
        return self._seen(await self._content.readline(**options))

    def _seen(self, data: bytes) -> bytes:
        self._watch.feed(data)
        if self._content.at_eof():
            self._watch.end()
        return data


def _model_call(method: str, url: Any, options: dict[str, Any]) -> ModelCall | None:
    if method.upper() != "POST" or already_gated():
        return None
    data = options.get("data")
    if options.get("json") is not None:
        data = json.dumps(options["json"])
    if not isinstance(data, (bytes, str)):
        return None
    raw = data.encode() if isinstance(data, str) else data
    agent = (options.get("headers") or {}).get("user-agent", "")
    return recognise(method="POST", url=str(url), agent=str(agent), body=lambda: raw)
