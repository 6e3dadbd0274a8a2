"""An honest ledger in, one that somebody tampered with out: fourteen kinds of attack, each many times.

The forger owns the store and its clock. Some attacks also have the writer's key, or the anchor's too:
then everything that hangs on a row is hashed and signed anew.
"""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa

from collector.ledger import layout, rows
from collector.ledger.entry import AnchorEntry, Head, SegmentEntry, digest, parse, parse_anchor
from collector.ledger.note import Checkpoint, Signer, sign
from collector.ledger.tree import leaf_hash, root
from collector.sealing.anchor import Anchor
from collector.sealing.journal import Journal
from collector.sealing.register import Register
from collector.sealing.writer import Config, LedgerWriter
from tests.collector.ledger.memory_store import MemoryStore
from tests.collector.ledger.samples import SECOND_NS, Clock, book, calls, register_of

ROUNDS = 10
MINUTE_NS = 60 * SECOND_NS


class Honest:
    """Two writers of ten segments each, anchored every round and once more after a quiet hour."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.clock = Clock()
        chance = random.Random(7)
        self.registers: dict[str, Register] = {}
        for name in ("one", "two"):
            journal = Journal(folder / name, committed_frame=0, clock=self.clock)
            self.registers[journal.writer_id] = register_of(journal, self.store, folder, self.clock)
            log = self.registers[journal.writer_id].log(journal.writer_id)
            writer = LedgerWriter(self.store, journal, log, config=Config(), clock=self.clock)
            writer.recover()
            for number in range(ROUNDS):
                self.clock.now_ns = Clock().now_ns + number * MINUTE_NS + len(self.registers) * SECOND_NS
                ids = [f"{name}-{number}-{row}" for row in range(chance.randrange(1, 7))]
                book(journal, calls(ids, at=self.clock.now_ns, cost_nano_usd=chance.randrange(1000)))
                writer.seal("test")
            journal.close()
        self.start = Clock().now_ns
        self._anchor_as_if_written_meanwhile()
        self.root = (folder / "shared-keys" / "root.vkey").read_text().strip()
        # Long enough that a missing checkpoint is no longer one that is about to come.
        self.now = self.clock.now_ns + 200 * SECOND_NS

    def signer(self, log: str) -> Signer:
        """The private key of a log."""
        register = self.registers.get(log) or next(iter(self.registers.values()))
        signer = register._keyring.signer(log, register.chain.newest.current(log))  # type: ignore[union-attr]
        assert signer is not None
        return signer

    def kept(self) -> str:
        """The anchor's newest checkpoint: what an auditor keeps."""
        return self.store.objects[self.store.list(f"{layout.PREFIX}/anchor/checkpoint/")[-1]].decode()

    def _anchor_as_if_written_meanwhile(self) -> None:
        (register, _) = self.registers.values()
        anchor = register.anchor()
        assert anchor is not None
        everything = self.store.objects
        writers = sorted(self.registers)
        for number in range(ROUNDS + 1):
            late = {layout.entry_key(w, k) for w in writers for k in range(number + 1, ROUNDS)}
            self.store.objects = {key: data for key, data in everything.items() if key not in late}
            quiet = 45 * MINUTE_NS if number == ROUNDS else 0
            self.clock.now_ns = self.start + number * MINUTE_NS + 30 * SECOND_NS + quiet
            self._write(anchor)
            everything.update(self.store.objects)
        self.store.objects = everything

    @staticmethod
    def _write(anchor: Anchor) -> None:
        assert anchor.write() is not None


