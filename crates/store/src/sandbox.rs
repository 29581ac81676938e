//! The record of a sandbox.

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::{SandboxId, launcher::NetworkMode, limits::Limits, policy::NetworkPolicy};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, ffi, params, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::{
    Batch, EndReason, Pending, SandboxVolume, Store, StoreError,
    column::{Document, Id, Json, Micros, Word},
    error::Fault,
    program, volume,
};

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// Accepted, not launched yet.
    Pending,
    /// Its processes can run.
    Running,
    /// On its way to [`SandboxState::Paused`].
    Pausing,
    /// Its processes are frozen.
    Paused,
    /// On its way back to [`SandboxState::Running`].
    Resuming,
    /// On its way to [`SandboxState::Terminated`].
    Stopping,
    /// Ended, as somebody or its program wanted.
    Terminated,
    /// Ended, as nobody wanted.
    Failed,
}

/// All that is known of a sandbox, but for its program.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxRecord {
    /// Its identifier.
    pub id: SandboxId,
    /// A short name that no other sandbox ever has, for dialects that count; `None` for the others.
    pub number: Option<u64>,
    /// A small number that no other sandbox of the dialect has while this one is there; `None` for those without a
    /// name.
    pub ordinal: Option<u32>,
    /// Who made it and may see it; `""` for nobody in particular.
    pub owner: String,
    /// The dialect that made it.
    pub dialect: String,
    /// The name that its owner gave it. Need not be unique.
    pub name: Option<String>,
    /// Where it is in its life.
    pub state: SandboxState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its agent was first there.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it is to be ended; `None` for never.
    pub lease_until: Option<Timestamp>,
    /// Why it ended; `None` while it lives.
    pub end: Option<EndReason>,
    /// What its root file system was made from.
    pub image: String,
    /// Its network.
    pub network: NetworkMode,
    /// What it may use.
    pub limits: Limits,
    /// Environment of its processes, in the order given.
    pub env: Vec<(String, String)>,
    /// What its owner noted about it.
    pub metadata: BTreeMap<String, String>,
    /// What its program is, in short, as JSON nested at most 100 levels deep; `None` without a program.
    pub program: Option<serde_json::Value>,
    /// Nothing is to be kept of it: it is on record only while it lives.
    pub ephemeral: bool,
    /// The result of its last run, as JSON nested at most 100 levels deep.
    pub last_result: Option<serde_json::Value>,
    /// What was begun with it and is not finished.
    pub pending: Option<Pending>,
    /// What runs in it from its start on: program and arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Words of its dialect that nobody else looks into.
    pub details: Option<serde_json::Value>,
    /// What its use, or no use, brings about.
    pub on_access: OnAccess,
    /// Whom it may reach; `None` for whoever is not closed to all.
    pub network_policy: Option<NetworkPolicy>,
    /// Folders that outlive it, or belong to the host.
    pub volumes: Vec<SandboxVolume>,
    /// When it was last used, of one whose use renews its lease.
    pub used_at: Option<Timestamp>,
    /// Variables of `env` that were set after it was made, in the order of their numbers.
    pub variables: Vec<VariableNote>,
}

/// What is known of a variable that was set after its sandbox was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableNote {
    /// A number that no other variable of the sandbox has.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// When it got the value that it has.
    pub set_at: Timestamp,
}

/// What the use of a sandbox, or no use of it, brings about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnAccess {
    /// Each use moves the end of its lease at least so many seconds into the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_s: Option<u32>,
    /// It is paused when it was not used for so many seconds, and resumed by the next use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_idle_s: Option<u32>,
}

/// Which sandboxes to list. The default is all.
#[derive(Clone, Debug, Default)]
pub struct SandboxFilter {
    /// Only this owner's.
    pub owner: Option<String>,
    /// Only those in one of these states; empty for any state.
    pub states: Vec<SandboxState>,
    /// Only those that this dialect made.
    pub dialect: Option<String>,
}

/// Which part of a list to return.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// How many to leave out at the start.
    pub offset: u32,
    /// How many to return at most.
    pub limit: u32,
}

impl Page {
    /// The whole list.
    pub const ALL: Self = Self { offset: 0, limit: u32::MAX };
}

/// A part of a list of sandboxes.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxPage {
    /// The records, those inserted last first.
    pub records: Vec<SandboxRecord>,
    /// How many there are in the whole list.
    pub total: u64,
}

