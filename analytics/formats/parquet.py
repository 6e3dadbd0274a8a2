"""Answer → a typed Parquet file that explains itself.

Invariant: decimal(38, 9) for USD, int64, dates and UTC nanoseconds; every column carries its
description and unit, the file carries the report's name, its columns and its completeness, and
nothing else that would differ from run to run.
"""

import msgspec
import pyarrow.parquet as pq

from analytics.answer import Answer
from analytics.columns import arrow_schema, to_arrow
from analytics.formats.destination import Destination


def write(answer: Answer, to: Destination) -> None:
    """Write one row group a batch."""
    schema = arrow_schema(answer.columns).with_metadata(_about(answer))
    with pq.ParquetWriter(to.data, schema, compression="zstd") as file:
        for batch in answer.batches:
            file.write_table(to_arrow(batch, answer.columns).replace_schema_metadata(schema.metadata))


def _about(answer: Answer) -> dict[str, bytes]:
    # Field metadata lives in the Arrow schema, which not every reader decodes; here it is plain JSON.
    columns = {c.name: {"type": c.type, "unit": c.unit, "description": c.doc} for c in answer.columns}
    return {
        "spanward.report": answer.name.encode(),
        "spanward.columns": msgspec.json.encode(columns),
        "spanward.completeness": msgspec.json.encode(answer.completeness),
    }
