"""A question → an HTTP request; an HTTP response → an answer or a typed exception.

Everything the sync and the async client have in common, without any I/O. Invariant: whatever a
server sends, the outcome is a value or a `SpanwardError`. When to send is left to `client`.
"""

import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import NoReturn, TypedDict, TypeVar

import httpx

from spanward_client.decision import (
    Decision,
    HoldState,
    Malformed,
    read_decision,
    read_error,
    read_hold_state,
    read_unfinished,
)
from spanward_client.errors import (
    ApprovalRequired,
    BudgetExceeded,
    Denied,
    Killed,
    Rejected,
    SpanwardError,
    Unauthenticated,
    Unavailable,
)
from spanward_client.settings import Settings

T = TypeVar("T")

DECISIONS_PATH = "/v1/decisions"
HOLDS_PATH = "/v1/holds"

KEY_FIX = "Set SPANWARD_API_KEY to a key made with `spanward keys create --agent ORG/TENANT/AGENT`."


class Question(TypedDict, total=False):
    """What an agent is about to do. Tokens bound the cost; leave out what is not known."""

    action: str
    """What will happen; `llm.call` when left out."""
    model: str
    """Model as the provider spells it."""
    provider: str
    """Provider in GenAI semantic-convention words: `openai`, `anthropic`, `aws.bedrock` …"""
    input_tokens: int
    """Upper bound of the input; the hold is this times the price."""
    max_output_tokens: int | None
    """The limit sent to the provider; without one the server assumes its default."""
    tool: str
    """Name of the tool, for the action `tool.call`."""
    agent: str
    """Id of the agent that asks, `SPANWARD_AGENT` when left out: needed with a tenant's key, which speaks for many."""
    labels: Mapping[str, str] | None
    """Free words that go to the ledger with the decision."""
    idempotency_key: str | None
    """The same key gets the same decision; made up when left out."""


class Actual(TypedDict, total=False):
    """What an action really cost: an amount, or tokens for the server to price."""

    cost_usd: Decimal | str | int
    """USD; a float is refused, because it cannot hold most amounts exactly."""
    input_tokens: int
    """All input, cached included."""
    output_tokens: int
    """All output, reasoning included."""


def headers(settings: Settings) -> dict[str, str]:
    """Headers of every request; raises `Unauthenticated` when there is no key to send."""
    if not settings.api_key:
        raise Unauthenticated("There is no key to ask Spanward with.", fix=KEY_FIX)
    return {"authorization": f"Bearer {settings.api_key}"}


def ask_body(question: Question, settings: Settings) -> dict[str, object]:
    """The body of `POST /v1/decisions`. It always has an idempotency key, so that sending it twice is harmless."""
    _known(question, Question)
    body: dict[str, object] = {name: value for name, value in question.items() if value is not None}
    body.setdefault("idempotency_key", str(uuid.uuid4()))
    if settings.agent:
        body.setdefault("agent", settings.agent)
    return body


def settle_body(actual: Actual) -> dict[str, object]:
    """The body of a settle; raises `TypeError` for a float or when nothing is said, `ValueError` for no amount."""
    _known(actual, Actual)
    body: dict[str, object] = {name: value for name, value in actual.items() if value is not None}
    if not body:
        raise TypeError("settle() needs cost_usd, or input_tokens and output_tokens.")
    if "cost_usd" in body:
        body["cost_usd"] = _exact_usd(body["cost_usd"])
    return body


def finish_body(outcomes: Mapping[str, Actual | None]) -> dict[str, object]:
    """The body of `POST /v1/holds`: by hold what was used, `None` for an action that was not done."""
    return {
        "holds": [
            {"id": hold_id, "settle": None if actual is None else settle_body(actual)}
            for hold_id, actual in outcomes.items()
        ]
    }


def read_answer(response: httpx.Response) -> Decision:
    """An allowing decision, or the exception that says why not."""
    decision = _read(response, read_decision)
    if decision.allowed:
        return decision
    raise refusal(decision)


def read_hold(response: httpx.Response) -> HoldState:
    """What became of the hold."""
    return _read(response, read_hold_state)


def read_finished(response: httpx.Response) -> Mapping[str, str]:
    """The holds that stay as they are, and why."""
    return _read(response, read_unfinished)


def refusal(decision: Decision) -> Denied:
    """The exception for a decision that is not `allow`. A verdict this version does not know is a no."""
    if decision.verdict == "approval_required":
        return ApprovalRequired(decision)
    if decision.reason.rule.startswith("kill."):
        return Killed(decision)
    if decision.reason.rule.startswith("budget"):
        return BudgetExceeded(decision)
    return Denied(decision)


def may_be_stale(error: httpx.HTTPError) -> bool:
    """True when the server may have closed a kept connection just as the request left: worth one more try."""
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.TimeoutException)


def unreachable(settings: Settings, error: httpx.HTTPError) -> Unavailable:
    """The exception for a request that got no response."""
    if isinstance(error, httpx.TimeoutException):
        what = f"Spanward at {settings.endpoint} did not answer within {settings.timeout_s:g} s."
    else:
        what = f"Spanward at {settings.endpoint} could not be asked: {str(error) or type(error).__name__}."
    return Unavailable(
        what, fix="Check that `spanward serve` runs and that SPANWARD_ENDPOINT names its control endpoint."
    )


def _read(response: httpx.Response, reader: Callable[[bytes], T]) -> T:
    if response.status_code != httpx.codes.OK:
        _raise_for(response)
    try:
        return reader(response.content)
    except Malformed as error:
        raise Unavailable(
            f"The answer of {response.url} is not one of Spanward's: {error}.",
            fix="Check that SPANWARD_ENDPOINT names the control endpoint and that no proxy answers in its place.",
        ) from error


def _raise_for(response: httpx.Response) -> NoReturn:
    status = response.status_code
    try:
        message, fix = read_error(response.content)
    except Malformed:
        message, fix = f"{response.url} answered with HTTP status {status}.", ""
    raise _error_for(status, message, fix, response.headers.get("retry-after", ""))


def _error_for(status: int, message: str, fix: str, retry_after: str) -> SpanwardError:
    if status == httpx.codes.UNAUTHORIZED:
        return Unauthenticated(message, fix=fix or KEY_FIX)
    if status != httpx.codes.TOO_MANY_REQUESTS and httpx.codes.is_client_error(status):
        return Rejected(message, fix=fix, status=status)
    # Redirects are here too: the control endpoint never sends one, so something else answered.
    return Unavailable(message, fix=fix, retry_after_s=int(retry_after) if retry_after.isdecimal() else None)


def _exact_usd(cost: object) -> str:
    if isinstance(cost, bool) or not isinstance(cost, (Decimal, str, int)):
        raise TypeError(f"cost_usd must be a Decimal, a str or an int, not {type(cost).__name__}.")
    try:
        amount = Decimal(cost)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"cost_usd is {cost!r}, not an amount in USD.")
    return format(amount, "f")


def _known(given: Mapping[str, object], words: type) -> None:
    unknown = given.keys() - words.__annotations__.keys()
    if unknown:
        raise TypeError(f"{min(unknown)!r} is not one of {', '.join(words.__annotations__)}.")
