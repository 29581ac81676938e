//! Opens the file: refuses what is not a sound store, makes or migrates what is, and connects to it.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::HostPath;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{
    OpenError,
    header::{Header, header_read},
    lock::Lock,
    migration::{VERSION, schema_migrate, version_get},
};

/// Marks a database as Atoll's (`PRAGMA application_id`): "Atol" in ASCII.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"Atol");
/// How long to wait for a foreign holder of SQLite's locks, as a backup that runs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the store's lock: a command that changes keys holds it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// What the write-ahead log is cut back to after something large went through it. Above what it reaches
/// otherwise (`checkpoint.rs`): a file that need not grow is written faster.
const WAL_BYTES_KEPT: u32 = 64 << 20;
const WRITER_CACHE_KIB: i32 = 32 << 10;
/// Prepared statements kept per connection; more than this crate has.
const STATEMENTS_KEPT: usize = 64;
/// Queries that can run at once.
const READERS: usize = 2;

/// The connections of an open store.
pub(crate) struct Connections {
    pub(crate) writer: Connection,
    pub(crate) checkpointer: Connection,
    pub(crate) readers: Vec<Connection>,
    /// To be dropped after the connections. `None` where a server beside this process holds it.
    pub(crate) lock: Option<Lock>,
}

/// Opens the store at `path`, or makes it.
pub(crate) fn store_connect(path: &HostPath) -> Result<Connections, OpenError> {
    let real = path_resolve(path.as_path()).map_err(io_failed(path, "find the folder"))?;
    // First of all: two stores of one process must not even read the file behind SQLite's back.
    let lock = Lock::wait(&real, LOCK_PATIENCE)
        .map_err(io_failed(path, "lock"))?
        .ok_or_else(|| OpenError::InUse { path: path.clone() })?;
    locked_connect(path, &real, lock)
}

/// The same, and where another process holds the lock, connects to the store as it is.
pub(crate) fn store_connect_beside(path: &HostPath) -> Result<Connections, OpenError> {
    let real = path_resolve(path.as_path()).map_err(io_failed(path, "find the folder"))?;
    if let Some(lock) = Lock::acquire(&real).map_err(io_failed(path, "lock"))? {
        return locked_connect(path, &real, lock);
    }
    let mut writer = connect(&real, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql_failed(path, "open"))?;
    // The holder of the lock has checked the file; whether both mean the same by it is left to ask.
    let found = version_get(&writer).map_err(sql_failed(path, "read the schema version"))?;
    if found != VERSION {
        return Err(OpenError::OtherVersion { path: path.clone(), found, known: VERSION });
    }
    writer_configure(path, &mut writer)?;
    others_connect(path, &real, writer, None)
}

fn locked_connect(path: &HostPath, real: &Path, lock: Lock) -> Result<Connections, OpenError> {
    header_check(path, real)?;
    let mut writer = sound_connect(path, real)?;
    writer_configure(path, &mut writer)?;
    others_connect(path, real, writer, Some(lock))
}

fn others_connect(
    path: &HostPath,
    real: &Path,
    writer: Connection,
    lock: Option<Lock>,
) -> Result<Connections, OpenError> {
    let checkpointer = connect(real, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql_failed(path, "open"))?;
    let readers = (0..READERS)
        .map(|_| connect(real, OpenFlags::SQLITE_OPEN_READ_ONLY))
        .collect::<Result<_, _>>()
        .map_err(sql_failed(path, "open"))?;
    Ok(Connections { writer, checkpointer, readers, lock })
}

/// The path without symbolic links, so that one database has one lock whatever it is called.
fn path_resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = path.file_name().ok_or(error)?;
            Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name))
        }
        resolved => resolved,
    }
}

/// Refuses by the header alone what SQLite should not open, and makes the file where there is none. It holds
/// what programs were given as environment, so only its owner may read it; SQLite gives the files beside it
/// the same mode.
fn header_check(path: &HostPath, real: &Path) -> Result<(), OpenError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(real)
        .map_err(io_failed(path, "open"))?;
    match header_read(&mut file).map_err(io_failed(path, "read"))? {
        Header::Empty => Ok(()),
        Header::NotSqlite => Err(OpenError::NotSqlite { path: path.clone() }),
        Header::Sqlite { application_id, user_version } if application_id == APPLICATION_ID => {
            version_check(path, user_version)
        }
        Header::Sqlite { application_id, .. } => {
            Err(OpenError::Foreign { path: path.clone(), application_id })
        }
    }
}

fn version_check(path: &HostPath, found: u32) -> Result<(), OpenError> {
    if found > VERSION {
        return Err(OpenError::Newer { path: path.clone(), found, known: VERSION });
    }
    Ok(())
}

/// Connects and checks the content, write-ahead log included.
fn sound_connect(path: &HostPath, real: &Path) -> Result<Connection, OpenError> {
    let has_wal = wal_path(real).metadata().is_ok_and(|wal| wal.len() > 0);
    let connection = connect(real, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql_failed(path, "open"))?;
    // A log left by a crash stays in its file, and out of the database, if the database is refused. Without
    // one, SQLite shall remove on closing the empty log that it makes on opening.
    let no_checkpoint =
        |on| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on).map(|_| ());
    no_checkpoint(has_wal).map_err(sql_failed(path, "configure"))?;
    let found = version_get(&connection).map_err(sql_failed(path, "read the schema version"))?;
    version_check(path, found)?;
    let finding: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(sql_failed(path, "quick_check"))?;
    if finding != "ok" {
        return Err(OpenError::Damaged { path: path.clone(), detail: finding });
    }
    no_checkpoint(false).map_err(sql_failed(path, "configure"))?;
    Ok(connection)
}

fn wal_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

fn connect(real: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(real, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // SQLite opens the write-ahead log with the first read; a checkpoint before it would do nothing.
    version_get(&connection)?;
    Ok(connection)
}

fn writer_configure(path: &HostPath, writer: &mut Connection) -> Result<(), OpenError> {
    let configure = |writer: &Connection| {
        // Before the first page goes to a log: the header in the file itself shall always say whose it is.
        let marked: u32 = writer.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if marked != APPLICATION_ID {
            writer.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        let mode = writer.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        writer.pragma_update(None, "synchronous", "normal")?;
        writer.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        // Savepoints keep the pages that they change: not in a temporary file.
        writer.pragma_update(None, "temp_store", "memory")?;
        // Negative: kibibytes. Pages that a group changes more than once shall reach the log once.
        writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        // Off for migrations: one that rebuilds a table must not delete by cascade.
        writer.pragma_update(None, "foreign_keys", false)?;
        Ok(mode)
    };
    let mode: String = configure(writer).map_err(sql_failed(path, "configure"))?;
    if mode != "wal" {
        return Err(OpenError::NoWal { path: path.clone(), mode });
    }
    schema_migrate(writer).map_err(|(name, error)| OpenError::Migration {
        path: path.clone(),
        name,
        source: error.into(),
    })?;
    writer.pragma_update(None, "foreign_keys", true).map_err(sql_failed(path, "configure"))
}

fn io_failed(path: &HostPath, step: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.clone(), step, source }
}

fn sql_failed(path: &HostPath, step: &'static str) -> impl FnOnce(rusqlite::Error) -> OpenError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Damaged { path: path.clone(), detail: error.to_string() }
        }
        _ => OpenError::Database { path: path.clone(), step, source: error.into() },
    }
}
