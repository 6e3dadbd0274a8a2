"""Typed identifiers, and the one place that says which characters they may have.

Ids are path-safe by construction (`[a-z0-9-]`), because derived data lives in folders named after
them; display names are separate fields and may hold anything.
"""

import os
import re
import time
import uuid
from typing import NewType, Self

import msgspec

from schemas.errors import Permanent

CredentialId = NewType("CredentialId", str)
DecisionId = NewType("DecisionId", str)
HoldId = NewType("HoldId", str)
EntryId = NewType("EntryId", str)

ID_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class AgentPath(msgspec.Struct, frozen=True, order=True):
    """`ORG/TENANT/AGENT`: who a call belongs to."""

    org: str
    tenant: str
    agent: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ORG/TENANT/AGENT`; raises `Permanent` naming the part that is wrong."""
        parts = text.split("/")
        if len(parts) != 3:
            raise Permanent(
                f"{text!r} is not an agent path.", fix="Write ORG/TENANT/AGENT, for example acme/support/triage."
            )
        for part in parts:
            check_id(part, where=f"agent path {text!r}")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.org}/{self.tenant}/{self.agent}"

    def scopes(self) -> tuple[str, str, str]:
        """The three budget scopes above a call: `ORG`, `ORG/TENANT`, `ORG/TENANT/AGENT`."""
        return (self.org, f"{self.org}/{self.tenant}", str(self))


def check_id(text: str, *, where: str) -> str:
    """Return `text` if it is a valid id; raises `Permanent` otherwise."""
    if not ID_PATTERN.fullmatch(text):
        raise Permanent(
            f"{text!r} in {where} is not a valid id.",
            fix="Use 1 to 40 characters of a-z, 0-9 and '-', starting and ending with a letter or digit.",
        )
    return text


def new_id(prefix: str = "") -> str:
    """A time-ordered id with 74 random bits (UUIDv7, RFC 9562 section 5.7), `prefix` in front."""
    unix_ms = time.time_ns() // 1_000_000
    raw = bytearray(unix_ms.to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return f"{prefix}{uuid.UUID(bytes=bytes(raw))}"
