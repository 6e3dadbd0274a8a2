"""Key and bytes in, a write-once object out: what the ledger asks of any store.

The contract, which every store keeps and `tests/collector/stores/test_stores.py` checks:

* `put_new` either creates the whole object durably or leaves the name as it was. Two processes that
  put one name at once: exactly one succeeds, the other gets `Exists`.
* Nothing the ledger can call changes or removes an object before its retention ends.
* `Retryable` means the outcome of a put is unknown: it may have had no effect, or its full effect.
  Putting the same bytes again is always safe, and answers `Exists` in the second case.
* After `put_new` returned or raised `Exists`, `get` returns the object, also after a power cut.

Whether retention is enforced against somebody who owns the disk is the store's to say.
"""

from typing import Literal, NamedTuple, Protocol

# Whether a collector insists on a store that keeps evidence against its owner.
Mode = Literal["evident", "compliance"]


class Exists(Exception):
    """The name is taken; whoever put it may have been an earlier try of the same caller."""


class Found(NamedTuple):
    """One name as a listing shows it, with everything that was done to it.

    `version` is the first version, the one that counts; `versions` how many there are, and `hidden`
    whether a delete marker lies over them. `plain` is false for what is no object (a link, a pipe).
    `put_at` is when the store says the first version came (Unix ns), None if nobody vouches for that.
    """

    key: str
    version: str = ""
    versions: int = 1
    hidden: bool = False
    plain: bool = True
    put_at: int | None = None


class Held(NamedTuple):
    """The bytes of one version, and how long the store keeps it: Unix ns, None if it enforces nothing."""

    data: bytes
    retain_until: int | None = None


class EvidenceStore(Protocol):
    """What a verifier needs: every name with its history, and the bytes that came first."""

    def inventory(self, prefix: str) -> list[Found]:
        """Every name below `prefix`, which ends with `/`, in order; never stops at an odd one."""

    def find(self, key: str) -> Found | None:
        """One name as `inventory` would show it, None if it is not there."""

    def read(self, found: Found) -> Held | None:
        """The first version of a name, None if it is gone. Raises `Retryable` or `Fatal` if it cannot be read."""


class ObjectStore(Protocol):
    """Write-once objects by key. Keys are relative paths of `[a-z0-9=._-]` parts."""

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:
        """Create an object that is kept until `retain_until_ns` (Unix ns).

        Raises `Exists` if the name is taken, `Retryable` if the outcome is unknown, `Fatal` if the
        store can no longer be trusted to keep what it was given.
        """

    def get(self, key: str) -> bytes | None:
        """The bytes that were first put under `key`, or None if nothing was."""

    def list(self, prefix: str) -> list[str]:
        """The keys below `prefix`, which ends with `/`, in order."""
