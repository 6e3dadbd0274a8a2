"""Kills of `new_keys` and the first use of each key: who may be given a key, and who may begin to use one.

The owner mirrors the kills in force into a table of `access.db`, where every process that holds a
`KeyStore` sees them; the first use of a key is one row, written once whichever door it knocks at.
Invariant: while a kill concerns its owner, no key is made and none that was never used gets in. Keys
in use go on working, and an administrator's token is never stopped: somebody must be able to release.

Leaves transactions and locks to `keys`, and who killed what to `governance.kills`.
"""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from schemas.errors import Forbidden
from schemas.kills import concerns

_FIX = "Wait until an operator releases the kill: spanward kill list --data DIR."


class Stop(NamedTuple):
    """A kill of new keys: whom it concerns, and a sentence that says who, why and since when."""

    target: str
    message: str


class FirstUses:
    """What the tables `first_use` and `stop` say. The caller holds the store's lock."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._stops: tuple[Stop, ...] = ()

    def reload(self, connection: sqlite3.Connection) -> None:
        """Take in the stops another connection may have changed."""
        self._stops = read_stops(connection)

    def recorded(self, key_id: str) -> bool:
        """True when this key is known to have been used."""
        return key_id in self._used

    def allow(self, connection: sqlite3.Connection, key_id: str, owner: str, now_ns: int) -> None:
        """Record a first use; raises `Forbidden` while a kill concerns `owner`."""
        if connection.execute("SELECT 1 FROM first_use WHERE id = ?", (key_id,)).fetchone() is None:
            refuse(self._stops, owner, f"Key {key_id} was never used before, and its first use is refused.")
            connection.execute("INSERT OR IGNORE INTO first_use VALUES (?, ?)", (key_id, now_ns))
        self._used.add(key_id)


def read_stops(connection: sqlite3.Connection) -> tuple[Stop, ...]:
    """The stops in force."""
    return tuple(map(Stop._make, connection.execute("SELECT target, message FROM stop ORDER BY target")))


def write_stops(connection: sqlite3.Connection, stops: Iterable[Stop]) -> None:
    """Put exactly these stops in force; inside a transaction of the caller."""
    connection.execute("DELETE FROM stop")
    connection.executemany("INSERT INTO stop VALUES (?, ?)", stops)


def refuse(stops: Iterable[Stop], owner: str, what: str) -> None:
    """Raise `Forbidden` when a stop concerns a key of `owner`; `what` begins the message."""
    for stop in stops:
        if concerns(stop.target, owner):
            raise Forbidden(f"{what} {stop.message}", fix=_FIX)
