"""HTTP requests → `Owner`, and its answers as JSON. Port 4320.

A raw ASGI callable: on one core a decision's HTTP costs about as much as the decision. Invariants: a
verdict is always 200, every error is an `ErrorBody` with its exact status, and nothing of one tenant
is told to another.
"""

from collections.abc import Callable
from hmac import compare_digest
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec

from collector.access.keys import Credential
from collector.control.answers import Header
from collector.control.corrections import CorrectionBook, Corrections
from collector.control.ingest import Seals
from collector.control.owner import NotFound, Owner
from collector.control.repeats import KeyReused
from collector.governance.budgets import HoldConflict
from collector.http import Receive, Scope, Send, credential_text, read_body, respond
from collector.pricing.rate import MAX_TOKENS
from schemas.control import BudgetView, DecisionRequest, ErrorBody, SettleRequest
from schemas.errors import Forbidden, Permanent, Retryable, SpanwardError, Unauthenticated
from schemas.quantities import Duration, Size

MAX_NAME_CHARS = 256

T = TypeVar("T")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The endpoint agents ask, and what it remembers."""

    endpoint: str = "127.0.0.1:4320"
    """HOST:PORT to listen on; port 0 takes a free one."""

    max_body: Size = Size("64KiB")
    """The largest request body; a larger one is refused with 413."""

    max_corrections_body: Size = Size("8MiB")
    """The same for `POST /v1/ledger/corrections`, by which an operator's command hands in many rows at once."""

    answer_ttl: Duration = Duration("5s")
    """`valid_until` of an answer without a hold: how long a client may act on it without asking again."""

    idempotency_window: Duration = Duration("1h")
    """How long a repeated `idempotency_key` gets the answer it got before."""

    max_idempotency_keys: int = 100_000
    """How many of them are remembered; beyond it the oldest are forgotten."""

    max_outbox_events: int = 1_000_000
    """Entries that may wait for the ledger. Beyond it decisions are refused with 503, because a
    decision that cannot be recorded is not made; corrections of cost are beyond half of it."""

    seal_timeout: Duration = Duration("60s")
    """How long `POST /v1/admin/seal` waits before it answers 503."""

    follow_interval: Duration = Duration("1s")
    """How often the governance files and the keys are looked at for changes."""

    key_recheck: Duration = Duration("100ms")
    """How long a key that was checked is taken for good without asking the key store again."""

    entry_retention: Duration = Duration("7d")
    """How long the state keeps each hold and each change of a budget, and `GET /v1/holds/ID` knows it;
    the ledger keeps both for good. Never less than `hold_ttl` and `span_grace` together."""


class Page(NamedTuple):
    """A successful response."""

    body: bytes
    headers: list[Header] = []


class Budgets(msgspec.Struct, frozen=True):
    """Answer of `GET /v1/budgets`."""

    budgets: list[BudgetView]


class Sealed(msgspec.Struct, frozen=True):
    """Answer of `POST /v1/admin/seal`."""

    sealed: bool


class _NoPath(Permanent):
    """Nothing is served there."""


class _WrongMethod(Permanent):
    """Something is served there, by another method; `allow` names it."""

    def __init__(self, method: str, path: str, allow: str) -> None:
        super().__init__(f"{path} is not served by {method}.", fix=f"Use {allow}.")
        self.allow = allow


class _TooLarge(Permanent):
    """The body is over the limit."""


class _NotJson(Permanent):
    """The body is declared to be something else."""


_STATUS: tuple[tuple[type[SpanwardError], int, str], ...] = (
    (_NoPath, 404, "not_found"),
    (NotFound, 404, "not_found"),
    (_WrongMethod, 405, "method_not_allowed"),
    (HoldConflict, 409, "conflict"),
    (KeyReused, 409, "conflict"),
    (_TooLarge, 413, "too_large"),
    (_NotJson, 415, "unsupported_media_type"),
    (Unauthenticated, 401, "unauthenticated"),
    (Forbidden, 403, "forbidden"),
    (Permanent, 400, "bad_request"),
    (Retryable, 503, "unavailable"),
)
"""The first class an error belongs to decides; the only such map of this endpoint."""

