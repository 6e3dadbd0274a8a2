"""Only committed evidence is read, all of it, and one report sees one state of the ledger."""

from pathlib import Path

import polars as pl
import pytest

from analytics.lake import LAKE_TYPES, Snapshot, scan
from schemas.errors import ConfigError, Permanent
from tests.analytics.asking import answer
from tests.analytics.written import HOUR_NS, NOON_NS, Written, call


def agents(entries: pl.LazyFrame) -> list[str]:
    return sorted(entries.filter(pl.col("kind") == "call").collect()["agent"].to_list())


def test_a_fresh_data_directory_has_an_empty_ledger_with_every_column(tmp_path: Path) -> None:
    entries = scan(tmp_path)
    assert entries.collect_schema() == LAKE_TYPES
    assert entries.collect().is_empty()


def test_a_ledger_has_the_published_columns_and_its_writer(ledger: Written) -> None:
    ledger.book(call())
    ledger.seal()
    assert scan(ledger.data_dir).collect_schema() == LAKE_TYPES


def test_what_is_booked_but_not_sealed_is_not_there(ledger: Written) -> None:
    ledger.book(call("sealed"))
    ledger.seal()
    ledger.book(call("waiting"))
    assert agents(scan(ledger.data_dir)) == ["sealed"]


def test_an_object_that_no_entry_names_does_not_exist(ledger: Written) -> None:
    ledger.book(call("sealed"))
    ledger.seal()
    (segment,) = Snapshot(ledger.data_dir).segments
    forged = segment.path.with_name(f"{1:012d}.parquet")
    pl.read_parquet(segment.path).with_columns(pl.lit("forged").alias("agent")).write_parquet(forged)
    assert agents(scan(ledger.data_dir)) == ["sealed"]


def test_a_missing_entry_stops_the_reader_and_is_named(ledger: Written) -> None:
    for _ in range(3):
        ledger.book(call())
        ledger.seal()
    (first, *_) = sorted((ledger.data_dir / "store").glob("ledger/v1/log/*/entry/*"))
    first.unlink()
    with pytest.raises(Permanent, match="is missing"):
        Snapshot(ledger.data_dir)


def test_a_report_does_not_see_what_is_sealed_after_it_was_asked(ledger: Written) -> None:
    ledger.book(call())
    ledger.seal()
    asked = answer(ledger.data_dir, "spend")
    ledger.book(call())
    ledger.seal()
    assert [batch["calls"].to_list() for batch in asked.batches] == [[1]]


def test_only_segments_of_the_range_are_opened(ledger: Written) -> None:
    for hour in range(3):
        ledger.now_ns = NOON_NS + hour * HOUR_NS
        ledger.book(call(f"at{hour}"))
        ledger.seal()
    snapshot = Snapshot(ledger.data_dir)
    for segment in (snapshot.segments[0], snapshot.segments[2]):
        segment.path.unlink()
    assert agents(snapshot.scan(from_ns=NOON_NS + HOUR_NS, to_ns=NOON_NS + 2 * HOUR_NS)) == ["at1"]


def test_old_objects_lack_columns_and_newer_ones_have_more(ledger: Written) -> None:
    for agent in ("old", "new"):
        ledger.book(call(agent))
        ledger.seal()
    old, new = (segment.path for segment in Snapshot(ledger.data_dir).segments)
    for path, table in ((old, pl.read_parquet(old).drop("findings")), (new, _with_a_later_column(new))):
        path.unlink()
        table.write_parquet(path)
    assert scan(ledger.data_dir).collect_schema() == LAKE_TYPES
    assert agents(scan(ledger.data_dir)) == ["new", "old"]


def test_a_data_directory_may_have_any_name(tmp_path: Path) -> None:
    ledger = Written(tmp_path / "writer=me [x]*?")
    ledger.book(call())
    ledger.seal()
    ledger.close()
    assert agents(scan(ledger.data_dir)) == ["triage"]
    assert scan(ledger.data_dir).collect()["writer"][0].startswith("w-")


def test_a_data_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no data directory"):
        Snapshot(tmp_path / "nowhere")


def _with_a_later_column(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path).with_columns(pl.lit(1).alias("invented_later"))
