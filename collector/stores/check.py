"""A bucket in, the table of what its Object Lock really does out.

Stores that all call themselves S3 differ in what they refuse. Each fact is tried on objects of its
own below `store-check/`, which stay there, locked for a short time. A fact that is `needed` and does
not hold means that the store cannot be called WORM; the others are gaps that the verifier covers.
"""

import io
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import urllib3
from minio.commonconfig import COMPLIANCE, GOVERNANCE, REPLACE, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import MinioException
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED, VersioningConfig

from collector.stores.contract import Exists, Found
from collector.stores.s3 import S3Store
from schemas.errors import Fatal, Retryable

_LOCKED = timedelta(minutes=2)
_RACERS = 8
_RACES = 5


class Fact(msgspec.Struct, frozen=True):
    """One thing that was tried: whether it holds, whether evidence needs it, what was seen."""

    name: str
    holds: bool
    needed: bool
    seen: str


def check(store: S3Store) -> list[Fact]:
    """Try every fact on a store. Raises `Retryable` if nothing can be put there at all."""
    probe = _Probe(store)
    key = probe.put("object")
    return [
        Fact("versioning is on", holds=probe.versioned(), needed=True, seen="bucket versioning"),
        probe.fact("a name that is taken refuses a conditional put", partial(probe.again, key)),
        probe.fact("of many who put one name at once exactly one wins", probe.race),
        probe.fact("the version that was put reads back with its retention", partial(probe.kept, key)),
        probe.refused("a locked version cannot be deleted", partial(probe.delete, key)),
        probe.refused("nor with a bypass of governance", partial(probe.delete, key, bypass=True)),
        probe.refused(
            "its retention cannot be shortened", partial(probe.retain, key, COMPLIANCE, timedelta(minutes=1))
        ),
        probe.refused("nor changed to governance", partial(probe.retain, key, GOVERNANCE, timedelta(days=1))),
        probe.fact("its retention can be extended", partial(probe.retain, key, COMPLIANCE, timedelta(minutes=3))),
        probe.fact("a legal hold can be set and released", partial(probe.hold, key)),
        probe.refused("versioning cannot be suspended", probe.suspend),
        probe.fact("a plain put or delete leaves the first version", probe.overwritten),
        probe.fact("copying an object over itself leaves its version alone", probe.copied, needed=False),
        probe.refused("a marked name refuses a conditional put", probe.marked, needed=False),
    ]


class _Probe:
    """Objects below one fresh prefix of a store."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._client = store.client
        self._prefix = f"store-check/{secrets.token_hex(8)}/"

    def put(self, name: str) -> Found:
        key = f"{self._prefix}{name}"
        self._store.put_new(key, b"first", _in(_LOCKED))
        return self._found(key)

    def fact(self, name: str, attempt: Callable[[], object], *, needed: bool = True) -> Fact:
        """It holds if the attempt succeeds."""
        try:
            attempt()
        except (MinioException, urllib3.exceptions.HTTPError, Retryable, Fatal, Exists, AssertionError) as error:
            return Fact(name, holds=False, needed=needed, seen=f"{error}"[:120])
        return Fact(name, holds=True, needed=needed, seen="yes")

    def refused(self, name: str, attempt: Callable[[], object], *, needed: bool = True) -> Fact:
        """It holds if the attempt is refused, with whatever code."""
        try:
            attempt()
        except (MinioException, Exists) as error:
            return Fact(name, holds=True, needed=needed, seen=f"refused: {getattr(error, 'code', error)}")
        return Fact(name, holds=False, needed=needed, seen="it was allowed")

    def versioned(self) -> bool:
        try:
            return bool(self._client.get_bucket_versioning(self._store.bucket).status == "Enabled")
        except MinioException:
            return False

    def again(self, found: Found) -> None:
        try:
            self._store.put_new(found.key, b"second", _in(_LOCKED))
        except Exists:
            return
        raise AssertionError("the second put was taken")

    def race(self) -> None:
        def put(key: str, racer: int) -> int:
            try:
                self._store.put_new(key, b"%d" % racer, _in(_LOCKED))
            except (Exists, Retryable):
                return 0
            return 1

        with ThreadPoolExecutor(_RACERS) as pool:
            for race in range(_RACES):
                won = sum(pool.map(partial(put, f"{self._prefix}race-{race}"), range(_RACERS)))
                assert won == 1, f"{won} winners of one name"

    def kept(self, found: Found) -> None:
        held = self._store.read(found)
        assert held is not None, "it is gone"
        assert held.data == b"first", "its bytes differ"
        assert held.retain_until, "its retention is not stored"

    def delete(self, found: Found, *, bypass: bool = False) -> None:
        if not bypass:
            self._client.remove_object(self._store.bucket, self._name(found), version_id=found.version)
            return
        target = [DeleteObject(self._name(found), found.version)]
        for error in self._client.remove_objects(self._store.bucket, target, bypass_governance_mode=True):
            raise MinioException(error.code)

    def retain(self, found: Found, mode: str, time: timedelta) -> None:
        retention = Retention(mode, datetime.now(UTC).replace(microsecond=0) + time)
        self._client.set_object_retention(self._store.bucket, self._name(found), retention, version_id=found.version)

    def hold(self, found: Found) -> None:
        for on in (True, False):
            self._store.hold(found, on=on)

    def suspend(self) -> None:
        self._client.set_bucket_versioning(self._store.bucket, VersioningConfig(SUSPENDED))

    def overwritten(self) -> None:
        found = self.put("overwritten")
        self._mark(found)
        now = self._found(found.key)
        held = self._store.read(now)
        assert now.version == found.version, "the first version is no longer the first"
        assert held is not None, "the first version is gone"
        assert held.data == b"first", "the first version was changed"

    def copied(self) -> None:
        found = self.put("copied")
        source = CopySource(self._store.bucket, self._name(found))
        self._client.copy_object(
            self._store.bucket, self._name(found), source, metadata={"a": "b"}, metadata_directive=REPLACE
        )
        assert self._found(found.key).versions == 2, "its metadata was changed in place"

    def marked(self) -> None:
        found = self.put("marked")
        self._client.remove_object(self._store.bucket, self._name(found))
        self._store.put_new(found.key, b"second", _in(_LOCKED))

    def _mark(self, found: Found) -> None:
        self._client.put_object(self._store.bucket, self._name(found), io.BytesIO(b"second"), 6)
        self._client.remove_object(self._store.bucket, self._name(found))

    def _found(self, key: str) -> Found:
        return next(found for found in self._store.inventory(key) if found.key == key)

    def _name(self, found: Found) -> str:
        return self._store.prefix + found.key


def _in(time: timedelta) -> int:
    return int((datetime.now(UTC) + time).timestamp()) * 10**9
