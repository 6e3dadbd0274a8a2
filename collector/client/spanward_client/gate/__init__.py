"""The HTTP libraries of the model SDKs → the same, asking Spanward before each model call."""

import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Mapping
from types import ModuleType

from spanward_client.ambient import sync_client
from spanward_client.errors import SpanwardError
from spanward_client.feedback import kill_state, stop_following
from spanward_client.gate import aiohttp_gate, botocore_gate, httpx_gate, requests_gate
from spanward_client.gate.patches import Patches
from spanward_client.spans import watch_spans

_log = logging.getLogger("spanward_client")

# By the module that is imported for it; a library that is not installed has no calls to gate.
_GATES: Mapping[str, Callable[[ModuleType, Patches], None]] = {
    "httpx": httpx_gate.patch,
    "httpx2": httpx_gate.patch,
    "requests": requests_gate.patch,
    "aiohttp": aiohttp_gate.patch,
    "botocore.httpsession": botocore_gate.patch,
}

_lock = threading.Lock()
_patches: Patches | None = None


def instrument() -> None:
    """Gate the model calls of this process, whichever SDK makes them; calling it twice does nothing more.

    `opentelemetry-instrument` does it by itself. It never raises: with settings that cannot work it says so
    in the log, and each model call is refused with the same words.
    """
    global _patches  # noqa: PLW0603 - what is replaced is global too.
    with _lock:
        if _patches is not None:
            return
        _patches = Patches()
        for name, patch in _GATES.items():
            if importlib.util.find_spec(name.partition(".")[0]) is not None:
                patch(importlib.import_module(name), _patches)
    watch_spans()
    try:
        kill_state(sync_client().settings)
    except SpanwardError as error:
        _log.error("Every model call will be refused: %s", error)


def uninstrument() -> None:
    """Take the gate away again."""
    global _patches
    with _lock:
        patches, _patches = _patches, None
    if patches is not None:
        patches.give_back()
        stop_following()
