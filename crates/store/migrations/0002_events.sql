-- The audit trail. It outlives the sandboxes that it speaks of, hence no foreign key.
-- Only the oldest rows are ever deleted and never all of them, so seq is not used twice.

CREATE TABLE events (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL, -- microseconds since 1970-01-01T00:00:00Z
    sandbox_id TEXT,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    detail     TEXT    NOT NULL  -- JSON
) STRICT;

CREATE INDEX events_by_sandbox ON events (sandbox_id) WHERE sandbox_id IS NOT NULL;
