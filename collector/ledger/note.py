"""Text and a key in, a C2SP signed note out; note and public keys in, the text out, or nothing.

The formats are C2SP's: signed-note (text, blank line, signature lines), vkeys (`NAME+HASH+KEY`) and
tlog-checkpoint (origin, size, root). Stricter than they are, because a note here is evidence and has
one spelling: one signature line, by Ed25519, every base64 canonical, no line more.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.errors import Permanent

# C2SP signed-note: the type byte of Ed25519 keys.
_ED25519 = b"\x01"
_DASH = "—"
_VKEY = re.compile(r"([a-z0-9./-]{1,600})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})")
_SIGNATURE = re.compile(rf"{_DASH} ([a-z0-9./-]{{1,600}}) ([A-Za-z0-9+/=]{{92}})\n")
_CHECKPOINT = re.compile(r"([a-z0-9./-]{1,600})\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/=]{44})\n")


class Signer(Protocol):
    """A private key: a file's (`keys.py`), or one that a KMS keeps and never shows."""

    @property
    def vkey(self) -> "Vkey":
        """The public key, named after what it signs."""

    def sign(self, text: bytes) -> bytes:
        """The Ed25519 signature of `text`. Raises `Retryable` if the key cannot be reached now."""


class Vkey(NamedTuple):
    """A public key and the name it signs under, which is its log's origin."""

    name: str
    key: bytes

    @property
    def hash(self) -> bytes:
        """What tells the keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{_b64(_ED25519 + self.key)}"


class Checkpoint(NamedTuple):
    """A tree head: of which log, how many entries, their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n".encode()


def parse_vkey(text: str) -> Vkey:
    """Read a vkey; raises `Permanent` unless it is an Ed25519 one with the right hash."""
    match = _VKEY.fullmatch(text)
    raw = _unb64(match.group(3)) if match else b""
    vkey = Vkey(match.group(1) if match else "", raw[1:])
    if str(vkey) != text:
        raise Permanent(
            f"{text[:200]!r} is not a public key of a ledger.", fix="It reads NAME+HASH+KEY, as in root.vkey."
        )
    return vkey


def sign(text: bytes, signer: Signer) -> bytes:
    """The note of a text, which ends with a newline."""
    vkey = signer.vkey
    return text + f"\n{_DASH} {vkey.name} {_b64(vkey.hash + signer.sign(text))}\n".encode()


def verified(raw: bytes, vkeys: Iterable[Vkey]) -> bytes:
    """The text of a note that one of the keys signed; raises `Permanent` for any other bytes."""
    text, _, line = raw.rpartition(b"\n\n")
    text += b"\n"
    try:
        match = _SIGNATURE.fullmatch(line.decode())
    except UnicodeDecodeError:
        match = None
    if match is None:
        raise Permanent("it is not a signed note with one signature")
    signature = _unb64(match.group(2))
    for vkey in vkeys:
        if vkey.name == match.group(1) and vkey.hash == signature[:4]:
            try:
                Ed25519PublicKey.from_public_bytes(vkey.key).verify(signature[4:], text)
            except (InvalidSignature, ValueError):
                raise Permanent("its signature is wrong") from None
            return text
    raise Permanent("no known key signed it")


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read what a checkpoint's note says; raises `Permanent` unless it is one. Its signature is not looked at."""
    try:
        match = _CHECKPOINT.fullmatch(text.decode())
    except UnicodeDecodeError:
        match = None
    root = _unb64(match.group(3)) if match else b""
    if match is None or len(root) != 32:
        raise Permanent("it is not a checkpoint")
    return Checkpoint(match.group(1), int(match.group(2)), root)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unb64(text: str) -> bytes:
    """The bytes of canonical base64; empty for any other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
    return raw if _b64(raw) == text else b""
