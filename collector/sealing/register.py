"""A writer's id in, its signed log out: registered in the trust chain, after the dead logs are finished.

A log is dead when its key is here and its journal is not: the journal's disk was lost, or the ledger is
older than signatures. What the dead writer left is finished for it: data without an entry is adopted
(its rows are real, so an entry is written for it), entries without a checkpoint are signed, and the
key is retired at that size.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from collector.ledger import entry as entries
from collector.ledger import layout, rows
from collector.ledger.entry import AnchorEntry, ObjectRef, SegmentEntry
from collector.ledger.note import Signer
from collector.ledger.trust import ROOT, LogKey, TrustDocument
from collector.sealing.anchor import Anchor
from collector.sealing.keys import Keyring, TrustChain
from collector.sealing.log import Log
from collector.stores.contract import ObjectStore
from schemas.errors import Fatal, Permanent

ADOPTED = "adopted"


class Register:
    """Opens logs in one store with the keys of one folder; `memory` is where trees are remembered.

    `retention_ns` is how long segments are kept; the anchor's entries outlive them as theirs do.
    """

    def __init__(
        self, store: ObjectStore, keyring: Keyring, *, memory: Path, clock: Callable[[], int], retention_ns: int
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._memory = memory
        self._clock = clock
        self._retention_ns = retention_ns
        self.chain = TrustChain(store, keyring, clock)

    def open(self, writer: str) -> Log:
        """The log of a writer, which is registered if it is new. Dead logs are finished and retired.

        Raises `ConfigError` if the chain must grow and the root key is not here, `Fatal` if a key is lost.
        """
        made: dict[str, Signer] = {}
        legacy = self._unregistered() if self.chain.newest is None else ()
        wanted = {writer, *legacy} | ({layout.ANCHOR} if self.chain.newest is None else set())

        def with_new(newest: TrustDocument | None) -> Iterable[LogKey]:
            keys = newest.keys if newest else ()
            known = {key.log for key in keys}
            for log in sorted(wanted - known):
                made[log] = made.get(log) or self._keyring.make(log)
                keys = (*keys, LogKey(log, str(made[log].vkey), 0, None))
            return keys

        newest = self.chain.newest
        if newest is None or not wanted <= set(newest.logs):
            newest = self.chain.add(with_new)
        for log in newest.logs:
            if log not in {writer, layout.ANCHOR} and self.may_sign(log):
                self._finish(log)
        return self.log(writer)

    def log(self, name: str) -> Log:
        """A registered log with the key that signs it today; raises `Fatal` if that is not here."""
        newest = self.chain.newest
        assert newest is not None
        signer = self._keyring.signer(name, newest.current(name))
        if signer is None:
            raise Fatal(f"No key here may sign the ledger's log {name}.", fix="Put the keys folder back from a copy.")
        memory = self._memory / f"{name}.tree"
        retention = self._anchor_kept_until if name == layout.ANCHOR else entries.kept_until
        return Log(self._store, signer, name, retention=retention, memory=memory)

    def anchor(self) -> Anchor | None:
        """The anchor, if its key is here; another process of another user may have it instead."""
        if not self.may_sign(layout.ANCHOR):
            return None
        return Anchor(self._store, self.chain, self.log(layout.ANCHOR), clock=self._clock)

    def may_sign(self, name: str) -> bool:
        """Whether the key that signs a log today is here."""
        newest = self.chain.newest
        return newest is not None and self._keyring.signer(name, newest.current(name)) is not None

    def rotate(self, name: str) -> None:
        """Give a log, or the trust chain (`root`), a new key from its next checkpoint or document on.

        Nothing may run that signs with the old one.
        """
        if name == ROOT:
            self.chain.add(lambda newest: newest.keys if newest else (), next_root=self._keyring.make(ROOT).vkey)
            return
        log = self.log(name)
        log.resume()
        fresh = LogKey(name, str(self._keyring.make(name).vkey), log.size + 1, None)
        self.chain.add(lambda newest: [*_retired(newest, name, log.size), fresh])

    def _anchor_kept_until(self, raw: bytes) -> int:
        return entries.canonical(raw, AnchorEntry).at + self._retention_ns + entries.EXTRA_NS

    def _finish(self, name: str) -> None:
        log = self.log(name)
        log.resume()
        found = {layout.parse_data_key(key): key for key in self._store.list(layout.EVENTS)}
        while key := found.get((name, log.size)):
            self._adopt(log, key)
        self.chain.add(lambda newest: _retired(newest, name, log.size))

    def _adopt(self, log: Log, key: str) -> None:
        data = self._store.get(key) or b""
        table = rows.from_parquet(data)
        seq, sealed_at = table["seq"].to_pylist(), table["received_time"][-1].as_py()
        before = self._entry(log, log.size - 1)
        document = rows.schema_document(table.schema)
        kept = before.retain_until - before.sealed_at if before else self._retention_ns
        entry = SegmentEntry(
            origin=log.origin,
            k=log.size,
            seq=(seq[0], seq[-1]),
            rows=table.num_rows,
            records_root=rows.records_root(table),
            schema=rows.schema_id(document),
            received=rows.time_range(table, "received_time"),
            event_time=rows.time_range(table, "event_time"),
            objects=(ObjectRef(entries.EVENTS, key, len(data), entries.digest(data)),),
            sealed_at=sealed_at,
            committed_at=max(self._clock(), sealed_at, before.committed_ns + 1 if before else 0),
            retain_until=sealed_at + kept,
            cut=ADOPTED,
            prev=log.prev,
        )
        if seq != list(range(before.seq[1] + 1 if before else 0, seq[-1] + 1)):
            raise Permanent(f"{key} does not follow the segment before it.", fix="Run `spanward verify`.")
        log.put(entry.encode())

    def _entry(self, log: Log, k: int) -> SegmentEntry | None:
        raw = self._store.get(layout.entry_key(log.name, k)) if k >= 0 else None
        return None if raw is None else entries.parse(raw, writer=log.name, k=k)

    def _unregistered(self) -> list[str]:
        """The logs of a ledger that was begun before there were signatures."""
        places = map(layout.parse_entry_key, self._store.list(layout.LOGS))
        return sorted({place[0] for place in places if place})


def _retired(newest: TrustDocument | None, name: str, size: int) -> list[LogKey]:
    assert newest is not None
    return [
        msgspec.structs.replace(key, until=size) if key.log == name and key.until is None else key
        for key in newest.keys
    ]
