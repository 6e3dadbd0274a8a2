"""An idempotency key seen before → the answer that was given then.

Invariant: one credential's key names one question; the same question gets the same bytes again, a
different one under the same key is a conflict. Keys are forgotten by age and by number, oldest
first, and the stored copies follow in `state.db`.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from collector.state.rows import KeptDecision
from schemas.control import DecisionRequest
from schemas.errors import Permanent

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class KeyReused(Permanent):
    """The idempotency key belongs to another question."""


class Repeats:
    """Answers by credential and key. Owned by the loop."""

    def __init__(self, kept: Iterable[KeptDecision], *, keep_ns: int, most: int) -> None:
        """`kept` is what was stored, oldest first; answers live `keep_ns`, and at most `most` of them."""
        self._keep_ns = keep_ns
        self._most = most
        self._answers = {(each.credential_id, each.idempotency_key): each for each in kept}

    def find(self, credential_id: str, request: DecisionRequest, now_ns: int) -> bytes | None:
        """The answer given to this very question; raises `KeyReused` when the key was another question's."""
        kept = self._answers.get((credential_id, request.idempotency_key))
        if kept is None or kept.recorded_time < now_ns - self._keep_ns:
            return None
        if kept.request_digest != digest(request):
            raise KeyReused(
                f"The idempotency key {request.idempotency_key!r} was used for another request.",
                fix="Use a new key for each new request; send the same body to have an answer again.",
            )
        return kept.response

    def keep(self, answer: KeptDecision) -> None:
        """Remember an answer, and forget those that are too old or too many."""
        key = (answer.credential_id, answer.idempotency_key)
        self._answers.pop(key, None)
        self._answers[key] = answer
        while len(self._answers) > self._most or self._oldest() < answer.recorded_time - self._keep_ns:
            del self._answers[next(iter(self._answers))]

    def _oldest(self) -> int:
        return next(iter(self._answers.values())).recorded_time


def digest(request: DecisionRequest) -> bytes:
    """SHA-256 of a request's meaning: field order and defaults left out do not matter."""
    return hashlib.sha256(_ENCODE(request)).digest()
