"""Ledgers that somebody tampered with: each is found, named by class, and never makes a verifier fall over.

Issue 6, "Must show" 2: 1,520 random cases of 14 attacks. Twelve are found from the bucket and the root
public key alone; the two of somebody who holds the store, its clock and both keys are found with one
checkpoint that the auditor kept. A second verifier that shares no code comes to the same verdict each time.
"""

import random
import sys

import pytest

from collector.ledger import layout
from collector.ledger.audit.verify import Question, verify
from collector.ledger.entry import digest
from collector.ledger.note import parse_checkpoint, parse_vkey, verified
from schemas.errors import Permanent
from tests.collector.ledger.audit.both import both
from tests.collector.ledger.audit.forger import Forger, Honest

DAMAGE = {"altered", "chain", "history", "signature", "trust", "anchor"}
ATTACKS: dict[str, tuple[int, set[str]]] = {
    "flip_a_bit": (600, DAMAGE),
    "delete": (200, {"missing", "trust"}),
    "truncate": (150, DAMAGE),
    "append_bytes": (100, DAMAGE),
    "swap": (100, DAMAGE),
    "add_an_object": (50, {"foreign"}),
    "alter_a_row_without_a_key": (60, {"signature"}),
    "alter_a_row_with_the_writers_key": (60, {"anchor"}),
    "remove_the_newest_segments": (40, {"anchor"}),
    "remove_a_writer": (10, {"anchor"}),
    "date_a_segment_back": (30, {"time"}),
    "remove_a_row_with_both_keys": (40, {"chain"}),
    "alter_a_row_with_both_keys": (40, {"kept"}),
    "remove_the_newest_segments_and_their_anchors": (40, {"kept"}),
}
NEEDS_A_KEPT_CHECKPOINT = ["alter_a_row_with_both_keys", "remove_the_newest_segments_and_their_anchors"]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return Honest(tmp_path_factory.mktemp("honest"))


def test_the_honest_ledger_is_intact_and_continues_what_was_kept(honest: Honest) -> None:
    report = both(honest.store, honest.root, honest.now, honest.kept())
    assert (report.findings, [each.kind for each in report.notices]) == ([], ["stale"])
    assert (report.writers, report.segments, report.anchors) == (2, 20, 11)
    assert report.checkpoint == honest.kept()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_found_and_named(honest: Honest, attack: str) -> None:
    cases, classes = ATTACKS[attack]
    alone = 0
    for case in range(cases):
        forger = Forger(honest, random.Random(f"{attack}-{case}"))
        getattr(forger, attack)()
        report = both(forger.store, honest.root, honest.now)
        alone += not report.intact
        if report.intact:
            report = both(forger.store, honest.root, honest.now, honest.kept())
        assert {each.kind for each in report.findings} & classes, f"{attack} {case}: {report.findings}"
    sys.stdout.write(f"{attack:46} {cases:4} cases, found from the bucket and the root key alone: {alone}\n")
    assert alone == (0 if attack in NEEDS_A_KEPT_CHECKPOINT else cases)


def test_what_a_kept_checkpoint_covers_need_not_be_read_again_and_is_still_pinned(honest: Honest) -> None:
    checkpoint = parse_checkpoint(
        honest.store.objects[layout.checkpoint_key(layout.ANCHOR, 5)].rpartition(b"\n\n")[0] + b"\n"
    )
    question = Question(parse_vkey(honest.root), honest.now, kept=checkpoint, new_only=True)
    report = verify(honest.store, question)
    assert report.findings == []
    assert 0 < report.rows < verify(honest.store, question._replace(new_only=False)).rows
    for attack in ("delete", "alter_a_row_with_both_keys", "remove_the_newest_segments", "remove_a_writer"):
        for case in range(20):
            forger = Forger(honest, random.Random(case))
            getattr(forger, attack)()
            early = attack == "alter_a_row_with_both_keys"
            assert not verify(forger.store, question).intact or early, f"{attack} {case}"


def test_the_corpus_is_as_large_as_promised() -> None:
    assert sum(cases for cases, _ in ATTACKS.values()) >= 1500
    assert len(ATTACKS) == 14


def test_no_flipped_bit_of_a_checkpoint_is_accepted(honest: Honest) -> None:
    key = honest.store.list(f"{layout.PREFIX}/anchor/checkpoint/")[-1]
    note = honest.store.objects[key]
    vkey = honest.signer(layout.ANCHOR).vkey
    assert verified(note, [parse_vkey(str(vkey))])
    for bit in range(len(note) * 8):
        flipped = bytearray(note)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Permanent):
            verified(bytes(flipped), [vkey])
    sys.stdout.write(f"{len(note) * 8} flipped bits of a checkpoint, 0 accepted\n")


NESTED = b"[" * 200_000
HOSTILE = [
    b"", b"\0", b"\xff\xfe", b"null", b"[]", b"{}", b"1e999", b'"' * 3, NESTED, b"PAR1" * 9, b'{"v":' + NESTED,
    b'{"k":9' + b"9" * 400 + b"}", "— a b\n".encode() * 9, b"x\n\n\xe2\x80\x94 x x\n", b'[["seq","int64"]]',
    b'[["a", "string"]]',
]  # fmt: skip


def test_whatever_stands_under_a_name_is_a_finding_and_never_an_exception(honest: Honest) -> None:
    for key in honest.store.list(f"{layout.PREFIX}/"):
        for content in HOSTILE:
            forger = Forger(honest, random.Random(0))
            forger.objects[key] = content
            assert not both(forger.store, honest.root, honest.now).intact, (key, content[:20])


def test_what_is_added_is_foreign_unless_it_is_a_schema_under_its_hash(honest: Honest) -> None:
    schemas = {b'[["seq","int64"]]', b"[]"}
    odd = [
        b'[["a","float"]]',
        b'[[1,"int64"]]',
        b'[["a","int64","b"]]',
        b'[[["a"],"int64"]]',
        b'["ab"]',
        b'[["a","bool"],]',
    ]
    for content in [*HOSTILE, *odd]:
        forger = Forger(honest, random.Random(0))
        forger.objects[layout.schema_key(digest(content))] = content
        report = both(forger.store, honest.root, honest.now)
        assert [each.kind for each in report.findings] == ([] if content in schemas else ["foreign"]), content[:20]