_JSON: list[Header] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_ENCODE = msgspec.json.Encoder().encode
_DECISION = msgspec.json.Decoder(DecisionRequest)
_SETTLE = msgspec.json.Decoder(SettleRequest)
_CORRECTIONS = msgspec.json.Decoder(Corrections)


class Doors(NamedTuple):
    """What the endpoint opens to."""

    owner: Owner
    corrections: CorrectionBook
    seals: Seals
    authenticate: Callable[[str], Credential]
    operator_token: str


class Api:
    """The ASGI callable. `on_fatal` is told of every other error: the state may then be half changed."""

    def __init__(self, doors: Doors, config: Config, *, on_fatal: Callable[[Exception], None]) -> None:
        self._owner, self._corrections, self._seals, self._authenticate, self._operator_token = doors
        self._config = config
        self._on_fatal = on_fatal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            page = await self._page(scope, receive)
        except (Unauthenticated, Forbidden, Permanent, Retryable) as error:
            await respond(send, *_error(error))
        except Exception as error:
            self._on_fatal(error)
            raise
        else:
            await respond(send, 200, page.body, _JSON + page.headers)

    async def _page(self, scope: Scope, receive: Receive) -> Page:
        path: str = scope["path"]
        method: str = scope["method"]
        request = _Request(scope, receive)
        if path == "/v1/decisions":
            _only(method, path, "POST")
            return await self._decide(request)
        if path == "/v1/budgets":
            _only(method, path, "GET")
            return await self._budgets(request)
        if path.startswith("/v1/holds/"):
            return await self._hold(request, method, path)
        if path == "/v1/admin/seal":
            _only(method, path, "POST")
            return await self._seal(request)
        if path == "/v1/ledger/corrections":
            _only(method, path, "POST")
            return await self._correct(request)
        if path == "/healthz":
            _only(method, path, "GET")
            return Page(b'{"status":"ok"}')
        raise _NoPath(
            f"There is nothing at {path!r}.",
            fix="Paths are /v1/decisions, /v1/budgets, /v1/holds/ID, /v1/admin/seal, /v1/ledger/corrections and "
            "/healthz.",
        )

    async def _decide(self, request: "_Request") -> Page:
        credential = self._credential(request)
        # Who may not ask at all is told so before what he asked is read.
        credential.path()
        question = await request.json(_DECISION, self._config.max_body)
        _check(question)
        answer = await self._owner.decide(credential, question)
        return Page(answer.body, answer.headers)

    async def _budgets(self, request: "_Request") -> Page:
        views = await self._owner.budgets(self._credential(request), request.parameter("scope"))
        return Page(_ENCODE(Budgets(views)))

    async def _hold(self, request: "_Request", method: str, path: str) -> Page:
        hold_id, _, verb = path.removeprefix("/v1/holds/").partition("/")
        if verb not in {"", "settle", "void"} or not hold_id:
            raise _NoPath(f"There is nothing at {path!r}.", fix="Use /v1/holds/ID, /v1/holds/ID/settle or …/void.")
        _only(method, path, "POST" if verb else "GET")
        credential = self._credential(request)
        match verb:
            case "settle":
                settlement = await request.json(_SETTLE, self._config.max_body)
                _check_tokens(input_tokens=settlement.input_tokens, output_tokens=settlement.output_tokens)
                state = await self._owner.settle(credential, hold_id, settlement)
            case "void":
                state = await self._owner.void(credential, hold_id)
            case _:
                state = await self._owner.hold(credential, hold_id)
        return Page(_ENCODE(state))

    async def _seal(self, request: "_Request") -> Page:
        self._operator(request)
        await self._seals.seal(self._config.seal_timeout.seconds)
        return Page(_ENCODE(Sealed(sealed=True)))

    async def _correct(self, request: "_Request") -> Page:
        actor = self._operator(request)
        handed_in = await request.json(_CORRECTIONS, self._config.max_corrections_body)
        return Page(_ENCODE(await self._corrections.record(handed_in.rows, actor=actor)))

    def _operator(self, request: "_Request") -> str:
        """Who asks as an operator, for the ledger: this machine's own commands, or an administrator."""
        text = credential_text(request.headers)
        if self._operator_token and compare_digest(text.encode(), self._operator_token.encode()):
            return "user:operator"
        credential = self._authenticate(text)
        if credential.kind != "admin":
            raise Forbidden(
                "An agent may not do what operators do.", fix="Use the admin token, or the command spanward --data DIR."
            )
        return f"user:{credential.id}"

    def _credential(self, request: "_Request") -> Credential:
        return self._authenticate(credential_text(request.headers))


