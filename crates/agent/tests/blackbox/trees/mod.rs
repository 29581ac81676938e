//! Whole trees go out as archives and come in again: [`round_trip`] that nothing is lost, [`hostile`] that
//! bad archives change nothing, [`breaking`] what happens when somebody is slow or goes away.

mod breaking;
mod hostile;
mod round_trip;
mod walked;

use std::path::Path;

use protocol::{
    GuestPath,
    agent::{Event, Failure, Request},
    frame::{self, Kind},
};
use tar::{EntryType, Header};

use crate::wire::{Agent, Connection};

/// Reads a tree; the archive, if it came to its end.
fn tree_read(connection: &mut Connection, path: GuestPath) -> Result<Vec<u8>, Failure> {
    connection.send(&Request::TreeRead { path });
    let mut archive = Vec::new();
    loop {
        match connection.frame().expect("the agent closed the connection") {
            (Kind::Output, payload) => archive.extend(payload),
            (Kind::Message, payload) => match frame::decode_message(&payload).unwrap() {
                Event::Done => return Ok(archive),
                Event::Failed(failure) => return Err(failure),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// Writes a tree that replaces what was there, without a limit.
fn tree_write(connection: &mut Connection, path: GuestPath, archive: &[u8]) -> Result<(), Failure> {
    tree_write_as(connection, &Request::TreeWrite { path, bytes_max: None, clear: true }, archive)
}

/// Writes a tree.
fn tree_write_as(connection: &mut Connection, request: &Request, archive: &[u8]) -> Result<(), Failure> {
    connection.send(request);
    for piece in archive.chunks(frame::STREAM_BYTES) {
        connection.input(piece);
    }
    connection.input_end();
    match connection.event() {
        Event::Done => Ok(()),
        Event::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// The names of drafts in the test's folder, or in one in it.
fn drafts(agent: &Agent, folder: &str) -> Vec<String> {
    let names = std::fs::read_dir(agent.path(folder)).unwrap();
    names
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".atoll-"))
        .collect()
}

/// An archive of entries that are taken as they are, however hostile.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    fn entry(self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> Self {
        self.with(kind, name, target, content, |_| {})
    }

    /// An entry whose header is changed by `change` before it is summed up.
    fn with(
        mut self,
        kind: EntryType,
        name: &str,
        target: &str,
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    /// A pax header with one record.
    fn pax(self, key: &str, value: &[u8]) -> Self {
        self.records(&[(key.as_bytes(), value)])
    }

    /// A pax header with these records.
    fn records(self, records: &[(&[u8], &[u8])]) -> Self {
        let record = |(key, value): &(&[u8], &[u8])| {
            let mut record = [key, &b"="[..], value, b"\n"].concat();
            let length = (1..).find(|length: &usize| length.to_string().len() + 1 + record.len() == *length);
            record.splice(0..0, format!("{} ", length.unwrap()).into_bytes());
            record
        };
        let records: Vec<u8> = records.iter().flat_map(record).collect();
        self.entry(EntryType::XHeader, "pax", "", &records)
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

/// An archive that GNU tar makes of a folder.
fn archive_by_tar(folder: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new("tar");
    let made = command.args(options).arg("-C").arg(folder).args(["-cf", "-", "."]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}
