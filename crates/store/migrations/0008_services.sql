-- What runs in a sandbox from its start on. JSON: [program, argument, …]
ALTER TABLE sandboxes ADD COLUMN entrypoint TEXT;

-- Words of the dialect that it was made through. JSON; only that dialect looks into it.
ALTER TABLE sandboxes ADD COLUMN details TEXT;

-- What its use, or no use, brings about. JSON: OnAccess
ALTER TABLE sandboxes ADD COLUMN on_access TEXT NOT NULL DEFAULT '{}';

-- 1: it stays when its sandbox is deleted.
ALTER TABLE snapshots ADD COLUMN outlives INTEGER NOT NULL DEFAULT 0;