impl Batch {
    /// Inserts a record, with the sandbox's program if it has one.
    ///
    /// Fails with [`StoreError::Exists`] when the identifier is taken, and with [`StoreError::NotFound`] when a volume
    /// of it is not there.
    pub fn sandbox_insert(self, record: SandboxRecord, program: Option<Vec<u8>>) -> Self {
        self.with("sandbox_insert", move |connection| insert(connection, &record, program.as_deref()))
    }

    /// Replaces the whole record of the same identifier.
    ///
    /// Fails with [`StoreError::NotFound`] when there is none.
    pub fn sandbox_update(self, record: SandboxRecord) -> Self {
        self.with("sandbox_update", move |connection| match write(connection, UPDATE, &record)? {
            0 => Err(Fault::not_found("sandbox", record.id)),
            _ => Ok(()),
        })
    }

    /// Deletes a record, and the sandbox's program with it. Its events stay.
    ///
    /// Fails with [`StoreError::NotFound`] when there is none.
    pub fn sandbox_delete(self, id: SandboxId) -> Self {
        self.with("sandbox_delete", move |connection| {
            match connection.prepare_cached("DELETE FROM sandboxes WHERE id = ?1")?.execute([Id(id)])? {
                0 => Err(Fault::not_found("sandbox", id)),
                _ => Ok(()),
            }
        })
    }
}

impl Store {
    /// The record of a sandbox.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; others when the database fails.
    pub async fn sandbox_get(&self, id: SandboxId) -> Result<SandboxRecord, StoreError> {
        self.query("sandbox_get", move |connection| {
            connection
                .prepare_cached("SELECT * FROM sandboxes WHERE id = ?1")?
                .query_row([Id(id)], decode)
                .optional()?
                .ok_or_else(|| Fault::not_found("sandbox", id))
        })
        .await
    }

    /// Records, the newest first. Programs are not read.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn sandbox_list(&self, filter: SandboxFilter, page: Page) -> Result<SandboxPage, StoreError> {
        self.query("sandbox_list", move |connection| list(connection, &filter, page)).await
    }
}

macro_rules! columns {
    () => {
        "(owner, dialect, name, state, created_at, started_at, ended_at, lease_until, end_reason,
          image, network, limits, env, metadata, program, ephemeral, last_result, pending, number, ordinal,
          entrypoint, details, on_access, network_policy, volumes, used_at, variables, id)"
    };
}

macro_rules! values {
    () => {
        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
          ?22, ?23, ?24, ?25, ?26, ?27, ?28)"
    };
}

const INSERT: &str = concat!("INSERT INTO sandboxes ", columns!(), " VALUES ", values!());
const UPDATE: &str = concat!("UPDATE sandboxes SET ", columns!(), " = ", values!(), " WHERE id = ?28");

fn insert(connection: &Connection, record: &SandboxRecord, program: Option<&[u8]>) -> Result<(), Fault> {
    volume::volumes_check(connection, &record.volumes)?;
    match write(connection, INSERT, record) {
        Err(error) if error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE) => {
            return Err(Fault::exists("sandbox", record.id));
        }
        written => written?,
    };
    program.map_or(Ok(()), |body| program::put(connection, record.id, body))
}

fn write(connection: &Connection, sql: &str, record: &SandboxRecord) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params![
        record.owner,
        record.dialect,
        record.name,
        Word(record.state),
        Micros(record.created_at),
        record.started_at.map(Micros),
        record.ended_at.map(Micros),
        record.lease_until.map(Micros),
        record.end.as_ref().map(Json),
        record.image,
        Word(record.network),
        Json(record.limits),
        Json(&record.env),
        Json(&record.metadata),
        record.program.as_ref().map(Document),
        record.ephemeral,
        record.last_result.as_ref().map(Document),
        record.pending.as_ref().map(Json),
        record.number,
        record.ordinal,
        record.entrypoint.as_ref().map(Json),
        record.details.as_ref().map(Document),
        Json(record.on_access),
        record.network_policy.as_ref().map(Json),
        Json(&record.volumes),
        record.used_at.map(Micros),
        Json(&record.variables),
        Id(record.id),
    ])
}

