-- Snapshots of sandboxes' layers.

CREATE TABLE snapshots (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- order of insertion; none is used twice
    id         TEXT    NOT NULL UNIQUE,
    sandbox_id TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    name       TEXT,             -- NULL: made for a fork that is under way
    note       TEXT,
    image      TEXT    NOT NULL,
    created_at INTEGER NOT NULL, -- microseconds since 1970-01-01T00:00:00Z
    UNIQUE (sandbox_id, name)
) STRICT;

CREATE INDEX snapshots_by_owner ON snapshots (owner);

-- What was begun with a sandbox and is not finished. JSON: Pending
ALTER TABLE sandboxes ADD COLUMN pending TEXT;

-- A short name that is never given again, for dialects that count.
ALTER TABLE sandboxes ADD COLUMN number INTEGER;

-- What is to be remembered of the last start: the boot of the host that it was in.
CREATE TABLE facts (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
