"""What agents ask: decisions, budgets and holds, as JSON."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from collector.access.keys import Credential
from collector.control.answers import DECISION_HEADERS, Answer
from collector.control.doors.config import Config
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.pricing.rate import MAX_TOKENS
from schemas.control import (
    BudgetView,
    Decision,
    DecisionRequest,
    Finish,
    Finished,
    FinishRequest,
    HoldState,
    SettleRequest,
    Unfinished,
)
from schemas.errors import Permanent

MAX_NAME_CHARS = 256
# One step of the loop, which questions wait for: a few milliseconds.
MAX_FINISHED = 200

_DECISION = msgspec.json.Decoder(DecisionRequest)
_SETTLE = msgspec.json.Decoder(SettleRequest)
_FINISH = msgspec.json.Decoder(FinishRequest)


class Budgets(msgspec.Struct, frozen=True):
    """Answer of `GET /v1/budgets`."""

    budgets: list[BudgetView]


_DECIDE = Operation(
    "May this be done? A verdict is always 200, and what it holds is durable.",
    Decision,
    DecisionRequest,
    may_be=(409,),
    tells=DECISION_HEADERS,
)
_BUDGETS = Operation(
    "Limited budgets this key may see.", Budgets, query={"scope": "Only this scope, such as `acme/support`."}
)
_SETTLED = Operation("The action was done and cost this much.", HoldState, SettleRequest, may_be=(409,))
_FINISHED = Operation("Many holds at once: settled, or given back.", Finished, FinishRequest)
_VOIDED = Operation("The action was not done: give the money back.", HoldState, may_be=(409,))


class Judge(Protocol):
    """Who answers agents: `owner.Owner`, or `outage.stand_in.StandIn` while the state cannot be written."""

    async def decide(self, credential: Credential, request: DecisionRequest) -> Answer:
        """Say whether this agent may do that."""

    async def hold(self, credential: Credential, hold_id: str) -> HoldState:
        """What became of a hold."""

    async def settle(self, credential: Credential, hold_id: str, request: SettleRequest) -> HoldState:
        """The call was made and cost this much."""

    async def void(self, credential: Credential, hold_id: str) -> HoldState:
        """The call was not made."""

    async def finish(self, credential: Credential, finishes: Sequence[Finish]) -> list[Unfinished]:
        """Many of these; those that could not be."""

    async def budgets(self, credential: Credential, scope: str | None) -> list[BudgetView]:
        """The limited budgets a key may see."""


class AgentPages:
    """The pages of an agent's or a tenant's key."""

    def __init__(self, owner: Judge, authenticate: Callable[[str], Credential], config: Config) -> None:
        self._owner = owner
        self._authenticate = authenticate
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("POST", "/v1/decisions", self._decide, _DECIDE),
            Route("GET", "/v1/budgets", self._budgets, _BUDGETS),
            Route("POST", "/v1/holds", self._finish, _FINISHED),
            Route("GET", "/v1/holds/{id}", self._hold, Operation("What became of a hold.", HoldState)),
            Route("POST", "/v1/holds/{id}/settle", self._settle, _SETTLED),
            Route("POST", "/v1/holds/{id}/void", self._void, _VOIDED),
        )

    async def _decide(self, request: Request) -> Page:
        credential = self._credential(request)
        # Who may not ask at all is told so before what he asked is read.
        credential.path()
        question = await request.json(_DECISION, self._config.max_body)
        check_question(question)
        answer = await self._owner.decide(credential, question)
        return Page(answer.body, answer.headers)

    async def _budgets(self, request: Request) -> Page:
        views = await self._owner.budgets(self._credential(request), request.parameter("scope"))
        return Page(ENCODE(Budgets(views)))

    async def _hold(self, request: Request, hold_id: str) -> Page:
        return Page(ENCODE(await self._owner.hold(self._credential(request), hold_id)))

    async def _settle(self, request: Request, hold_id: str) -> Page:
        credential = self._credential(request)
        settlement = await request.json(_SETTLE, self._config.max_body)
        check_tokens(input_tokens=settlement.input_tokens, output_tokens=settlement.output_tokens)
        return Page(ENCODE(await self._owner.settle(credential, hold_id, settlement)))

    async def _finish(self, request: Request) -> Page:
        credential = self._credential(request)
        finishes = (await request.json(_FINISH, self._config.max_body)).holds
        if len(finishes) > MAX_FINISHED:
            raise _invalid("$.holds", f"has {len(finishes)} items, and may have {MAX_FINISHED}")
        for each in finishes:
            if each.settle is not None:
                check_tokens(input_tokens=each.settle.input_tokens, output_tokens=each.settle.output_tokens)
        return Page(ENCODE(Finished(await self._owner.finish(credential, finishes))))

    async def _void(self, request: Request, hold_id: str) -> Page:
        return Page(ENCODE(await self._owner.void(self._credential(request), hold_id)))

    def _credential(self, request: Request) -> Credential:
        return self._authenticate(request.credential_text)


def check_question(request: DecisionRequest) -> None:
    """What the types cannot say of a question; raises `Permanent` with the path of the field that is wrong."""
    check_tokens(input_tokens=request.input_tokens, max_output_tokens=request.max_output_tokens)
    for name in ("action", "model", "provider", "idempotency_key"):
        if len(getattr(request, name)) > MAX_NAME_CHARS:
            raise _invalid(f"$.{name}", f"is longer than {MAX_NAME_CHARS} characters")
    if not request.action:
        raise _invalid("$.action", "is empty")


def check_tokens(**tokens: int | None) -> None:
    """Raise `Permanent` for a number of tokens that no call has."""
    for name, count in tokens.items():
        if count is not None and not 0 <= count <= MAX_TOKENS:
            raise _invalid(f"$.{name}", f"is {count}, and must be from 0 to {MAX_TOKENS}")


def _invalid(path: str, what: str) -> Permanent:
    return Permanent(f"The body cannot be used: `{path}` {what}.", fix="See the request's JSON Schema.")
