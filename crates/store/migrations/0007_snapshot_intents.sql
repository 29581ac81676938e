-- A snapshot's row is written while the snapshot is taken. 0: nobody was told yet that it was.
ALTER TABLE snapshots ADD COLUMN settled INTEGER NOT NULL DEFAULT 1;
