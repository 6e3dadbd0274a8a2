"""Leaves against a plain implementation, against SQL and against fixed values; rows against their Parquet."""

import json
import sqlite3
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger import rows, tree
from schemas.errors import Permanent
from schemas.tables import LEDGER_COLUMNS, LEDGER_SCHEMA

SCHEMA = pa.schema([("seq", pa.int64()), ("t", pa.string()), ("u", pa.string()), ("n", pa.int64()), ("b", pa.bool_())])

# What breaks careless encodings: separators of our own, NUL, other planes, direction marks, empty text.
MARKS = ["-,", "5:hello,", ",", ":", "\0", "\n", "'", '"', "\\", "\u202e", "\x7f"]
HOSTILE = [*MARKS, "", "é", "日本", "😀", "0", "a" * 99]
TEXT = st.one_of(st.none(), st.sampled_from(HOSTILE), st.text(max_size=12))
NUMBER = st.one_of(st.none(), st.sampled_from([0, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
ROW = st.tuples(TEXT, TEXT, NUMBER, st.one_of(st.none(), st.booleans()))


def table_of(values: list[tuple[Any, ...]]) -> pa.Table:
    named = [dict(zip(SCHEMA.names, (number, *row), strict=True)) for number, row in enumerate(values)]
    return pa.Table.from_pylist(named, schema=SCHEMA)


def plain_leaves(table: pa.Table) -> list[bytes]:
    """The format as the README says it, row by row, the way another language would write it."""

    def netstring(text: bytes) -> bytes:
        return b"%d:%s," % (len(text), text)

    columns = json.dumps([[field.name, str(field.type)] for field in table.schema], separators=(",", ":"))
    start = b"\0" + netstring(sha256(columns.encode()).hexdigest().encode())
    hashes = []
    for row in table.to_pylist():
        encoded = start
        for value in row.values():
            text = value if isinstance(value, str | None) else str(int(value))
            encoded += b"-," if text is None else netstring(text.encode())
        hashes.append(sha256(encoded).digest())
    return hashes


@settings(max_examples=150, deadline=None)
@given(values=st.lists(ROW, min_size=1, max_size=40), repeat=st.sampled_from([1, 1, 9, 30]))
def test_leaves_equal_a_plain_implementation(values: list[tuple[Any, ...]], repeat: int) -> None:
    table = table_of(values * repeat)
    assert rows.leaves(table) == plain_leaves(table)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20_000, 20_001])
def test_leaves_do_not_depend_on_chunk_borders_or_on_how_often_values_repeat(count: int) -> None:
    values = [
        (HOSTILE[number % len(HOSTILE)], "same", None if number % 3 else number, number % 2 == 0)
        for number in range(count)
    ]
    table = table_of(values)
    expected = plain_leaves(table)
    assert rows.leaves(table) == expected
    cut = count // 2
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    assert rows.leaves(chunked) == expected
    assert rows.leaves(table.slice(cut)) == expected[cut:]


def test_a_table_of_constants_only_has_leaves() -> None:
    table = pa.table({"t": ["x"] * 20, "n": pa.nulls(20, pa.int64())})
    assert rows.leaves(table) == plain_leaves(table)
    assert rows.leaves(table.slice(0, 0)) == []


def test_one_sql_expression_reproduces_every_leaf() -> None:
    """An auditor needs no code of ours: any SQL engine with SHA-256 does. Here it is SQLite."""
    values = [
        (first, second, None if a == b else (a - 8) * 2**59 + b, bool(a % 2))
        for a, first in enumerate(HOSTILE)
        for b, second in enumerate(HOSTILE)
    ]
    table = table_of([*values, (None, None, None, None)])
    database = sqlite3.connect(":memory:")
    database.create_function("sha256", 1, lambda data: sha256(data).digest(), deterministic=True)
    database.execute("create table row (seq integer, t text, u text, n integer, b integer)")
    database.executemany("insert into row values (?, ?, ?, ?, ?)", [tuple(row.values()) for row in table.to_pylist()])
    schema_id = rows.schema_id(rows.schema_document(SCHEMA))
    netstrings = " || ".join(
        f"coalesce(length(cast({name} as blob)) || ':' || {name} || ',', '-,')" for name in SCHEMA.names
    )
    expression = f"sha256(cast(char(0) || '64:{schema_id},' || {netstrings} as blob))"
    found = [leaf for (leaf,) in database.execute(f"select {expression} from row order by seq")]
    database.close()
    assert rows.leaves(table) == found


def test_the_encoding_never_changes() -> None:
    """Fixed values, made once with `printf … | sha256sum`: existing ledgers depend on them."""
    assert rows.schema_document(SCHEMA) == b'[["seq","int64"],["t","string"],["u","string"],["n","int64"],["b","bool"]]'
    schema_id = "8770a394c158452d8d116b8e873a70041a9f7b69c5030f653ca71acdc117463d"
    assert rows.schema_id(rows.schema_document(SCHEMA)) == schema_id
    # printf '\00064:8770…,1:0,3:h\xc3\xa9,-,2:-7,1:1,' | sha256sum
    leaf = "613c44cef0896f2996a532f6ca3634e957df21d51adf3fcdc32fccc1d3b2fd55"
    assert rows.records_root(table_of([("hé", None, -7, True)])) == leaf


def test_two_rows_have_one_leaf_only_if_they_are_equal() -> None:
    values = [(a, b, None, None) for a in [None, *HOSTILE] for b in [None, *HOSTILE]]
    table = table_of(values).drop_columns(["seq"])
    assert len(set(rows.leaves(table))) == len(values)


@pytest.mark.parametrize("kind", [pa.float64(), pa.int32(), pa.large_string(), pa.timestamp("ns"), pa.binary()])
def test_a_type_without_an_exact_text_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(Permanent, match=f"has type {kind}".replace("[", r"\[")):
        rows.leaves(pa.table({"x": pa.array([None, None], kind)}))


@settings(max_examples=30, deadline=None)
@given(values=st.lists(ROW, min_size=1, max_size=20))
def test_parquet_keeps_rows_root_and_metadata(values: list[tuple[Any, ...]]) -> None:
    table = table_of(values)
    data = rows.to_parquet(table, {"records_root": rows.records_root(table)})
    again = rows.from_parquet(data)
    assert again.equals(table)
    assert rows.records_root(again) == again.schema.metadata[b"records_root"].decode()


def test_parquet_has_zstd_row_groups_of_64_ki_rows_and_described_columns() -> None:
    numbers = pa.array(range(rows.ROW_GROUP_ROWS + 1), pa.int64())
    table = rows.align(pa.table({"seq": numbers}), LEDGER_SCHEMA)
    data = rows.to_parquet(table, {})
    layout = pq.read_metadata(pa.BufferReader(data))
    assert [layout.row_group(n).num_rows for n in range(layout.num_row_groups)] == [65_536, 1]
    assert layout.row_group(0).column(0).compression == "ZSTD"
    described = {field.name: field.metadata[b"description"].decode() for field in rows.from_parquet(data).schema}
    assert described == {column.name: column.doc for column in LEDGER_COLUMNS}


def test_a_schema_document_gives_the_schema_back() -> None:
    document = rows.schema_document(LEDGER_SCHEMA)
    assert rows.parse_schema(document).equals(LEDGER_SCHEMA, check_metadata=True)


@pytest.mark.parametrize("document", [b"", b"{", b"[1]", b"[[1]]", b'[["x","float"]]', b'[["x"]]', b"null"])
def test_a_document_that_is_no_schema_is_refused(document: bytes) -> None:
    with pytest.raises(Permanent, match="is not a list of columns"):
        rows.parse_schema(document)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100])
def test_bytes_that_are_no_parquet_are_refused(data: bytes) -> None:
    with pytest.raises(Permanent, match="not readable Parquet"):
        rows.from_parquet(data)


def test_aligning_adds_missing_columns_as_null_and_keeps_the_order() -> None:
    table = rows.align(pa.table({"b": [True], "t": ["x"], "other": [1.5]}), SCHEMA)
    assert table.to_pylist() == [{"seq": None, "t": "x", "u": None, "n": None, "b": True}]


def test_the_root_is_the_rfc_6962_root_of_the_leaves() -> None:
    table = table_of([(str(number), None, number, None) for number in range(5)])
    assert rows.records_root(table) == tree.root(plain_leaves(table)).hex()
