-- When it was last used, in microseconds since 1970-01-01T00:00:00Z; of those whose use renews their lease.
ALTER TABLE sandboxes ADD COLUMN used_at INTEGER;
-- Variables of its environment that were set after it was made. JSON: [VariableNote, …]
ALTER TABLE sandboxes ADD COLUMN variables TEXT NOT NULL DEFAULT '[]';
