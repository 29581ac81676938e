-- Keys of the API. Rows are never deleted: an owner in a record, `key:7`, names one key for ever.

CREATE TABLE keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB    NOT NULL UNIQUE, -- SHA-256 of the key
    prefix     TEXT    NOT NULL,        -- the key's first characters, for lists
    name       TEXT,
    admin      INTEGER NOT NULL,        -- 0 or 1
    created_at INTEGER NOT NULL,        -- microseconds since 1970-01-01T00:00:00Z
    revoked_at INTEGER
) STRICT;
