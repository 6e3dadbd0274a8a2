"""Entries and their names: one spelling, and nothing else is read."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from collector.ledger import entry as entries
from collector.ledger import layout
from collector.ledger.entry import ObjectRef, SegmentEntry
from schemas.errors import Permanent

SEALED_AT = 1_790_000_000_000_000_000
DATA_KEY = "ledger/v1/events/date=2026-09-21/writer=w-0a1b2c3d/000000000007.parquet"
ENTRY = SegmentEntry(
    origin="gov.example/prod/w-0a1b2c3d",
    k=7,
    seq=(100, 102),
    rows=3,
    records_root="ab" * 32,
    schema="cd" * 32,
    received=(SEALED_AT - 50, SEALED_AT),
    event_time=(-5, SEALED_AT),
    objects=(ObjectRef(role="events", key=DATA_KEY, bytes=4096, sha256="ef" * 32),),
    sealed_at=SEALED_AT,
    committed_at=SEALED_AT + 9,
    retain_until=SEALED_AT + 1,
    cut="age",
    prev="12" * 32,
)
RAW = ENTRY.encode()


def parse(raw: bytes) -> SegmentEntry:
    return entries.parse(raw, writer="w-0a1b2c3d", k=7)


def test_an_entry_is_json_with_sorted_members_and_no_white_space_and_is_read_back() -> None:
    assert json.dumps(json.loads(RAW), sort_keys=True, separators=(",", ":")).encode() == RAW
    assert json.loads(RAW).keys() == set(SegmentEntry.__struct_fields__)
    assert parse(RAW) == ENTRY


def test_every_altered_byte_is_refused_or_is_another_entry() -> None:
    for at in range(len(RAW)):
        for byte in (RAW[at] ^ 1, RAW[at] ^ 0x20, ord(" "), ord("0")):
            altered = RAW[:at] + bytes([byte]) + RAW[at + 1 :]
            with suppress(Permanent):
                assert altered == RAW or parse(altered) != ENTRY


def test_truncated_and_lengthened_entries_are_refused() -> None:
    for raw in [*(RAW[:size] for size in range(len(RAW))), RAW + b" ", RAW + b"\n", b" " + RAW, RAW + RAW]:
        with pytest.raises(Permanent):
            parse(raw)


@pytest.mark.parametrize(
    "changed",
    [
        {"k": 8},
        {"v": "spanward.segment/1"},
        {"v": "spanward.segment/3"},
        {"origin": "gov.example/prod/w-ffffffff"},
        {"origin": "w-0a1b2c3d-"},
        {"rows": 4},
        {"rows": 0, "seq": [100, 99]},
        {"seq": [100, 101, 102]},
        {"seq": [102, 100]},
        {"objects": []},
        {"objects": [{"role": "events", "key": "../secret", "bytes": 1, "sha256": ""}]},
        {"objects": json.loads(RAW)["objects"] * 2},
        {"sealed_at": SEALED_AT + 86_400 * 10**9},
        {"sealed_at": -1},
        {"sealed_at": 10**40},
        {"sealed_at": 1.5},
        {"extra": 1},
        {"received": None},
    ],
    ids=str,
)
def test_an_entry_that_contradicts_itself_or_its_place_is_refused(changed: dict[str, Any]) -> None:
    raw = msgspec.json.encode(json.loads(RAW) | changed, order="sorted")
    with pytest.raises(Permanent, match="cannot be used"):
        parse(raw)


@pytest.mark.parametrize("name", json.loads(RAW))
def test_an_entry_without_one_of_its_members_is_refused(name: str) -> None:
    members = json.loads(RAW)
    del members[name]
    with pytest.raises(Permanent):
        parse(msgspec.json.encode(members, order="sorted"))


def test_an_entry_of_the_first_version_is_read_and_was_committed_when_it_was_cut() -> None:
    older = msgspec.structs.replace(ENTRY, v="spanward.segment/1", committed_at=msgspec.UNSET)
    assert b"committed_at" not in older.encode()
    assert parse(older.encode()) == older
    assert (older.committed_ns, ENTRY.committed_ns) == (SEALED_AT, SEALED_AT + 9)


def test_ranges_overlap_a_window_that_excludes_its_end() -> None:
    narrow = msgspec.structs.replace(ENTRY, event_time=(10, 20), received=(30, 40))
    windows = {(0, 10): False, (0, 11): True, (20, 21): True, (21, 30): False, (40, 50): True, (41, 50): False}
    assert {window: narrow.overlaps(*window) for window in windows} == windows


def test_names_are_made_of_writer_day_and_dense_numbers() -> None:
    assert layout.data_key("w-0a1b2c3d", 7, sealed_at=SEALED_AT) == DATA_KEY
    assert layout.entry_key("w-0a1b2c3d", 7) == "ledger/v1/log/w-0a1b2c3d/entry/000000000007"
    assert layout.schema_key("ab") == "ledger/v1/schema/ab.json"


@pytest.mark.parametrize(
    ("sealed_at", "day"),
    [(0, "1970-01-01"), (1_772_323_199_999_999_999, "2026-02-28"), (1_772_323_200_000_000_000, "2026-03-01")],
)
def test_the_day_is_the_utc_day_of_sealing(sealed_at: int, day: str) -> None:
    assert f"/date={day}/" in layout.data_key("w", 0, sealed_at=sealed_at)


def test_only_an_entrys_own_key_is_parsed_as_one() -> None:
    assert layout.parse_entry_key(layout.entry_key("w-0a1b2c3d", 7)) == ("w-0a1b2c3d", 7)
    for other in (DATA_KEY, "ledger/v1/log/w/checkpoint/000000000001", "ledger/v1/log/w/entry/7", "x/ledger/v1/log"):
        assert layout.parse_entry_key(other) is None
