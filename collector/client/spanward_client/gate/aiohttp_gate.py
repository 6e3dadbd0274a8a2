"""`ClientSession` of aiohttp → the same, behind the gate; google-genai uses it for its async calls when it is there.

A refused call raises the typed exception itself: google-genai passes it on and retries only what it
knows. Answers are read only when the SDK has read them whole; a stream is left to its span.
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
            return response

        return request

    patches.replace(library.ClientSession, "_request", wrap)


def _model_call(method: str, url: Any, options: dict[str, Any]) -> ModelCall | None:
    if method != "POST" or already_gated():
        return None
    data = options.get("data")
    if options.get("json") is not None:
        data = json.dumps(options["json"])
    if not isinstance(data, (bytes, str)):
        return None
    raw = data.encode() if isinstance(data, str) else data
    agent = (options.get("headers") or {}).get("user-agent", "")
    return recognise(method=method, url=str(url), agent=str(agent), body=lambda: raw)
