//! Reads the header of a database file without SQLite, which could change the file or leave others beside it.

use std::{
    fs::File,
    io::{self, Read},
};

/// The first bytes of every SQLite file (<https://sqlite.org/fileformat2.html#the_database_header>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: u64 = 100;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// It has no bytes: a store to be made.
    Empty,
    /// Something else than an SQLite database.
    NotSqlite,
    /// A database, with the two numbers that its program may set. A write-ahead log may hold newer ones.
    Sqlite { application_id: u32, user_version: u32 },
}

/// Reads the header from the start of `file`.
pub(crate) fn header_read(file: &mut File) -> io::Result<Header> {
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(Header::Empty);
    }
    let magic = bytes.first_chunk() == Some(MAGIC);
    Ok(match (magic, number(&bytes, APPLICATION_ID_AT), number(&bytes, USER_VERSION_AT)) {
        (true, Some(application_id), Some(user_version)) => Header::Sqlite { application_id, user_version },
        _ => Header::NotSqlite,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}
