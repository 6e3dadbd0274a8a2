"""What people are told → one `Notice`, and the body in which a webhook gets it."""

from hashlib import sha256
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From the mildest on."""

Facts = dict[str, str | int | None]


class Notice(msgspec.Struct, frozen=True):
    """Something that people should know. `key` says what it tells of: the same key is told once, for good.

    `kind` is a word such as `budget.alert`, `time` when it happened (Unix ns). `title` and `text` are
    plain text, `data` holds the same facts for programs.
    """

    kind: str
    key: str
    scope: str
    severity: Severity
    title: str
    text: str
    data: Facts
    time: int

    @property
    def id(self) -> str:
        """The idempotency key that every delivery of it carries: a digest of `key`, safe in any header."""
        return f"ntc_{sha256(self.key.encode()).hexdigest()[:32]}"


class WebhookData(msgspec.Struct, frozen=True):
    """What a webhook is told of: the notice, and its facts."""

    key: str
    scope: str
    severity: Severity
    title: str
    text: str
    facts: Facts


class WebhookBody(msgspec.Struct, frozen=True):
    """Body of a webhook, in the form of Standard Webhooks: `type` is the notice's kind, `timestamp` RFC 3339 UTC.

    The header `webhook-id` is the idempotency key; a repeated delivery has the same one.
    """

    type: str
    timestamp: str
    data: WebhookData