fn decode(row: &Row<'_>) -> rusqlite::Result<SandboxRecord> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Micros>>(column)?.map(|at| at.0));
    Ok(SandboxRecord {
        id: row.get::<_, Id<_>>("id")?.0,
        number: row.get("number")?,
        ordinal: row.get("ordinal")?,
        owner: row.get("owner")?,
        dialect: row.get("dialect")?,
        name: row.get("name")?,
        state: row.get::<_, Word<_>>("state")?.0,
        created_at: row.get::<_, Micros>("created_at")?.0,
        started_at: time("started_at")?,
        ended_at: time("ended_at")?,
        lease_until: time("lease_until")?,
        end: row.get::<_, Option<Json<_>>>("end_reason")?.map(|end| end.0),
        image: row.get("image")?,
        network: row.get::<_, Word<_>>("network")?.0,
        limits: row.get::<_, Json<_>>("limits")?.0,
        env: row.get::<_, Json<_>>("env")?.0,
        metadata: row.get::<_, Json<_>>("metadata")?.0,
        program: row.get::<_, Option<Json<_>>>("program")?.map(|program| program.0),
        ephemeral: row.get("ephemeral")?,
        last_result: row.get::<_, Option<Json<_>>>("last_result")?.map(|result| result.0),
        pending: row.get::<_, Option<Json<_>>>("pending")?.map(|pending| pending.0),
        entrypoint: row.get::<_, Option<Json<_>>>("entrypoint")?.map(|argv| argv.0),
        details: row.get::<_, Option<Json<_>>>("details")?.map(|details| details.0),
        on_access: row.get::<_, Json<_>>("on_access")?.0,
        network_policy: row.get::<_, Option<Json<_>>>("network_policy")?.map(|policy| policy.0),
        volumes: row.get::<_, Json<_>>("volumes")?.0,
        used_at: time("used_at")?,
        variables: row.get::<_, Json<_>>("variables")?.0,
    })
}

fn list(connection: &Connection, filter: &SandboxFilter, page: Page) -> Result<SandboxPage, Fault> {
    let states: Vec<_> = filter.states.iter().map(Word).collect();
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values: Vec<&dyn ToSql> = Vec::new();
    if let Some(owner) = &filter.owner {
        conditions.push("owner = ?".to_owned());
        values.push(owner);
    }
    if let Some(dialect) = &filter.dialect {
        conditions.push("dialect = ?".to_owned());
        values.push(dialect);
    }
    if !states.is_empty() {
        conditions.push(format!("state IN ({})", vec!["?"; states.len()].join(", ")));
        values.extend(states.iter().map(|state| state as &dyn ToSql));
    }
    let matching = format!("FROM sandboxes WHERE {}", conditions.join(" AND "));
    // So that the total and the records are of the same moment.
    let transaction = connection.unchecked_transaction()?;
    let total = transaction
        .prepare_cached(&format!("SELECT COUNT(*) {matching}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    values.extend([&page.limit as &dyn ToSql, &page.offset]);
    let records = transaction
        .prepare_cached(&format!("SELECT * {matching} ORDER BY seq DESC LIMIT ? OFFSET ?"))?
        .query_map(params_from_iter(&values), decode)?
        .collect::<Result<_, _>>()?;
    Ok(SandboxPage { records, total })
}

#[cfg(test)]
mod tests {
    use protocol::HostPath;
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

    use super::*;
    use crate::connect::store_connect;

    #[test]
    fn a_list_does_not_read_programs() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store_connect(&HostPath::new(folder.path().join("atoll.db"))).unwrap();
        let forbid = |context: AuthContext<'_>| match context.action {
            AuthAction::Read { table_name: "programs", .. } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        let reader = &mut store.readers[0];
        reader.authorizer(Some(forbid)).unwrap();
        list(reader, &SandboxFilter::default(), Page::ALL).unwrap();
        program::get(reader, SandboxId::random()).unwrap_err();
    }

    #[test]
    fn a_list_of_one_owner_is_not_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_connect(&HostPath::new(folder.path().join("atoll.db"))).unwrap();
        let sql = "EXPLAIN QUERY PLAN SELECT * FROM sandboxes WHERE owner = ? ORDER BY seq DESC LIMIT 1";
        let plan: Vec<String> = store.readers[0]
            .prepare(sql)
            .unwrap()
            .query_map(["alice"], |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(plan, ["SEARCH sandboxes USING INDEX sandboxes_by_owner (owner=?)"]);
    }
}
