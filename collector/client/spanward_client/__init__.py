"""Ask before an agent spends: a question in, room in the budgets or a typed exception out.

    with spanward_client.hold(model="gpt-5", provider="openai", input_tokens=1200, max_output_tokens=400):
        openai.chat.completions.create(...)

Depends on httpx alone (and on opentelemetry-api for `spanward_client.otel`). Settings come from the
environment, see `Settings`.
"""

from spanward_client.ambient import acheck, aclose, check, close, hold
from spanward_client.client import AsyncClient, Client
from spanward_client.decision import BudgetView, Decision, HoldState, HoldView, Reason
from spanward_client.errors import (
    ApprovalRequired,
    BudgetExceeded,
    Denied,
    Killed,
    Rejected,
    SettingsError,
    SpanwardError,
    Unauthenticated,
    Unavailable,
)
from spanward_client.gate import instrument, uninstrument
from spanward_client.gate.refusals import refusal_of
from spanward_client.governing import governed
from spanward_client.holding import AsyncHold, Hold, current_decision_id
from spanward_client.settings import Settings
from spanward_client.settling import flush

__all__ = [
    "ApprovalRequired",
    "AsyncClient",
    "AsyncHold",
    "BudgetExceeded",
    "BudgetView",
    "Client",
    "Decision",
    "Denied",
    "Hold",
    "HoldState",
    "HoldView",
    "Killed",
    "Reason",
    "Rejected",
    "Settings",
    "SettingsError",
    "SpanwardError",
    "Unauthenticated",
    "Unavailable",
    "acheck",
    "aclose",
    "check",
    "close",
    "current_decision_id",
    "flush",
    "governed",
    "hold",
    "instrument",
    "refusal_of",
    "uninstrument",
]
