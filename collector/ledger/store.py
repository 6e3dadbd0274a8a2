"""Key and bytes in, a write-once object out: what the ledger asks of any store.

The contract, which every store keeps and `tests/collector/ledger/test_store.py` checks:

* `put_new` either creates the whole object durably or leaves the name as it was. Two processes that
  put one name at once: exactly one succeeds, the other gets `Exists`.
* Nothing the ledger can call changes or removes an object before its retention ends.
* `Retryable` means the outcome of a put is unknown: it may have had no effect, or its full effect.
  Putting the same bytes again is always safe, and answers `Exists` in the second case.
* After `put_new` returned or raised `Exists`, `get` returns the object, also after a power cut.

Whether retention is enforced against somebody who owns the disk is the store's to say.
"""

from typing import Protocol


class Exists(Exception):
    """The name is taken; whoever put it may have been an earlier try of the same caller."""


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
