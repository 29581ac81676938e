-- Times are microseconds since 1970-01-01T00:00:00Z. JSON forms are fixed by the Rust types of the same names.

CREATE TABLE sandboxes (
    seq         INTEGER PRIMARY KEY, -- order of insertion
    id          TEXT    NOT NULL UNIQUE,
    owner       TEXT    NOT NULL,
    dialect     TEXT    NOT NULL,
    name        TEXT,
    state       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    lease_until INTEGER,
    end_reason  TEXT,                -- JSON: EndReason
    image       TEXT    NOT NULL,
    network     TEXT    NOT NULL,
    limits      TEXT    NOT NULL,    -- JSON: Limits
    env         TEXT    NOT NULL,    -- JSON: [[name, value], …], order kept
    metadata    TEXT    NOT NULL,    -- JSON: {key: value, …}
    program     TEXT,                -- JSON: what the program is, in short
    ephemeral   INTEGER NOT NULL,    -- 0 or 1
    last_result TEXT                 -- JSON
) STRICT;

-- Ends in the implicit seq: one owner's sandboxes, newest first, without a sort.
CREATE INDEX sandboxes_by_owner ON sandboxes (owner);

-- A table of its own, so that reading records never walks through megabytes of code.
CREATE TABLE programs (
    sandbox_id TEXT NOT NULL PRIMARY KEY REFERENCES sandboxes (id) ON DELETE CASCADE,
    body       BLOB NOT NULL
) STRICT;
