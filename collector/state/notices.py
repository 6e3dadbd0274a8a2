"""What people are told → one `Notice`, which is stored with the change that caused it."""

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
