"""Errors → HTTP statuses and bodies; the only such map of the control endpoint."""

from collector.control.answers import Header
from collector.control.doors.request import ENCODE, NotJson, TooLarge
from collector.control.kill.switch import Unmatched
from collector.control.owner import NotFound
from collector.control.repeats import KeyReused
from collector.governance.budgets import HoldConflict
from schemas.control import ErrorBody
from schemas.errors import Forbidden, Permanent, Retryable, SpanwardError, Unauthenticated

JSON: list[Header] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class NoPath(Permanent):
    """Nothing is served there."""


class WrongMethod(Permanent):
    """Something is served there, by another method; `allow` names it."""

    def __init__(self, method: str, path: str, allow: str) -> None:
        super().__init__(f"{path} is not served by {method}.", fix=f"Use {allow}.")
        self.allow = allow


STATUSES: tuple[tuple[type[SpanwardError], int, str], ...] = (
    (NoPath, 404, "not_found"),
    (NotFound, 404, "not_found"),
    (Unmatched, 404, "unmatched"),
    (WrongMethod, 405, "method_not_allowed"),
    (HoldConflict, 409, "conflict"),
    (KeyReused, 409, "conflict"),
    (TooLarge, 413, "too_large"),
    (NotJson, 415, "unsupported_media_type"),
    (Unauthenticated, 401, "unauthenticated"),
    (Forbidden, 403, "forbidden"),
    (Permanent, 400, "bad_request"),
    (Retryable, 503, "unavailable"),
)
"""The first class an error belongs to decides."""


def error_response(error: SpanwardError) -> tuple[int, bytes, list[Header]]:
    """Status, body and headers of an error."""
    status, name = next((status, name) for kind, status, name in STATUSES if isinstance(error, kind))
    return status, ENCODE(ErrorBody(name, error.what, error.fix)), JSON + _headers(error)


def _headers(error: SpanwardError) -> list[Header]:
    match error:
        case WrongMethod():
            return [(b"allow", error.allow.encode())]
        case Unauthenticated():
            return [(b"www-authenticate", b"Bearer")]
        case Retryable():
            return [(b"retry-after", str(error.retry_after_s).encode())]
        case _:
            return []
