"""The tables of `state.db` and the statements that write them.

`spends` and the holds that nothing has resolved are the whole truth about money: the counters of
days and months are sums of them, so a limit, a window or a time zone may change without anything to
re-baseline. How it came to be is `budget_entries`: holds, their changes and lines of spend, which
are only ever added; triggers keep them from being changed.
"""

SCHEMA_VERSION = 3

# Applied once a row, so that a chunk sent again changes nothing; its only order is age.
_CORRECTIONS_SQL = """
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY,
    entry_id BLOB NOT NULL UNIQUE,
    recorded_time INTEGER NOT NULL
) STRICT;
"""
_FIRST_SQL = """
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
    amount INTEGER NOT NULL CHECK (amount >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold_changes (
    hold_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('settle', 'void', 'expire', 'correct', 'close')),
    state TEXT NOT NULL CHECK (state IN ('settled', 'void', 'expired')),
    settled INTEGER,
    settled_by TEXT NOT NULL,
    final INTEGER NOT NULL,
    settled_added INTEGER NOT NULL,
    held_added INTEGER NOT NULL,
    overdraw_added INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL,
    PRIMARY KEY (hold_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE spend_lines (
    id INTEGER PRIMARY KEY,
    org TEXT NOT NULL,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    slot_time INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL
) STRICT;

CREATE TRIGGER holds_are_immutable BEFORE UPDATE ON holds
BEGIN SELECT RAISE(ABORT, 'holds are immutable'); END;
CREATE TRIGGER hold_changes_are_immutable BEFORE UPDATE ON hold_changes
BEGIN SELECT RAISE(ABORT, 'changes of holds are immutable'); END;
CREATE TRIGGER spend_lines_are_immutable BEFORE UPDATE ON spend_lines
BEGIN SELECT RAISE(ABORT, 'lines of spend are immutable'); END;

CREATE VIEW budget_entries AS
    SELECT 'hold' AS kind, id AS hold_id, org, tenant, agent, created AS time,
        0 AS settled, amount AS held, 0 AS overdraw, created AS recorded_time
    FROM holds
    UNION ALL
    SELECT c.kind, c.hold_id, h.org, h.tenant, h.agent, h.created,
        c.settled_added, c.held_added, c.overdraw_added, c.recorded_time
    FROM hold_changes c JOIN holds h ON h.id = c.hold_id
    UNION ALL
    SELECT 'spend', NULL, org, tenant, agent, slot_time, amount, 0, 0, recorded_time
    FROM spend_lines;

CREATE VIEW hold_states AS
    SELECT h.*, c.* FROM holds h LEFT JOIN hold_changes c ON c.hold_id = h.id AND NOT EXISTS (
        SELECT 1 FROM hold_changes later WHERE later.hold_id = c.hold_id AND later.number > c.number
    );

CREATE TABLE crossings (
    window_start INTEGER NOT NULL,
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    "limit" INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL,
    PRIMARY KEY (window_start, scope, window, threshold, "limit")
) STRICT, WITHOUT ROWID;

-- Found in memory, so its only order is age.
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    credential_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    response BLOB NOT NULL,
    recorded_time INTEGER NOT NULL
) STRICT;

-- `total` counts the bytes of all keys up to and with this booking's, so that the window's edge is one comparison.
CREATE TABLE dedupe (
    journal_frame INTEGER PRIMARY KEY,
    keys BLOB NOT NULL,
    total INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    event BLOB NOT NULL
) STRICT;
"""
# What adherence remembers beside the holds; how many rows there may be is a setting, so age is their only order.
_ADHERENCE_SQL = """
CREATE TABLE rulings (
    id INTEGER PRIMARY KEY,
    decision_id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rule TEXT NOT NULL,
    recorded_time INTEGER NOT NULL
) STRICT;

CREATE TABLE askers (
    agent TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE findings (
    key TEXT PRIMARY KEY,
    finding BLOB NOT NULL,
    recorded_time INTEGER NOT NULL
) STRICT;
CREATE INDEX findings_by_age ON findings (recorded_time);
"""
STEPS = (_FIRST_SQL, _CORRECTIONS_SQL, _ADHERENCE_SQL)
"""What brings a file of each version, the empty one first, to the next."""