class _Request:
    """The parts of one request, read as they are needed."""

    __slots__ = ("_receive", "_scope", "headers")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    async def json(self, decoder: msgspec.json.Decoder[T], largest: Size) -> T:
        """The body as `decoder`'s type; raises with the path of the field that is wrong."""
        kind = self.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise _NotJson(
                f"Content-Type {kind.decode('latin-1')!r} is not JSON.", fix="Send content-type: application/json."
            )
        declared = self.headers.get(b"content-length", b"0")
        body = await read_body(self._receive, largest.bytes) if _fits(declared, largest.bytes) else None
        if body is None:
            raise _TooLarge(
                f"The body is larger than the limit of its path in extensions.control ({largest.bytes} bytes).",
                fix="Send less, or raise the limit.",
            )
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise Permanent(f"The body cannot be read: {error}.", fix="See the request's JSON Schema.") from None

    def parameter(self, name: str) -> str | None:
        """A query parameter, or `None`; raises for one nobody knows."""
        values = parse_qs(self._scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for unknown in values.keys() - {name}:
            raise Permanent(f"The query parameter {unknown!r} is not known.", fix=f"The only one is {name!r}.")
        return values[name][-1] if name in values else None


def _only(method: str, path: str, allowed: str) -> None:
    if method != allowed:
        raise _WrongMethod(method, path, allowed)


def _fits(declared: bytes, limit: int) -> bool:
    return not declared.isdigit() or int(declared) <= limit


def _check(request: DecisionRequest) -> None:
    """What the types cannot say of a request."""
    _check_tokens(input_tokens=request.input_tokens, max_output_tokens=request.max_output_tokens)
    for name in ("action", "model", "provider", "idempotency_key"):
        if len(getattr(request, name)) > MAX_NAME_CHARS:
            raise _invalid(f"$.{name}", f"is longer than {MAX_NAME_CHARS} characters")
    if not request.action:
        raise _invalid("$.action", "is empty")


def _check_tokens(**tokens: int | None) -> None:
    for name, count in tokens.items():
        if count is not None and not 0 <= count <= MAX_TOKENS:
            raise _invalid(f"$.{name}", f"is {count}, and must be from 0 to {MAX_TOKENS}")


def _invalid(path: str, what: str) -> Permanent:
    return Permanent(f"The body cannot be used: `{path}` {what}.", fix="See the request's JSON Schema.")


def _error(error: SpanwardError) -> tuple[int, bytes, list[Header]]:
    """Status, body and headers of an error."""
    status, name = next((status, name) for kind, status, name in _STATUS if isinstance(error, kind))
    return status, _ENCODE(ErrorBody(name, error.what, error.fix)), _JSON + _headers(error)


def _headers(error: SpanwardError) -> list[Header]:
    match error:
        case _WrongMethod():
            return [(b"allow", error.allow.encode())]
        case Unauthenticated():
            return [(b"www-authenticate", b"Bearer")]
        case Retryable():
            return [(b"retry-after", str(error.retry_after_s).encode())]
        case _:
            return []
