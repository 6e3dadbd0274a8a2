"""What operators ask: this machine's own commands with the operator token, and administrators."""

from collections.abc import Callable
from hmac import compare_digest

import msgspec

from collector.access.keys import Credential
from collector.control.corrections import CorrectionBook, Corrections, Recorded
from collector.control.doors.config import Config
from collector.control.doors.request import ENCODE, Operation, Page, Request, Route
from collector.control.ingest import Seals
from schemas.errors import Forbidden, Permanent

LOCAL = "user:operator"
"""The name of who holds the operator token: a command of the collector's own machine."""

MAX_ACTOR_CHARS = 256

_CORRECTIONS = msgspec.json.Decoder(Corrections)


class Sealed(msgspec.Struct, frozen=True):
    """Answer of `POST /v1/admin/seal`."""

    sealed: bool


_CORRECT = Operation("Differences of cost that a change of prices makes.", Recorded, Corrections)


class Operators:
    """Who may do what operators do."""

    def __init__(self, authenticate: Callable[[str], Credential], operator_token: str) -> None:
        self._authenticate = authenticate
        self._token = operator_token

    def name(self, request: Request) -> str:
        """Who asks, for the ledger; raises `Forbidden` for an agent's or a tenant's key."""
        text = request.credential_text
        if self._token and compare_digest(text.encode(), self._token.encode()):
            return LOCAL
        credential = self._authenticate(text)
        if credential.kind != "admin":
            raise Forbidden(
                "An agent may not do what operators do.", fix="Use the admin token, or the command spanward --data DIR."
            )
        return f"user:{credential.id}"


class OperatorPages:
    """Sealing, and corrections of cost."""

    def __init__(self, corrections: CorrectionBook, seals: Seals, operators: Operators, config: Config) -> None:
        self._corrections = corrections
        self._seals = seals
        self._operators = operators
        self._config = config

    def routes(self) -> tuple[Route, ...]:
        """What is served."""
        return (
            Route("POST", "/v1/admin/seal", self._seal, Operation("Book and seal everything acknowledged.", Sealed)),
            Route("POST", "/v1/ledger/corrections", self._correct, _CORRECT),
        )

    async def _seal(self, request: Request) -> Page:
        self._operators.name(request)
        await self._seals.seal(self._config.seal_timeout.seconds)
        return Page(ENCODE(Sealed(sealed=True)))

    async def _correct(self, request: Request) -> Page:
        actor = self._operators.name(request)
        handed_in = await request.json(_CORRECTIONS, self._config.max_corrections_body)
        return Page(ENCODE(await self._corrections.record(handed_in.rows, actor=actor)))


def acting(name: str, claimed: str) -> str:
    """Who acts: this machine's commands may say who runs them, for everybody else the token does."""
    if name != LOCAL or not claimed:
        return name
    if not claimed.startswith("user:") or not claimed.isprintable() or len(claimed) > MAX_ACTOR_CHARS:
        raise Permanent("`$.actor` is no user.", fix="Write user:NAME, one printable line.")
    return claimed
