"""One log in the store in, a C2SP tlog-tiles folder out, for verifiers that are not ours.

Everything in it is derived from the entries, but for the checkpoint: full and partial tiles of each
level, bundles of entries, and the newest checkpoint.
"""

import struct
from pathlib import Path

from collector.ledger import layout, tree
from collector.stores.contract import ObjectStore
from schemas.errors import Permanent

_WIDTH = 256


def export_tlog(store: ObjectStore, log: str, folder: Path) -> int:
    """Write the log's tiles below `folder`; returns its size. Raises `Permanent` if nothing is signed."""
    entries: list[bytes] = []
    checkpoint = b""
    while note := store.get(layout.checkpoint_key(log, len(entries) + 1)):
        checkpoint = note
        entries.append(store.get(layout.entry_key(log, len(entries))) or b"")
    if not entries:
        raise Permanent(f"The log {log} has no checkpoint.", fix="Look below ledger/v1/log/ for the logs there are.")
    hashes, level = [tree.leaf_hash(entry) for entry in entries], 0
    while hashes:
        for n in range(0, len(hashes), _WIDTH):
            _write(folder / "tile" / str(level), n // _WIDTH, hashes[n : n + _WIDTH])
        full = range(0, len(hashes) - _WIDTH + 1, _WIDTH)
        hashes, level = [tree.root(hashes[n : n + _WIDTH]) for n in full], level + 1
    for n in range(0, len(entries), _WIDTH):
        bundle = [struct.pack(">H", len(entry)) + entry for entry in entries[n : n + _WIDTH]]
        _write(folder / "tile" / "entries", n // _WIDTH, bundle)
    (folder / "checkpoint").write_bytes(checkpoint)
    return len(entries)


def _write(folder: Path, number: int, parts: list[bytes]) -> None:
    """One tile under its C2SP name: x001/x234/067, and .p/W while it is not full."""
    name = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        name = f"x{number % 1000:03d}/{name}"
    if len(parts) < _WIDTH:
        name += f".p/{len(parts)}"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