class Forger:
    """One attack on a copy of an honest ledger; `chance` decides where."""

    def __init__(self, honest: Honest, chance: random.Random) -> None:
        self.honest = honest
        self.chance = chance
        self.store = MemoryStore(dict(honest.store.objects))
        self.objects = self.store.objects
        self.writers = sorted(honest.registers)

    def pick(self, part: str = "") -> str:
        return self.chance.choice([key for key in self.objects if part in key])

    def flip_a_bit(self) -> None:
        key = self.pick()
        data = bytearray(self.objects[key])
        data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        self.objects[key] = bytes(data)

    def delete(self) -> None:
        del self.objects[self.pick()]

    def truncate(self) -> None:
        key = self.pick()
        self.objects[key] = self.objects[key][: self.chance.randrange(len(self.objects[key]))]

    def append_bytes(self) -> None:
        self.objects[self.pick()] += self.chance.randbytes(self.chance.randrange(1, 40))

    def swap(self) -> None:
        part = self.chance.choice(["/entry/", "/checkpoint/", "/events/"])
        one, other = self.chance.sample([key for key in self.objects if part in key], 2)
        self.objects[one], self.objects[other] = self.objects[other], self.objects[one]

    def add_an_object(self) -> None:
        name = self.chance.choice(["events/date=2026-09-21/writer=w-00000000/000000000099.parquet", "trust/x", "note"])
        self.objects[f"{layout.PREFIX}/{name}"] = self.objects[self.pick("/events/")]

    def alter_a_row_without_a_key(self) -> None:
        self._rewrite(self.chance.choice(self.writers), alter, keyed=False)

    def alter_a_row_with_the_writers_key(self) -> None:
        self._rewrite(self.chance.choice(self.writers), alter, keyed=True)

    def alter_a_row_with_both_keys(self) -> None:
        self._rewrite(self.chance.choice(self.writers), alter, keyed=True)
        self._anchor_anew()

    def remove_a_row_with_both_keys(self) -> None:
        self._rewrite(self.chance.choice(self.writers), remove_last, keyed=True)
        self._anchor_anew()

    def remove_the_newest_segments(self) -> None:
        self._roll_back(self.chance.randrange(1, 4))

    def remove_the_newest_segments_and_their_anchors(self) -> None:
        segments = self.chance.randrange(1, 4)
        self._roll_back(segments)
        for n in range(ROUNDS - segments, ROUNDS + 1):
            del self.objects[layout.entry_key(layout.ANCHOR, n)]
            del self.objects[layout.checkpoint_key(layout.ANCHOR, n + 1)]

    def remove_a_writer(self) -> None:
        writer = self.chance.choice(self.writers)
        for key in [key for key in self.objects if f"/{writer}/" in key or f"={writer}/" in key]:
            del self.objects[key]

    def date_a_segment_back(self) -> None:
        """One segment more, of the writer's own key, that says it came half an hour before."""
        writer = self.chance.choice(self.writers)
        then = self.honest.start + self.chance.randrange(11, 35) * MINUTE_NS
        newest = self._entry(writer, ROUNDS - 1)
        table = self._table(newest)
        seq = pa.array([newest.seq[1] + 1 + number for number in range(table.num_rows)], pa.int64())
        for name, values in (("seq", seq), ("received_time", pa.array([then] * len(seq), pa.int64()))):
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
        entry = msgspec.structs.replace(newest, k=ROUNDS, sealed_at=then, committed_at=then, prev=self._prev(writer))
        self._put(entry, table, self.honest.signer(writer))
        self._anchor_on(writer)

    def _anchor_on(self, writer: str) -> None:
        """The next anchor, of the honest process, sees the segment when it came."""
        raw = self.objects[layout.entry_key(layout.ANCHOR, ROUNDS)]
        last = parse_anchor(raw, origin=self.honest.signer(layout.ANCHOR).vkey.name, n=ROUNDS)
        seen = Head(writer, ROUNDS + 1, digest(self.objects[layout.entry_key(writer, ROUNDS)]))
        heads = tuple(seen if head.writer == writer else head for head in last.heads)
        entry = msgspec.structs.replace(last, n=ROUNDS + 1, at=self.honest.now, heads=heads, prev=digest(raw))
        self.objects[layout.entry_key(layout.ANCHOR, ROUNDS + 1)] = entry.encode()
        self._sign(layout.ANCHOR, self.honest.signer(layout.ANCHOR), ROUNDS + 2)

    def _rewrite(self, writer: str, edit: Callable[[pa.Table], pa.Table], *, keyed: bool) -> None:
        """Change a segment and all that hangs on it."""
        k = self.chance.randrange(ROUNDS - 1)
        entry = self._entry(writer, k)
        signer = self.honest.signer(writer if keyed else layout.ANCHOR)
        table = edit(self._table(entry))
        removed = entry.rows - table.num_rows
        entry = msgspec.structs.replace(entry, rows=table.num_rows, seq=(entry.seq[0], entry.seq[1] - removed))
        self._put(entry, table, None)
        for later in range(k + 1, ROUNDS):
            entry = msgspec.structs.replace(self._entry(writer, later), prev=self._prev(writer, later))
            self.objects[layout.entry_key(writer, later)] = entry.encode()
        for size in range(k + 1, ROUNDS + 1):
            self._sign(writer, signer, size)

    def _anchor_anew(self) -> None:
        for n in range(ROUNDS + 1):
            key = layout.entry_key(layout.ANCHOR, n)
            old = msgspec.json.decode(self.objects[key], type=AnchorEntry)
            heads = tuple(
                Head(each.writer, each.size, digest(self.objects[layout.entry_key(each.writer, each.size - 1)]))
                for each in old.heads
            )
            self.objects[key] = msgspec.structs.replace(
                old, heads=heads, prev=self._prev(layout.ANCHOR, n) if n else ""
            ).encode()
            self._sign(layout.ANCHOR, self.honest.signer(layout.ANCHOR), n + 1)

    def _roll_back(self, segments: int) -> None:
        for writer in self.writers:
            for k in range(ROUNDS - segments, ROUNDS):
                del self.objects[self._entry(writer, k).objects[0].key]
                del self.objects[layout.entry_key(writer, k)]
                del self.objects[layout.checkpoint_key(writer, k + 1)]

    def _put(self, entry: SegmentEntry, table: pa.Table, signer: Signer | None) -> None:
        """A segment with its data, as its writer would put it."""
        data = rows.to_parquet(table, {})
        key = layout.data_key(entry.writer, entry.k, sealed_at=entry.sealed_at)
        ref = msgspec.structs.replace(entry.objects[0], key=key, bytes=len(data), sha256=digest(data))
        seq = table["seq"].to_pylist()
        entry = msgspec.structs.replace(
            entry,
            seq=(seq[0], seq[-1]),
            records_root=rows.records_root(table),
            received=rows.time_range(table, "received_time"),
            event_time=rows.time_range(table, "event_time"),
            objects=(ref,),
        )
        self.objects[key] = data
        self.objects[layout.entry_key(entry.writer, entry.k)] = entry.encode()
        if signer is not None:
            self._sign(entry.writer, signer, entry.k + 1)

    def _sign(self, log: str, signer: Signer, size: int) -> None:
        leaves = [leaf_hash(self.objects[layout.entry_key(log, k)]) for k in range(size)]
        origin = self.honest.signer(log).vkey.name
        note = sign(Checkpoint(origin, size, root(leaves)).text(), signer)
        # Without the right key, at least the name on the signature is the right one.
        note = note.replace(f"— {signer.vkey.name} ".encode(), f"— {origin} ".encode())
        self.objects[layout.checkpoint_key(log, size)] = note

    def _entry(self, writer: str, k: int) -> SegmentEntry:
        return parse(self.objects[layout.entry_key(writer, k)], writer=writer, k=k)

    def _prev(self, log: str, k: int = ROUNDS) -> str:
        return digest(self.objects[layout.entry_key(log, k - 1)])

    def _table(self, entry: SegmentEntry) -> pa.Table:
        return rows.from_parquet(self.objects[entry.objects[0].key])


def alter(table: pa.Table) -> pa.Table:
    """The first row costs one nano-dollar more."""
    costs = table["cost_nano_usd"].to_pylist()
    costs[0] += 1
    at = table.schema.get_field_index("cost_nano_usd")
    return table.set_column(at, table.schema.field(at), pa.array(costs, pa.int64()))


def remove_last(table: pa.Table) -> pa.Table:
    """The last row is gone, and the numbers of later segments no longer follow."""
    return table.slice(0, table.num_rows - 1)
