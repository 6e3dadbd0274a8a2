"""A bucket and a folder in, one store out: evidence goes to the bucket, a copy for reports to the folder.

The bucket alone decides: a put counts once it is there, and what it refuses is not copied. The copy is
what this machine's reports read; it is no evidence, and is filled up from the bucket at every start.
"""

from contextlib import suppress

from collector.stores.contract import Exists
from collector.stores.directory import DirectoryStore, is_key
from collector.stores.s3 import S3Store


class MirroredStore:
    """An `ObjectStore` over a bucket, with a copy of everything that this process puts or finds at its start."""

    def __init__(self, evidence: S3Store, copy: DirectoryStore) -> None:
        self._evidence = evidence
        self._copy = copy

    def catch_up(self, prefix: str) -> int:
        """Copy what the folder lacks; returns how many objects that were. Raises `Retryable` if the bucket is away."""
        missing = {key for key in self._evidence.list(prefix) if is_key(key)} - set(self._copy.list(prefix))
        # Entries last: a copy that was interrupted shows no entry without its data.
        for key in sorted(missing, key=lambda key: ("/entry/" in key, key)):
            self._put_copy(key, self._evidence.get(key))
        return len(missing)

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:
        """See `ObjectStore.put_new`."""
        try:
            self._evidence.put_new(key, data, retain_until_ns)
        except Exists:
            self._put_copy(key, self._evidence.get(key))
            raise
        self._put_copy(key, data)

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore.get`."""
        return self._evidence.get(key)

    def list(self, prefix: str) -> list[str]:
        """See `ObjectStore.list`."""
        return self._evidence.list(prefix)

    def _put_copy(self, key: str, data: bytes | None) -> None:
        if data is not None:
            with suppress(Exists):
                self._copy.put_new(key, data, 0)
