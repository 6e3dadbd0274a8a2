"""One row's id and a store in, one file that proves it out; that file and the root key in, the row out.

A proof reveals one row and nothing of its neighbours: the row's bytes and their path to the segment's
root, the segment's entry and its path to the log's root, the checkpoint that signs that root, and the
trust chain that names the key. Checking needs no store and no network.
"""

from typing import NamedTuple

import msgspec

from collector.ledger import layout, rows
from collector.ledger.entry import EVENTS, SegmentEntry, parse
from collector.ledger.note import Vkey, parse_checkpoint, verified
from collector.ledger.tree import includes, inclusion_path, leaf_hash
from collector.ledger.trust import follow
from collector.stores.contract import ObjectStore
from schemas.errors import Permanent

FORMAT = "spanward.proof/1"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. `row` is what is hashed of the row, `schema` the document of its columns; paths are hex."""

    v: str = FORMAT
    schema: str
    row: str
    seq: int
    path: list[str]
    entry: str
    log_path: list[str]
    checkpoint: str
    trust: list[str]


class Proven(NamedTuple):
    """What a proof shows: the row by columns, the segment that holds it, and the size that was signed."""

    row: dict[str, str | None]
    entry: SegmentEntry
    size: int


def prove(store: ObjectStore, wanted: str) -> Proof:
    """The proof of the row whose entry id, or WRITER:SEQ, is `wanted`.

    Raises `Permanent` if no committed and signed segment holds it.
    """
    place, _, seq = wanted.rpartition(":")
    logs = sorted({found[0] for key in store.list(layout.LOGS) if (found := layout.parse_entry_key(key))})
    for log in [place] if place else logs:
        entries = _entries(store, log)
        for entry in entries:
            number = _find(store, entry, wanted, int(seq) if place and seq.isdecimal() else None)
            if number is not None:
                return _proof(store, log, entry, number)
    raise Permanent(f"No sealed segment holds the entry {wanted}.", fix="Give its entry_id, or WRITER:SEQ.")


def check(proof: Proof, root: Vkey) -> Proven:
    """What the proof shows; raises `Permanent` if it shows nothing."""
    *_, trust = follow([note.encode() for note in proof.trust], root) if proof.trust else (None,)
    if trust is None or proof.v != FORMAT:
        raise Permanent("The proof has no trust chain, or is of another format.")
    try:
        origin, k = _place(proof.entry)
        log = origin.removeprefix(f"{trust.deployment}/")
        entry = parse(proof.entry.encode(), writer=log, k=k)
        size = parse_checkpoint(proof.checkpoint.encode().rpartition(b"\n\n")[0] + b"\n").size
        head = parse_checkpoint(verified(proof.checkpoint.encode(), trust.vkeys(log, size)))
        paths = [[bytes.fromhex(each) for each in path] for path in (proof.log_path, proof.path)]
        columns = [field.name for field in rows.parse_schema(proof.schema.encode())]
    except (Permanent, ValueError) as error:
        raise Permanent(f"The proof does not hold: {error}.") from None
    in_log = includes(head.root, size=head.size, index=entry.k, leaf=leaf_hash(proof.entry.encode()), path=paths[0])
    in_segment = includes(
        bytes.fromhex(entry.records_root),
        size=entry.rows,
        index=proof.seq - entry.seq[0],
        leaf=leaf_hash(proof.row.encode()),
        path=paths[1],
    )
    values = rows.netstrings(proof.row)
    if head.origin != origin or not in_log or not in_segment:
        raise Permanent("The proof does not hold: its paths do not lead to what was signed.")
    if rows.schema_id(proof.schema.encode()) != entry.schema or values[:1] != [entry.schema]:
        raise Permanent("The proof does not hold: its columns are not those of the segment.")
    return Proven(dict(zip(columns, values[1:], strict=True)), entry, head.size)


def _entries(store: ObjectStore, log: str) -> list[SegmentEntry]:
    """The entries of a log whose checkpoint is there too."""
    entries: list[SegmentEntry] = []
    while store.get(layout.checkpoint_key(log, len(entries) + 1)) is not None:
        raw = store.get(layout.entry_key(log, len(entries))) or b""
        entries.append(parse(raw, writer=log, k=len(entries)))
    return entries


def _find(store: ObjectStore, entry: SegmentEntry, wanted: str, seq: int | None) -> int | None:
    if seq is not None:
        return seq if entry.seq[0] <= seq <= entry.seq[1] else None
    ids = rows.from_parquet(_data(store, entry))["entry_id"].to_pylist()
    return entry.seq[0] + ids.index(wanted) if wanted in ids else None


def _proof(store: ObjectStore, log: str, entry: SegmentEntry, seq: int) -> Proof:
    table = rows.from_parquet(_data(store, entry))
    index = seq - entry.seq[0]
    raws = [store.get(layout.entry_key(log, each.k)) or b"" for each in _entries(store, log)]
    trust: list[str] = []
    while note := store.get(layout.trust_key(len(trust))):
        trust.append(note.decode())
    leaves = rows.leaves(table)
    return Proof(
        schema=rows.schema_document(table.schema).decode(),
        row=rows.row_text(table, index),
        seq=seq,
        path=[each.hex() for each in inclusion_path(leaves, index)],
        entry=raws[entry.k].decode(),
        log_path=[each.hex() for each in inclusion_path([leaf_hash(raw) for raw in raws], entry.k)],
        checkpoint=(store.get(layout.checkpoint_key(log, len(raws))) or b"").decode(),
        trust=trust,
    )


def _data(store: ObjectStore, entry: SegmentEntry) -> bytes:
    (key,) = (ref.key for ref in entry.objects if ref.role == EVENTS)
    return store.get(key) or b""


def _place(entry: str) -> tuple[str, int]:
    """The origin and number an entry says it has; `parse` then holds it to them."""
    try:
        said = msgspec.json.decode(entry.encode(), type=SegmentEntry)
    except msgspec.DecodeError as error:
        raise Permanent(f"its entry is none ({error})") from None
    return said.origin, said.k
