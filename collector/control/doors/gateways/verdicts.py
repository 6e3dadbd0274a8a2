"""A decision, or an error on the way to one → what a gateway answers to the caller of a provider.

| why | status |
|---|---|
| allowed | 200 |
| no key, or one that is not known, expired or revoked | 401 |
| killed, forbidden, no known price, a question that cannot be judged | 403 |
| over a budget | 429, `retry-after` the reset |
| it could not be recorded, so it is not done | 503 |

The body of a refusal has the shape of the provider's own errors, so that its SDK shows our sentence. OpenAI:
https://platform.openai.com/docs/guides/error-codes; Anthropic: https://docs.anthropic.com/en/api/errors; Gemini:
https://ai.google.dev/gemini-api/docs/troubleshooting. `x-should-retry: false` is what OpenAI's and Anthropic's SDKs
look at first: a budget is not there again after the second they would wait.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from collector.control.answers import Header
from collector.control.doors.asking import Answered, Asker
from collector.control.doors.gateways.calls import KEY_HEADER, ModelCall, Style
from schemas.control import BudgetView, Decision
from schemas.errors import Forbidden, Permanent, Retryable, Unauthenticated

MAX_REASON_CHARS = 1000
"""Of the sentence in a header: nginx reads headers of 4 KiB in all by default."""

_BUDGET = "budget."
_KILL = "kill."
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "insufficient_quota", 503: "server_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_GEMINI_STATUSES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


class GatewayAnswer(NamedTuple):
    """What is sent back. `status` 200 lets the call through; `tells` are headers for the provider and the caller."""

    status: int
    tells: list[Header]
    body: bytes = b""


async def judge(asker: Asker, call: ModelCall, headers: Mapping[str, str], now_ns: int) -> GatewayAnswer:
    """Ask about a call; every refusal and every error is an answer."""
    try:
        answered = await asker.ask(_key(headers), call.question)
    except (Unauthenticated, Forbidden, Permanent, Retryable) as error:
        return _failed(error, call.style)
    decision = answered.decision
    if decision.verdict == "allow":
        return GatewayAnswer(200, answered.headers)
    return _refused(answered, call.style, now_ns)


def _key(headers: Mapping[str, str]) -> str:
    key = headers.get(KEY_HEADER, "")
    if not key:
        raise Unauthenticated(
            f"The call carries no key of Spanward in the header {KEY_HEADER}.",
            fix=f'Send the agent\'s key there, for example with default_headers={{"{KEY_HEADER}": KEY}}.',
        )
    return key.strip()


def _refused(answered: Answered, style: Style, now_ns: int) -> GatewayAnswer:
    decision = answered.decision
    rules = [reason.rule for reason in decision.reasons]
    over = bool(rules) and all(rule.startswith(_BUDGET) for rule in rules)
    sentences = " ".join(f"{reason.message} {reason.fix}".strip() for reason in decision.reasons)
    headers = [*answered.headers]
    if over:
        headers.append((b"retry-after", str(_wait_s(decision, rules, now_ns)).encode()))
    code = "budget_exceeded" if over else "killed" if any(rule.startswith(_KILL) for rule in rules) else "denied"
    message = f"Spanward refused this call. {sentences} Decision {decision.decision_id}."
    return _refusal(429 if over else 403, code, message, headers, style)


def _failed(error: Unauthenticated | Forbidden | Permanent | Retryable, style: Style) -> GatewayAnswer:
    message = f"Spanward refused this call. {error.diagnostics()}"
    match error:
        case Unauthenticated():
            return _refusal(401, "unauthenticated", message, [], style)
        case Retryable():
            wait = [(b"retry-after", str(error.retry_after_s).encode())]
            return _refusal(503, "unavailable", message, wait, style)
        case _:
            return _refusal(403, "forbidden", message, [], style)


def _refusal(status: int, code: str, message: str, headers: list[Header], style: Style) -> GatewayAnswer:
    retry = b"true" if status == 503 else b"false"
    told = [
        *headers,
        (b"x-spanward-status", str(status).encode()),
        (b"x-spanward-code", code.encode()),
        (b"x-spanward-reason", _one_line(message)[:MAX_REASON_CHARS]),
        (b"x-should-retry", retry),
    ]
    return GatewayAnswer(status, told, _body(status, code, message, style))


def _body(status: int, code: str, message: str, style: Style) -> bytes:
    """In ASCII, because nginx takes it from a header."""
    error: dict[str, object] = {"message": message}
    match style:
        case "anthropic":
            body: dict[str, object] = {"type": "error", "error": {"type": _ANTHROPIC_TYPES[status]} | error}
        case "gemini":
            body = {"error": {"code": status, "status": _GEMINI_STATUSES[status]} | error}
        case _:
            body = {"error": error | {"type": _OPENAI_TYPES[status], "param": None, "code": code}}
    return json.dumps(body, separators=(",", ":")).encode()


def _one_line(text: str) -> bytes:
    """Text as a header can carry it: printable ASCII, the rest escaped."""
    escaped = text.encode("ascii", "backslashreplace")
    return bytes(byte if 0x20 <= byte < 0x7F else 0x20 for byte in escaped)


def _rule(budget: BudgetView) -> str:
    """The rule by which a budget refuses."""
    unit = "" if budget.unit == "usd" else f"{budget.unit}."
    return f"{_BUDGET}{budget.window}.{unit}{budget.scope}"


def _wait_s(decision: Decision, rules: list[str], now_ns: int) -> int:
    """Seconds until every budget that refused has started anew; at least one."""
    resets = [
        datetime.fromisoformat(budget.resets_at).timestamp() for budget in decision.budgets if _rule(budget) in rules
    ]
    return max(1, int(max(resets, default=0.0)) - now_ns // 10**9)
