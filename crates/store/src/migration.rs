//! The schema's history: each migration raises `user_version` by one, in a transaction of its own.

use rusqlite::{Connection, TransactionBehavior};

/// In order. A migration that was released is never changed: the next one corrects it.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_sandboxes", include_str!("../migrations/0001_sandboxes.sql")),
    ("0002_events", include_str!("../migrations/0002_events.sql")),
    ("0003_counters", include_str!("../migrations/0003_counters.sql")),
    ("0004_keys", include_str!("../migrations/0004_keys.sql")),
    ("0005_snapshots", include_str!("../migrations/0005_snapshots.sql")),
    ("0006_ordinals", include_str!("../migrations/0006_ordinals.sql")),
    ("0007_snapshot_intents", include_str!("../migrations/0007_snapshot_intents.sql")),
    ("0008_services", include_str!("../migrations/0008_services.sql")),
    ("0009_network_policies", include_str!("../migrations/0009_network_policies.sql")),
    ("0010_volumes", include_str!("../migrations/0010_volumes.sql")),
    ("0011_sessions", include_str!("../migrations/0011_sessions.sql")),
];

/// The schema version that this program works with.
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Brings the schema from whatever version it has to [`VERSION`]. An error carries the migration's name.
pub(crate) fn schema_migrate(connection: &mut Connection) -> Result<(), (&'static str, rusqlite::Error)> {
    let found = version_get(connection).map_err(|error| ("user_version", error))?;
    for (version, (name, sql)) in (1..).zip(MIGRATIONS).skip(found as usize) {
        step(connection, version, sql).map_err(|error| (*name, error))?;
        tracing::info!(migration = name, "store migrated");
    }
    Ok(())
}

fn step(connection: &mut Connection, version: u32, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// The schema version of the database.
pub(crate) fn version_get(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
