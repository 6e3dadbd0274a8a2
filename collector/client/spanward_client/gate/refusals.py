"""A refusal → an error response each provider's SDK turns into its own exception, and back.

SDKs retry an exception of their transport and hide its text, but show the body of a response. So a
refused call gets status 403, which none of them retries, in the shape of its provider's errors, with
our sentences as the message. `refusal_of` finds the typed exception behind whatever the SDK raised.
"""

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from spanward_client.errors import Denied, SpanwardError
from spanward_client.gate.recognise import Family

STATUS = 403
HEADER = "x-spanward-refusal"

REMEMBERED = 1_000
"""Refusals `refusal_of` can still find; one holds about 1 kB."""

_lock = threading.Lock()
_recent: OrderedDict[str, SpanwardError] = OrderedDict()
_CHAIN_MAX = 20


def sentences(no: SpanwardError) -> str:
    """What the SDK's user reads: which rule, window and reset, how to mend it, and what to quote."""
    if isinstance(no, Denied) and no.decision_id:
        return f"Spanward refused this call: {no} (decision {no.decision_id})"
    return f"Spanward refused this call: {no}"


def refused(no: SpanwardError, family: Family) -> tuple[dict[str, str], bytes]:
    """Headers and body of the response that stands in for the provider's."""
    identity = uuid.uuid4().hex
    with _lock:
        _recent[identity] = no
        while len(_recent) > REMEMBERED:
            _recent.popitem(last=False)
    headers = {
        "content-type": "application/json",
        "x-should-retry": "false",  # openai and anthropic obey it whatever the status.
        "x-amzn-errortype": "AccessDeniedException",
        HEADER: identity,
    }
    return headers, json.dumps(_body(no, family), ensure_ascii=False).encode()


def refusal_of(error: BaseException) -> SpanwardError | None:
    """The `BudgetExceeded`, `Killed` … behind an exception of an SDK or framework; `None` when it is not ours.

    Looks through `__cause__` and `__context__`, so a framework's own exception around the SDK's will do.
    """
    for link in _chain(error):
        if isinstance(link, SpanwardError):
            return link
        response = getattr(link, "response", None)
        if response is None:
            response = getattr(link, "raw_response", None)  # mistralai keeps it there.
        identity = _header(response)
        if identity:
            with _lock:
                return _recent.get(identity)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _header(response: object) -> str:
    """The header of an `httpx` or `requests` response, or of the dictionary botocore keeps of one."""
    headers = getattr(response, "headers", None)
    if isinstance(response, dict):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
    value = headers.get(HEADER) if isinstance(headers, Mapping) else None
    return value if isinstance(value, str) else ""


def _body(no: SpanwardError, family: Family) -> dict[str, object]:
    message = sentences(no)
    rule = no.rule if isinstance(no, Denied) else type(no).__name__
    match family:
        case "anthropic":
            return {"type": "error", "error": {"type": "permission_error", "message": message}}
        case "gemini":
            return {"error": {"code": STATUS, "message": message, "status": "PERMISSION_DENIED"}}
        case "bedrock":
            return {"message": message}
        case "openai":
            return {"error": {"message": message, "type": "spanward_refused", "param": None, "code": rule}}
