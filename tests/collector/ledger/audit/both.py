"""A ledger in, the verdicts of both verifiers out: the product's, and the one in docs that shares no code with it."""

import importlib.util
from collections.abc import Callable
from functools import cache
from types import ModuleType

from collector.ledger.audit import verify as verifier
from collector.ledger.audit.findings import Report
from collector.ledger.audit.verify import Question, verify
from collector.ledger.note import parse_checkpoint, parse_vkey
from collector.stores.contract import EvidenceStore
from tests.collector.ledger.memory_store import MemoryStore
from tests.house.source import ROOT


def _second() -> ModuleType:
    spec = importlib.util.spec_from_file_location("second_verifier", ROOT / "docs" / "second_verifier.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECOND = _second()


def remembering() -> dict[tuple[object, str], Callable[..., object]]:
    """What both recompute from a data object's bytes depends on nothing else: a corpus asks for each once."""
    return {(verifier, "examine"): cache(verifier.examine), (SECOND, "rows_of"): cache(SECOND.rows_of)}


def both(store: EvidenceStore, root: str, now: int, kept: str = "") -> Report:
    """The product's report; the second verifier must come to the same verdict."""
    checkpoint = parse_checkpoint(kept.rpartition("\n\n")[0].encode() + b"\n") if kept else None
    report = verify(store, Question(parse_vkey(root), now, kept=checkpoint))
    plain = [each for each in store.inventory("ledger/v1/") if each.plain]
    objects = {each.key: held.data for each in plain if (held := store.read(each))}
    second = SECOND.verify(objects, root, now, kept.rpartition("\n\n")[0] + "\n" if kept else "")
    assert report.intact == (not second), f"they disagree: {report.findings} and {second}"
    return report


def copy_of(store: MemoryStore) -> MemoryStore:
    """The same objects, free to be falsified."""
    return MemoryStore(dict(store.objects))
