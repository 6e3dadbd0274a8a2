"""Answer → one JSON object: `report`, `completeness`, `rows`.

Invariant: amounts and times are text, because a JSON number is a float in most readers; counts are
integers; what is not known is null. One row a line, so that two reports can be compared by line.
"""

import msgspec

from analytics.answer import Answer
from analytics.columns import as_text
from analytics.formats.destination import Destination


def write(answer: Answer, to: Destination) -> None:
    """Write the object piece by piece."""
    name, completeness = msgspec.json.encode(answer.name), msgspec.json.encode(answer.completeness)
    to.data.write(b'{"report":%b,"completeness":%b,"rows":[' % (name, completeness))
    cells = [as_text(column) for column in answer.columns]
    separator = b"\n"
    for batch in answer.batches:
        for row in batch.select(cells).iter_rows(named=True):
            to.data.write(separator + msgspec.json.encode(row))
            separator = b",\n"
    to.data.write(b"\n]}\n")
