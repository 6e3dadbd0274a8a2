"""What operators ask of budgets: how all of them stand, and limits that are higher for a while."""

import time

import msgspec

from collector.control.answers import increase_view
from collector.control.doors.config import Config
from collector.control.doors.operators import Operators, acting
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.control.owner import Owner, Parts
from collector.pricing.instants import parse_instant
from collector.state.rows import Increase
from schemas.control import BudgetsView, IncreaseRequest, IncreaseView
from schemas.errors import ConfigError, Permanent
from schemas.governance import MAX_TOKENS
from schemas.ids import MAX_REASON_CHARS, new_id
from schemas.money import parse_usd

MAX_DAYS = 366
INCREASE_PREFIX = "inc_"
_MAX_NS = MAX_DAYS * 86_400 * 10**9

_INCREASE = msgspec.json.Decoder(IncreaseRequest)


_LIST = Operation("How every budget stands, and the increases in force.", BudgetsView)
_INCREASED = Operation("A limit that is higher for a while.", IncreaseView, IncreaseRequest)


class BudgetPages:
    """Budgets for whoever runs the platform."""

    def __init__(self, owner: Owner, parts: Parts, operators: Operators, config: Config) -> None:
        self._owner = owner
        self._budgets, self._committer = parts.budgets, parts.committer
        self._operators = operators
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("GET", "/v1/admin/budgets", self._list, _LIST),
            Route("POST", "/v1/admin/budgets/increases", self._increase, _INCREASED),
        )

    async def _list(self, request: Request) -> Page:
        self._operators.name(request)
        views = await self._owner.every_budget()
        return Page(ENCODE(BudgetsView(views, [increase_view(each) for each in self._budgets.increases()])))

    async def _increase(self, request: Request) -> Page:
        name = self._operators.name(request)
        wish = await request.json(_INCREASE, self._config.max_body)
        now = time.time_ns()
        self._budgets.advance(now)
        increase = checked(wish, now, actor=acting(name, wish.actor))
        self._budgets.increase(increase, now)
        await self._committer.durable()
        return Page(ENCODE(increase_view(increase)))


def checked(wish: IncreaseRequest, now: int, *, actor: str) -> Increase:
    """The increase that is asked for; raises `Permanent` with the path of the field that is wrong."""
    try:
        usd = 0 if wish.usd is None else parse_usd(wish.usd)
    except Permanent as error:
        raise Permanent(f"`$.usd`: {error.what}", fix=error.fix) from None
    tokens = 0 if wish.tokens is None else wish.tokens
    if not 0 <= tokens <= MAX_TOKENS:
        raise Permanent(f"`$.tokens` is {tokens}.", fix=f"Write a number from 1 to {MAX_TOKENS}.")
    if not (usd or tokens):
        raise Permanent("The increase adds nothing.", fix="Say how much more: usd, tokens or both.")
    if not wish.reason.strip() or len(wish.reason) > MAX_REASON_CHARS:
        raise Permanent("`$.reason` is empty or too long.", fix=f"Say why, in up to {MAX_REASON_CHARS} characters.")
    try:
        until = parse_instant(wish.until)
    except ConfigError as error:
        raise Permanent(f"`$.until`: {error.what}", fix=error.fix) from None
    if not now < until <= now + _MAX_NS:
        raise Permanent(
            f"`$.until` is {wish.until}, and an increase ends within {MAX_DAYS} days from now.",
            fix="Name a later time, or change the limit itself for good.",
        )
    return Increase(new_id(INCREASE_PREFIX), wish.scope, wish.window, usd, tokens, now, until, actor, wish.reason)