# A slot's sum stops at the largest amount of `schemas.money` instead of overflowing 64 bits: a
# forged span must not be able to stop the owner.
ADD_SPEND = """
INSERT INTO spends VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET settled = max(-4611686018427387904, min(4611686018427387904, settled + excluded.settled))
"""
ADD_HOLD = "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_CHANGE = "INSERT INTO hold_changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_LINE = "INSERT INTO spend_lines VALUES (NULL, ?, ?, ?, ?, ?, ?)"
ADD_CROSSING = "INSERT OR IGNORE INTO crossings VALUES (?, ?, ?, ?, ?, ?)"
ADD_DECISION = "INSERT INTO decisions VALUES (NULL, ?, ?, ?, ?, ?)"
ADD_CORRECTION = "INSERT INTO corrections VALUES (NULL, ?, ?)"
ADD_RULING = "INSERT INTO rulings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
PUT_ASKER = "INSERT OR REPLACE INTO askers VALUES (?, ?, ?)"
PUT_FINDING = "INSERT OR REPLACE INTO findings VALUES (?, ?, ?)"
ADD_EVENT = "INSERT INTO outbox VALUES (?, ?)"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_POSITIONS = "UPDATE positions SET spool_frame = ?, journal_frame = ?, outbox_taken = max(outbox_taken, ?)"
TAKE_EVENTS = "DELETE FROM outbox WHERE id <= ?"
ADD_DEDUPE = """
INSERT INTO dedupe SELECT :frame, :keys,
    length(:keys) + coalesce((SELECT total FROM dedupe ORDER BY journal_frame DESC LIMIT 1), 0)
"""

CORRECTIONS = "SELECT entry_id FROM corrections WHERE entry_id IN ({})"
HOLDS = "SELECT * FROM hold_states WHERE id IN ({})"
HOLD = "SELECT * FROM hold_states WHERE id = ?"
OPEN_HOLDS = "SELECT * FROM hold_states WHERE hold_id IS NULL OR final = 0 ORDER BY created, id"
ENTRIES = "SELECT * FROM budget_entries ORDER BY recorded_time, kind <> 'hold'"

# Each looks at the `at_once` oldest rows, so that pruning never holds up a group for long.
PRUNE_CHANGES = """
DELETE FROM hold_changes WHERE hold_id IN (
    SELECT id FROM (SELECT id, created FROM holds ORDER BY id LIMIT :at_once) WHERE created < :entries_since
)
"""
PRUNE_HOLDS = """
DELETE FROM holds
WHERE id IN (SELECT id FROM holds ORDER BY id LIMIT :at_once) AND created < :entries_since
"""
PRUNE_LINES = """
DELETE FROM spend_lines
WHERE id IN (SELECT id FROM spend_lines ORDER BY id LIMIT :at_once) AND recorded_time < :entries_since
"""
PRUNE_CORRECTIONS = """
DELETE FROM corrections
WHERE id IN (SELECT id FROM corrections ORDER BY id LIMIT :at_once) AND recorded_time < :entries_since
"""
PRUNE_DECISIONS = """
DELETE FROM decisions
WHERE id IN (SELECT id FROM decisions ORDER BY id LIMIT :at_once)
    AND (recorded_time < :decisions_since OR id <= (SELECT max(id) FROM decisions) - :decisions)
"""
PRUNE_RULINGS = """
DELETE FROM rulings
WHERE id IN (SELECT id FROM rulings ORDER BY id LIMIT :at_once)
    AND id <= (SELECT max(id) FROM rulings) - :rulings
"""
PRUNE_FINDINGS = """
DELETE FROM findings WHERE key IN (
    SELECT key FROM findings ORDER BY recorded_time
    LIMIT max(0, min(:at_once, (SELECT count(*) FROM findings) - :findings))
)
"""
PRUNE_ASKERS = "DELETE FROM askers WHERE until < :askers_since"
PRUNE_SPENDS = "DELETE FROM spends WHERE slot_time < :spends_since"
PRUNE_CROSSINGS = "DELETE FROM crossings WHERE window_start < :spends_since"
# A booking goes when the bookings after it fill the window.
PRUNE_DEDUPE = """
DELETE FROM dedupe
WHERE journal_frame IN (SELECT journal_frame FROM dedupe ORDER BY journal_frame LIMIT :at_once)
    AND total <= (SELECT total FROM dedupe ORDER BY journal_frame DESC LIMIT 1) - :dedupe_bytes
"""
