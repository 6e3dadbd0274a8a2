"""Typed identifiers, and the one place that says which characters they, and reasons, may have.

Ids are path-safe by construction (`[a-z0-9-]`), because derived data lives in folders named after
them; display names are separate fields and may hold anything.
"""

import hashlib
import os
import re
import time
import unicodedata
import uuid
from typing import NewType, Self

import msgspec

from schemas.errors import Permanent

CredentialId = NewType("CredentialId", str)
DecisionId = NewType("DecisionId", str)
HoldId = NewType("HoldId", str)
EntryId = NewType("EntryId", str)

ID_CHARS_MAX = 40
ID_PATTERN = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{ID_CHARS_MAX - 2}}}[a-z0-9])?")
_HASH_CHARS = 8

PLATFORM = "platform"
"""The scope above every organisation; no organisation has this id."""

MAX_REASON_CHARS = 1_000


class TenantPath(msgspec.Struct, frozen=True, order=True):
    """`ORG/TENANT`: whose agents they are."""

    org: str
    tenant: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ORG/TENANT`; raises `Permanent` naming the part that is wrong."""
        return cls(*_parts(text, what="a tenant path", form="ORG/TENANT", example="acme/support"))

    def __str__(self) -> str:
        return f"{self.org}/{self.tenant}"

    def scopes(self) -> tuple[str, str, str]:
        """The budget scopes above all its agents: `platform`, `ORG`, `ORG/TENANT`."""
        return (PLATFORM, self.org, str(self))


class AgentPath(msgspec.Struct, frozen=True, order=True):
    """`ORG/TENANT/AGENT`: who a call belongs to."""

    org: str
    tenant: str
    agent: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ORG/TENANT/AGENT`; raises `Permanent` naming the part that is wrong."""
        return cls(*_parts(text, what="an agent path", form="ORG/TENANT/AGENT", example="acme/support/triage"))

    def __str__(self) -> str:
        return f"{self.org}/{self.tenant}/{self.agent}"

    def scopes(self) -> tuple[str, str, str, str]:
        """The budget scopes above a call: `platform`, `ORG`, `ORG/TENANT`, `ORG/TENANT/AGENT`."""
        return (PLATFORM, self.org, f"{self.org}/{self.tenant}", str(self))


def _parts(text: str, *, what: str, form: str, example: str) -> list[str]:
    parts = text.split("/")
    if len(parts) != len(form.split("/")):
        raise Permanent(f"{text!r} is not {what}.", fix=f"Write {form}, for example {example}.")
    for part in parts:
        check_id(part, where=f"{what.partition(' ')[2]} {text!r}")
    check_org(parts[0])
    return parts


def check_org(text: str) -> str:
    """Return `text` if an organisation may have this id; raises `Permanent` for the scope above them all."""
    if text == PLATFORM:
        raise Permanent(
            f"No organisation can be called {PLATFORM!r}: it is the scope above them all.",
            fix="Choose another id; limits of the platform stand in governance/platform.yaml.",
        )
    return text


def check_id(text: str, *, where: str) -> str:
    """Return `text` if it is a valid id; raises `Permanent` otherwise."""
    if not ID_PATTERN.fullmatch(text):
        raise Permanent(
            f"{text!r} in {where} is not a valid id.",
            fix=f"Use 1 to {ID_CHARS_MAX} characters of a-z, 0-9 and '-', starting and ending with a letter or digit.",
        )
    return text


def agent_id(name: str) -> str:
    """The id of an agent that is known by a display name only; an id is its own.

    Case, accents and whatever is no letter or digit make no difference. A name that does not survive
    this whole (it is too long, or has letters that ASCII lacks) ends in a hash of what was lost, so
    that two such names stay two agents.
    """
    if ID_PATTERN.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name).lower()
    folded = _joined(r"[\W_]+", "".join(letter for letter in letters if not unicodedata.combining(letter)))
    text = _joined(r"[^a-z0-9]+", folded)
    if text == folded and ID_PATTERN.fullmatch(text):
        return text
    lost = hashlib.sha256((folded or name).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    kept = text[: ID_CHARS_MAX - _HASH_CHARS - 1].rstrip("-") or "agent"
    return f"{kept}-{lost}"


def _joined(others: str, text: str) -> str:
    return re.sub(others, "-", text).strip("-")


def time_of(text: str) -> int | None:
    """When a UUIDv7 was made, Unix ns to the millisecond; `None` for any other text."""
    try:
        made = uuid.UUID(text)
    except ValueError:
        return None
    return (made.int >> 80) * 1_000_000 if made.version == 7 else None


def new_id(prefix: str = "") -> str:
    """A time-ordered id with 74 random bits (UUIDv7, RFC 9562 section 5.7), `prefix` in front."""
    unix_ms = time.time_ns() // 1_000_000
    raw = bytearray(unix_ms.to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return f"{prefix}{uuid.UUID(bytes=bytes(raw))}"


def check_reason(reason: str, what: str) -> None:
    """Raise `Permanent` unless `reason` is one printable line; `what` needs it, and begins the sentence."""
    if not reason.strip() or not reason.isprintable() or len(reason) > MAX_REASON_CHARS:
        raise Permanent(
            f"{what} needs a reason.",
            fix=f"Say why in one printable line of 1 to {MAX_REASON_CHARS} characters; the ledger keeps it.",
        )
