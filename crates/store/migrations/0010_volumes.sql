-- Folders that outlive sandboxes. A row is there before the folder is, and gone before that goes.
CREATE TABLE volumes (
    id         TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    bytes      INTEGER NOT NULL, -- what it may hold
    created_at INTEGER NOT NULL, -- microseconds since 1970-01-01T00:00:00Z
    UNIQUE (owner, name)
) STRICT, WITHOUT ROWID;

-- The volumes of a sandbox. JSON: [SandboxVolume, …]
ALTER TABLE sandboxes ADD COLUMN volumes TEXT NOT NULL DEFAULT '[]';
