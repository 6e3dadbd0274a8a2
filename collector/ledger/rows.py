"""Table in, Merkle leaves and a Parquet object out.

The encoding is `govrow/1` (README, "Leaves"): a row's bytes are netstrings of the schema's id and of
each column's text, in the schema's order. It is injective and knows text, 64-bit integers and
booleans only. Invariant: the leaves depend on the columns and values alone, never on how Arrow holds
them (chunks, dictionaries, offsets) nor on the Parquet bytes.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.ledger import tree
from schemas.errors import Permanent
from schemas.tables import LEDGER_SCHEMA

ROW_GROUP_ROWS = 65_536
# Row bytes of one chunk stay around 16 MB, which keeps them near the caches.
_CHUNK_ROWS = 20_000
# A column whose values repeat at least this often is encoded once a value and then spread.
_REPEATS = 8

_TYPES = {"string": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}
# Nearly every value differs from the one before: a dictionary would be built and thrown away.
_DISTINCT = {"seq", "entry_id", "event_time", "trace_id", "span_id", "parent_span_id", "duration_ns", "response_id"}


def schema_document(schema: pa.Schema) -> bytes:
    """The columns as they are published and hashed: JSON of `[[name, type], …]` without white space."""
    return json.dumps([[field.name, str(field.type)] for field in schema], separators=(",", ":")).encode()


def schema_id(document: bytes) -> str:
    """The name of a schema: the SHA-256 of its document, in hex."""
    return sha256(document).hexdigest()


def parse_schema(document: bytes) -> pa.Schema:
    """The Arrow schema of a document; columns that are still published carry their description."""
    described = {field.name: field.metadata for field in LEDGER_SCHEMA}
    try:
        columns = [(name, _TYPES[type_name]) for name, type_name in json.loads(document)]
        return pa.schema([pa.field(name, kind, metadata=described.get(name)) for name, kind in columns])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Permanent(f"A ledger schema is not a list of columns of known types: {error!r}.") from None


def align(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` in its order, null where `table` has none."""
    present = set(table.column_names)
    columns = [table[field.name] if field.name in present else pa.nulls(table.num_rows, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def leaves(table: pa.Table) -> list[bytes]:
    """The Merkle leaf of every row, in order."""
    # A schema's id is always 64 characters, and the NUL is RFC 6962's mark of a leaf.
    start = f"\0{64}:{schema_id(schema_document(table.schema))},"
    hashes: list[bytes] = []
    for at in range(0, table.num_rows, _CHUNK_ROWS):
        rows = _row_bytes(table.slice(at, _CHUNK_ROWS), start)
        ends = np.frombuffer(rows.buffers()[1], np.int64)[rows.offset : rows.offset + len(rows) + 1].tolist()
        view = memoryview(rows.buffers()[2])
        hashes += [sha256(view[begin:end]).digest() for begin, end in pairwise(ends)]
    return hashes


def row_text(table: pa.Table, index: int) -> str:
    """What is hashed of one row, without RFC 6962's mark of a leaf."""
    start = f"64:{schema_id(schema_document(table.schema))},"
    text: str = _row_bytes(table.slice(index, 1), start)[0].as_py()
    return text


def netstrings(text: str) -> list[str | None]:
    """The values in a row's text; raises `Permanent` if it is not made of netstrings."""
    raw, values = text.encode(), list[str | None]()
    while raw:
        if raw.startswith(b"-,"):
            values.append(None)
            raw = raw[2:]
            continue
        length, _, rest = raw.partition(b":")
        size = int(length) if length.isdigit() and len(length) < 10 else len(rest)
        if rest[size : size + 1] != b",":
            raise Permanent("A row's text is not made of netstrings.")
        values.append(rest[:size].decode(errors="replace"))
        raw = rest[size + 1 :]
    return values


def records_root(table: pa.Table) -> str:
    """The root over the leaves of all rows, in hex."""
    return tree.root(leaves(table)).hex()


def time_range(table: pa.Table, column: str) -> tuple[int, int]:
    """The first and last time in a column of a table that has rows."""
    ends = pc.min_max(table[column]).as_py()
    return ends["min"], ends["max"]


def to_parquet(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """One Parquet object: zstd, row groups of at most 65,536 rows, column descriptions kept."""
    sink = pa.BufferOutputStream()
    repeating = [name for name in table.column_names if name not in _DISTINCT]
    pq.write_table(
        table.replace_schema_metadata(dict(metadata)),
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=repeating,
    )
    return bytes(sink.getvalue())


def from_parquet(data: bytes) -> pa.Table:
    """The rows of one data object; raises `Permanent` if it is not readable Parquet."""
    try:
        # Without Arrow's threads: a process that ends soon after would be aborted by one that is still starting.
        return pq.read_table(pa.BufferReader(data), use_threads=False, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise Permanent(f"A data object of the ledger is not readable Parquet: {error}.") from None


def _row_bytes(table: pa.Table, start: str) -> pa.LargeStringArray:
    """What is hashed of each row. Neighbouring constants are joined first, so an unused column costs nothing."""
    parts: list[str | pa.LargeStringArray] = [start]
    for column in table.columns:
        for part in _column_parts(column.combine_chunks()):
            before = parts[-1]
            if isinstance(part, str) and isinstance(before, str):
                parts[-1] = before + part
            else:
                parts.append(part)
    columns = [_constant(part) if isinstance(part, str) else part for part in parts]
    rows = pc.binary_join_element_wise(*columns, _constant(""))
    return pa.array([rows.as_py()] * table.num_rows, pa.large_string()) if isinstance(rows, pa.Scalar) else rows


def _column_parts(values: pa.Array) -> list[str | pa.LargeStringArray]:
    """Texts that, joined, are the netstrings of one column; a plain str stands for every row."""
    if values.type not in _TYPES.values():
        raise Permanent(f"A ledger column has type {values.type}, which has no exact text.")
    if values.null_count == len(values):
        return ["-,"]
    encoded = values.dictionary_encode(null_encoding="encode")
    if len(encoded.dictionary) * _REPEATS <= len(values):
        distinct = _netstrings(encoded.dictionary)
        return [distinct[0].as_py()] if len(distinct) == 1 else [distinct.take(encoded.indices)]
    if values.null_count:
        return [_netstrings(values)]
    text = _text(values)
    lengths = pc.binary_length(text)
    shortest, longest = pc.min_max(lengths).as_py().values()
    if shortest == longest:
        return [f"{longest}:", text, ","]
    return [lengths.cast(pa.large_string()), ":", text, ","]


def _netstrings(values: pa.Array) -> pa.LargeStringArray:
    text = _text(values)
    lengths = pc.binary_length(text).cast(pa.large_string())
    joined = pc.binary_join_element_wise(lengths, _constant(":"), text, _constant(","), _constant(""))
    return joined.fill_null("-,")


def _text(values: pa.Array) -> pa.LargeStringArray:
    return (values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values).cast(pa.large_string())


def _constant(text: str) -> pa.LargeStringScalar:
    return pa.scalar(text, pa.large_string())
