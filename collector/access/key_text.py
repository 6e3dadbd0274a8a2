"""Random bytes become a key's text `spw_<kind>_<id>_<secret>_<checksum>`, and a text becomes its parts.

Invariant: a text that parses carries the right checksum, so a typing error or a cut-off paste is
told apart from a key nobody knows, and costs no look-up. The shape is the one secret scanners
expect: a fixed prefix and a CRC-32 in six base62 digits, as GitHub's tokens have it. The checksum
is public arithmetic; only the 256 random bits of the secret protect anything.

Leaves to `keys` whether the text was ever handed out.
"""

import base64
import re
import secrets
import zlib
from typing import Literal, get_args

import msgspec

from schemas.errors import Unauthenticated
from schemas.ids import CredentialId

Kind = Literal["agent", "tenant", "admin"]

ID_CHARS = 12
SECRET_BYTES = 32
# 62**43 is the first power of 62 above 2**256, and 62**6 the first above 2**32.
SECRET_CHARS = 43
CHECKSUM_CHARS = 6

ID_PATTERN = re.compile(rf"[a-z2-7]{{{ID_CHARS}}}")
KEY_PATTERN = re.compile(
    rf"spw_({'|'.join(get_args(Kind))})_({ID_PATTERN.pattern})_"
    rf"[0-9A-Za-z]{{{SECRET_CHARS}}}_[0-9A-Za-z]{{{CHECKSUM_CHARS}}}"
)
_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class KeyText(msgspec.Struct, frozen=True):
    """The public parts of a key's text: nothing in here is secret."""

    kind: Kind
    id: CredentialId


def new_key_text(kind: Kind) -> tuple[str, CredentialId]:
    """A fresh key: its whole text, which is the secret, and its public id (60 random bits)."""
    credential_id = base64.b32encode(secrets.token_bytes(8)).decode("ascii").lower()[:ID_CHARS]
    secret = _base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES), "big"), SECRET_CHARS)
    body = f"spw_{kind}_{credential_id}_{secret}"
    return f"{body}_{checksum(body)}", CredentialId(credential_id)


def parse_key_text(text: str) -> KeyText:
    """Kind and id of a well-formed key; raises `Unauthenticated` (missing, malformed or checksum) otherwise."""
    if not text:
        raise Unauthenticated(
            "No key was sent.",
            fix="Send one as authorization: Bearer KEY or x-api-key: KEY; `spanward keys create` makes it.",
        )
    match = KEY_PATTERN.fullmatch(text)
    if match is None:
        raise Unauthenticated(
            "The key is malformed.", fix="Send the whole text `spanward keys create` printed; it starts with spw_."
        )
    body, _, claimed = text.rpartition("_")
    if claimed != checksum(body):
        raise Unauthenticated(
            "The key's checksum does not match: a character is wrong or missing.",
            fix="Copy the key again from where it is kept.",
        )
    return KeyText(kind=_KINDS[match[1]], id=CredentialId(match[2]))


def checksum(body: str) -> str:
    """CRC-32 (zlib's) of everything before the last underscore, in six base62 digits."""
    return _base62(zlib.crc32(body.encode("ascii")), CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    assert number == 0, "width is too small for the number"
    return "".join(reversed(digits))
