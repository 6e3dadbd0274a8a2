"""Writer, number and time in, object key out, and back: the names of the ledger.

Invariant: a key is made of a writer id, a day and dense numbers only. No tenant, agent or model name
is ever part of a path, so no name of theirs can escape from it or be read from a listing.
"""

import re
from datetime import UTC, datetime

PREFIX = "ledger/v1"
LOGS = f"{PREFIX}/log/"

_ENTRY = re.compile(rf"{PREFIX}/log/([a-z0-9-]{{1,40}})/entry/([0-9]{{12}})")


def data_key(writer: str, k: int, *, sealed_at: int) -> str:
    """The rows of segment `k`, filed under the UTC day it was sealed on (`sealed_at` in Unix ns)."""
    day = datetime.fromtimestamp(sealed_at // 1_000_000_000, UTC).date()
    return f"{PREFIX}/events/date={day}/writer={writer}/{k:012d}.parquet"


def entry_key(writer: str, k: int) -> str:
    """The entry of segment `k`: its commit point."""
    return f"{LOGS}{writer}/entry/{k:012d}"


def schema_key(schema_id: str) -> str:
    """The ordered columns that a segment's leaves are made from."""
    return f"{PREFIX}/schema/{schema_id}.json"


def parse_entry_key(key: str) -> tuple[str, int] | None:
    """Writer and number of an entry's key; None for any other key."""
    match = _ENTRY.fullmatch(key)
    return (match.group(1), int(match.group(2))) if match else None
