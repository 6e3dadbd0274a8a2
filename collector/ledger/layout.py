"""Writer, number and time in, object key out, and back: the names of the ledger.

Invariant: a key is made of a writer id, a day and dense numbers only. No tenant, agent or model name
is ever part of a path, so no name of theirs can escape from it or be read from a listing.
"""

import re
from datetime import UTC, datetime

PREFIX = "ledger/v1"
LOGS = f"{PREFIX}/log/"
EVENTS = f"{PREFIX}/events/"
TRUST = f"{PREFIX}/trust/"
# The log over all logs. Writer ids begin with `w-`, so none is called so.
ANCHOR = "anchor"

_ENTRY = re.compile(rf"{PREFIX}/log/([a-z0-9-]{{1,40}})/entry/([0-9]{{12}})")


_NUMBER = re.compile(r"/([0-9]{12})\Z")
_DATA = re.compile(rf"{PREFIX}/events/date=[0-9-]{{10}}/writer=([a-z0-9-]{{1,40}})/([0-9]{{12}})\.parquet")


def data_key(writer: str, k: int, *, sealed_at: int) -> str:
    """The rows of segment `k`, filed under the UTC day it was sealed on (`sealed_at` in Unix ns)."""
    day = datetime.fromtimestamp(sealed_at // 1_000_000_000, UTC).date()
    return f"{PREFIX}/events/date={day}/writer={writer}/{k:012d}.parquet"


def entry_key(log: str, k: int) -> str:
    """Entry `k` of a writer's log (the commit point of segment `k`) or of the anchor."""
    return f"{_log(log)}entry/{k:012d}"


def checkpoint_key(log: str, size: int) -> str:
    """The signed tree head over the first `size` entries of a log."""
    return f"{_log(log)}checkpoint/{size:012d}"


def trust_key(n: int) -> str:
    """Document `n` of the chain that names the logs' public keys."""
    return f"{TRUST}{n:012d}"


def number(key: str) -> int | None:
    """The dense number that a key ends with; None if it ends otherwise."""
    match = _NUMBER.search(key)
    return int(match.group(1)) if match else None


def parse_data_key(key: str) -> tuple[str, int] | None:
    """Writer and number of a data object's key; None for any other key."""
    match = _DATA.fullmatch(key)
    return (match.group(1), int(match.group(2))) if match else None


def _log(log: str) -> str:
    return f"{PREFIX}/{ANCHOR}/" if log == ANCHOR else f"{LOGS}{log}/"


def schema_key(schema_id: str) -> str:
    """The ordered columns that a segment's leaves are made from."""
    return f"{PREFIX}/schema/{schema_id}.json"


def parse_entry_key(key: str) -> tuple[str, int] | None:
    """Writer and number of an entry's key; None for any other key."""
    match = _ENTRY.fullmatch(key)
    return (match.group(1), int(match.group(2))) if match else None
