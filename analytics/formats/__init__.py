"""The registry of output formats: a format exists when it is in this mapping."""

from collections.abc import Callable, Mapping

from analytics.answer import Answer
from analytics.formats import csv, json, parquet, table
from analytics.formats.destination import Destination

FORMATS: Mapping[str, Callable[[Answer, Destination], None]] = {
    "table": table.write,
    "csv": csv.write,
    "parquet": parquet.write,
    "json": json.write,
}
