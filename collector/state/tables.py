"""The tables of `state.db` and the statements that write them.

`spends` and the live rows of `holds` are the whole truth about money: the counters of days and
months are sums of them, so a limit, a window or a time zone may change without anything to
re-baseline. `budget_entries` is the same truth as a list of changes; a trigger keeps it immutable.
"""

SCHEMA_VERSION = 1

SCHEMA_SQL = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE positions (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    spool_frame INTEGER NOT NULL,
    journal_frame INTEGER NOT NULL,
    outbox_taken INTEGER NOT NULL
) STRICT;
INSERT INTO positions VALUES (1, 0, 0, 0);

CREATE TABLE spends (
    slot_time INTEGER NOT NULL,
    org TEXT NOT NULL,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    settled INTEGER NOT NULL,
    PRIMARY KEY (slot_time, org, tenant, agent)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    decision_id TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    org TEXT NOT NULL,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    basis TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'void', 'expired')),
    settled INTEGER,
    settled_by TEXT NOT NULL,
    overdraw INTEGER NOT NULL,
    resolved INTEGER,
    final INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_entries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('hold', 'settle', 'void', 'expire', 'correct', 'spend')),
    hold_id TEXT,
    org TEXT NOT NULL,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    slot_time INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    held INTEGER NOT NULL,
    overdraw INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL
) STRICT;
CREATE TRIGGER budget_entries_are_immutable BEFORE UPDATE ON budget_entries
BEGIN SELECT RAISE(ABORT, 'budget entries are immutable'); END;

CREATE TABLE crossings (
    window_start INTEGER NOT NULL,
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    "limit" INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL,
    PRIMARY KEY (window_start, scope, window, threshold, "limit")
) STRICT, WITHOUT ROWID;

CREATE TABLE decisions (
    credential_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    response BLOB NOT NULL,
    recorded_time INTEGER NOT NULL,
    PRIMARY KEY (credential_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE dedupe (
    journal_frame INTEGER PRIMARY KEY,
    keys BLOB NOT NULL
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    event BLOB NOT NULL
) STRICT;
"""

# A slot's sum stops at the largest amount of `schemas.money` instead of overflowing 64 bits: a
# forged span must not be able to stop the owner.
ADD_SPEND = """
INSERT INTO spends VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET settled = max(-4611686018427387904, min(4611686018427387904, settled + excluded.settled))
"""
PUT_HOLD = "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_ENTRY = "INSERT INTO budget_entries VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_CROSSING = "INSERT OR IGNORE INTO crossings VALUES (?, ?, ?, ?, ?, ?)"
PUT_DECISION = "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?)"
ADD_EVENT = "INSERT INTO outbox VALUES (?, ?)"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_POSITIONS = "UPDATE positions SET spool_frame = ?, journal_frame = ?, outbox_taken = max(outbox_taken, ?)"
TAKE_EVENTS = "DELETE FROM outbox WHERE id <= ?"
ADD_DEDUPE = "INSERT OR REPLACE INTO dedupe VALUES (?, ?)"

# Each statement is bounded, so that pruning never holds up a group for long.
PRUNE_HOLDS = "DELETE FROM holds WHERE id IN (SELECT id FROM holds WHERE created < ? AND final = 1 LIMIT 2000)"
PRUNE_ENTRIES = """
DELETE FROM budget_entries
WHERE id IN (SELECT id FROM budget_entries WHERE recorded_time < ? ORDER BY id LIMIT 2000)
"""
PRUNE_SPENDS = "DELETE FROM spends WHERE slot_time < ?"
PRUNE_CROSSINGS = "DELETE FROM crossings WHERE window_start < ?"
PRUNE_DECISIONS = "DELETE FROM decisions WHERE recorded_time < ?"
# A booking goes when the bookings after it fill the window.
PRUNE_DEDUPE = """
DELETE FROM dedupe WHERE journal_frame IN (
    SELECT journal_frame FROM (
        SELECT journal_frame, sum(length(keys)) OVER (ORDER BY journal_frame DESC) - length(keys) AS newer FROM dedupe
    ) WHERE newer >= ?
)
"""
