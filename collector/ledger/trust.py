"""Root public key and a chain of signed documents in, the public key of every log and size out.

Document `n` names all keys; the newest counts. It is a signed note whose text is one line of
canonical JSON. The key in `root` signs document `n`+1, so an auditor who kept the first root key
follows every later one. Only the root key can add, retire or replace a log's key.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from collector.ledger import layout
from collector.ledger.entry import canonical, digest
from collector.ledger.note import Vkey, parse_vkey, verified
from schemas.errors import Permanent

FORMAT = "spanward.trust/1"
ROOT = "root"

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class LogKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that signs a log's checkpoints of sizes `since` to `until` (None: no end yet)."""

    log: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]
    vkey: str
    since: _Number
    until: _Number | None


class TrustDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may sign what, as of `at` (Unix ns). `keys` are in the order of log and `since`."""

    v: str = FORMAT
    deployment: str
    n: _Number
    at: _Number
    root: str
    keys: tuple[LogKey, ...]
    prev: str

    def text(self) -> bytes:
        """What is signed."""
        return msgspec.json.encode(self, order="sorted") + b"\n"

    @property
    def logs(self) -> list[str]:
        """The logs that have a key, the anchor too, in order."""
        return sorted({key.log for key in self.keys})

    def origin(self, log: str) -> str:
        """The first line of a log's checkpoints, which is its keys' name."""
        return f"{self.deployment}/{log}"

    def vkeys(self, log: str, size: int) -> list[Vkey]:
        """The keys that may sign the checkpoint of that size."""
        return [
            parse_vkey(key.vkey)
            for key in self.keys
            if key.log == log and key.since <= size and (key.until is None or size <= key.until)
        ]

    def current(self, log: str) -> set[str]:
        """The vkeys of a log that sign today."""
        return {key.vkey for key in self.keys if key.log == log and key.until is None}


def follow(notes: Iterable[bytes], root: Vkey) -> Iterator[TrustDocument]:
    """The documents of a chain, as far as it holds; raises `Permanent` at the first that does not."""
    signer, before, prev = root, None, ""
    for n, note in enumerate(notes):
        try:
            document = canonical(verified(note, [signer]).removesuffix(b"\n"), TrustDocument)
            if wrong := _wrong(document, n, before, prev) or (
                "" if signer.name == document.origin(ROOT) else "it is of another deployment"
            ):
                raise Permanent(wrong)  # noqa: TRY301 - one place puts the document's name before any reason
            signer = parse_vkey(document.root)
        except Permanent as error:
            raise Permanent(f"{layout.trust_key(n)}: {error.what}") from None
        before, prev = document, digest(note)
        yield document


def _wrong(document: TrustDocument, n: int, before: TrustDocument | None, prev: str) -> str:
    if (document.v, document.n, document.prev) != (FORMAT, n, prev) or (before and document.at <= before.at):
        return "it does not follow the document before it"
    if any(parse_vkey(key.vkey).name != document.origin(key.log) for key in document.keys):
        return "a key has the name of another log"
    return ""
