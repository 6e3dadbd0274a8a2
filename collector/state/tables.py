"""The tables of `state.db` and the statements that write them.

`spends` and the holds that nothing has resolved are the whole truth about money and tokens: the counters of
days and months are sums of them, so a limit, a window or a time zone may change without anything to
re-baseline. How it came to be is `budget_entries`: holds, their changes and lines of spend, which
are only ever added; triggers keep them from being changed.
"""

SCHEMA_VERSION = 6

# Applied once a row, so that a chunk sent again changes nothing; its only order is age.
_CORRECTIONS_SQL = """
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY,
    entry_id BLOB NOT NULL UNIQUE,
    recorded_time INTEGER NOT NULL
) STRICT;
"""
# A notice is known by its key for as long as it is kept; its number is never used again.
_NOTICES_SQL = """
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    time INTEGER NOT NULL,
    notice BLOB NOT NULL
) STRICT;

CREATE TABLE deliveries (
    notice_number INTEGER NOT NULL,
    target TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (notice_number, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX unfinished_deliveries ON deliveries (state, notice_number) WHERE state <> 'delivered';
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
# A kill is one row, its release another. The epoch is the largest number in either.
_KILLS_SQL = """
CREATE TABLE kills (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL CHECK (scope IN ('all', 'llm', 'new_keys')),
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    since INTEGER NOT NULL,
    epoch INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TABLE kill_releases (
    kill_id TEXT PRIMARY KEY REFERENCES kills (id),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    recorded_time INTEGER NOT NULL,
    epoch INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TRIGGER kills_are_immutable BEFORE UPDATE ON kills
BEGIN SELECT RAISE(ABORT, 'kills are immutable'); END;
CREATE TRIGGER kills_stay BEFORE DELETE ON kills
BEGIN SELECT RAISE(ABORT, 'kills are immutable'); END;
CREATE TRIGGER kill_releases_are_immutable BEFORE UPDATE ON kill_releases
BEGIN SELECT RAISE(ABORT, 'releases of kills are immutable'); END;
CREATE TRIGGER kill_releases_stay BEFORE DELETE ON kill_releases
BEGIN SELECT RAISE(ABORT, 'releases of kills are immutable'); END;

-- Models and tools that were asked about, so that a kill of one nobody ever named can be told to be a typing error.
CREATE TABLE named (
    kind TEXT NOT NULL CHECK (kind IN ('model', 'tool')),
    name TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
"""
# Tokens beside every amount. What was counted before has none; a key cannot be widened in place.
_TOKENS_SQL = """
DROP VIEW budget_entries;
DROP VIEW hold_states;
ALTER TABLE spends ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spend_lines ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holds ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0 CHECK (tokens >= 0);
ALTER TABLE hold_changes ADD COLUMN settled_tokens INTEGER;
ALTER TABLE hold_changes ADD COLUMN settled_tokens_added INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hold_changes ADD COLUMN held_tokens_added INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hold_changes ADD COLUMN overdraw_tokens_added INTEGER NOT NULL DEFAULT 0;

CREATE VIEW budget_entries AS
    SELECT 'hold' AS kind, id AS hold_id, org, tenant, agent, created AS time,
        0 AS settled, amount AS held, 0 AS overdraw, created AS recorded_time,
        0 AS settled_tokens, tokens AS held_tokens, 0 AS overdraw_tokens
    FROM holds
    UNION ALL
    SELECT c.kind, c.hold_id, h.org, h.tenant, h.agent, h.created,
        c.settled_added, c.held_added, c.overdraw_added, c.recorded_time,
        c.settled_tokens_added, c.held_tokens_added, c.overdraw_tokens_added
    FROM hold_changes c JOIN holds h ON h.id = c.hold_id
    UNION ALL
    SELECT 'spend', NULL, org, tenant, agent, slot_time, amount, 0, 0, recorded_time, tokens, 0, 0
    FROM spend_lines;

CREATE VIEW hold_states AS
    SELECT h.*, c.*,
        (SELECT coalesce(sum(overdraw_added), 0) FROM hold_changes WHERE hold_id = h.id) AS overdraw,
        (SELECT coalesce(sum(overdraw_tokens_added), 0) FROM hold_changes WHERE hold_id = h.id) AS overdraw_tokens
    FROM holds h LEFT JOIN hold_changes c ON c.hold_id = h.id AND NOT EXISTS (
        SELECT 1 FROM hold_changes later WHERE later.hold_id = c.hold_id AND later.number > c.number
    );

ALTER TABLE crossings RENAME TO crossings_of_usd;
CREATE TABLE crossings (
    window_start INTEGER NOT NULL,
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    unit TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    "limit" INTEGER NOT NULL,
    recorded_time INTEGER NOT NULL,
    PRIMARY KEY (window_start, scope, window, unit, threshold, "limit")
) STRICT, WITHOUT ROWID;
INSERT INTO crossings
    SELECT window_start, scope, window, 'usd', threshold, "limit", recorded_time FROM crossings_of_usd;
DROP TABLE crossings_of_usd;

CREATE TABLE increases (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    window TEXT NOT NULL,
    usd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
STEPS = (_FIRST_SQL, _CORRECTIONS_SQL, _TOKENS_SQL, _KILLS_SQL, _NOTICES_SQL, _ADHERENCE_SQL)
"""What brings a file of each version, the empty one first, to the next."""

# A slot's sum stops at the largest amount of `schemas.money` instead of overflowing 64 bits: a
# forged span must not be able to stop the owner.
ADD_SPEND = """
INSERT INTO spends VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    settled = max(-4611686018427387904, min(4611686018427387904, settled + excluded.settled)),
    tokens = max(-4611686018427387904, min(4611686018427387904, tokens + excluded.tokens))
"""
ADD_HOLD = "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_CHANGE = "INSERT INTO hold_changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_LINE = "INSERT INTO spend_lines VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
ADD_CROSSING = "INSERT OR IGNORE INTO crossings VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_INCREASE = "INSERT INTO increases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
END_INCREASE = "DELETE FROM increases WHERE id = ?"
ADD_DECISION = "INSERT INTO decisions VALUES (NULL, ?, ?, ?, ?, ?)"
ADD_CORRECTION = "INSERT INTO corrections VALUES (NULL, ?, ?)"
ADD_RULING = "INSERT INTO rulings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
PUT_ASKER = "INSERT OR REPLACE INTO askers VALUES (?, ?, ?)"
PUT_FINDING = "INSERT OR REPLACE INTO findings VALUES (?, ?, ?)"
ADD_NOTICE = "INSERT OR IGNORE INTO notices (key, time, notice) VALUES (?, ?, ?)"
PUT_DELIVERY = "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?)"
ADD_KILL = "INSERT INTO kills VALUES (?, ?, ?, ?, ?, ?, ?)"
ADD_RELEASE = "INSERT INTO kill_releases VALUES (?, ?, ?, ?, ?)"
ADD_NAMED = "INSERT OR IGNORE INTO named VALUES (?, ?)"
ADD_EVENT = "INSERT INTO outbox VALUES (?, ?)"
PUT_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
PUT_POSITIONS = "UPDATE positions SET spool_frame = ?, journal_frame = ?, outbox_taken = max(outbox_taken, ?)"
TAKE_EVENTS = "DELETE FROM outbox WHERE id <= ?"
ADD_DEDUPE = """
INSERT INTO dedupe SELECT :frame, :keys,
    length(:keys) + coalesce((SELECT total FROM dedupe ORDER BY journal_frame DESC LIMIT 1), 0)
"""

LAST_NOTICE = "SELECT coalesce(max(id), 0) FROM notices"
NOTICES = "SELECT id, notice FROM notices WHERE id > ? ORDER BY id LIMIT ?"
DELIVERIES = "SELECT * FROM deliveries WHERE state = ? ORDER BY notice_number DESC LIMIT ?"
CORRECTIONS = "SELECT entry_id FROM corrections WHERE entry_id IN ({})"
HOLDS = "SELECT * FROM hold_states WHERE id IN ({})"
HOLD = "SELECT * FROM hold_states WHERE id = ?"
OPEN_HOLDS = "SELECT * FROM hold_states WHERE hold_id IS NULL OR final = 0 ORDER BY created, id"
INCREASES = "SELECT * FROM increases ORDER BY id"
# Ids of holds are ordered by time: the newest of them, read backwards, are what sizes are made of.
SETTLED = """
SELECT h.org, h.tenant, h.agent, h.model, c.settled, c.settled_tokens
FROM (SELECT id, org, tenant, agent, model FROM holds ORDER BY id DESC LIMIT ?) h
    JOIN hold_changes c ON c.hold_id = h.id
WHERE c.state = 'settled' AND c.settled_tokens IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM hold_changes later WHERE later.hold_id = c.hold_id AND later.number > c.number
)
ORDER BY h.id
"""
BURN = """
SELECT org, tenant, agent, 0, sum(settled), sum(tokens) FROM spends
WHERE slot_time >= ? AND slot_time < ? GROUP BY org, tenant, agent
"""
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
# Both are kept as long as a budget's window can be measured again, so that nothing is told twice.
PRUNE_DELIVERIES = """
DELETE FROM deliveries WHERE state <> 'pending' AND notice_number IN (
    SELECT id FROM (SELECT id, time FROM notices ORDER BY id LIMIT :at_once) WHERE time < :spends_since
)
"""
PRUNE_NOTICES = """
DELETE FROM notices
WHERE id IN (SELECT id FROM notices ORDER BY id LIMIT :at_once) AND time < :spends_since
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice_number = notices.id)
"""
# A booking goes when the bookings after it fill the window.
PRUNE_DEDUPE = """
DELETE FROM dedupe
WHERE journal_frame IN (SELECT journal_frame FROM dedupe ORDER BY journal_frame LIMIT :at_once)
    AND total <= (SELECT total FROM dedupe ORDER BY journal_frame DESC LIMIT 1) - :dedupe_bytes
"""
