//! Unpacks a layer: the work of a process that has given up all power over the host.
//!
//! A layer is hostile until its last byte. It comes as standard input and goes into the folder that is this process's
//! root; what it came to is one line of JSON on standard output. It must not know registries, digests that are
//! expected, or where on the host the folder is.

mod entry;
mod name;
mod report;
mod stream;
mod tree;

use std::{
    io::{Read, Write},
    os::fd::OwnedFd,
};

use tar::{Archive, EntryType};

use self::{
    entry::Stated,
    stream::{Metered, decompressed},
    tree::Tree,
};
pub(super) use self::{
    report::{ANSWER_BYTES_MAX, Answer, Place, Unpacked},
    tree::open_beneath,
};

/// The most entries of a layer.
const ENTRIES_MAX: u64 = 1_000_000;

/// Why a layer is not taken, in words.
type Refusal = String;

/// Unpacks what comes from `input` into `root`, and writes what it came to to `output`. Returns whether it was good.
pub fn unpack_serve(input: impl Read, root: OwnedFd, bytes_max: u64, mut output: impl Write) -> bool {
    let answer = match layer_unpack(input, root, bytes_max) {
        Ok(unpacked) => Answer::Unpacked(unpacked),
        Err(why) => Answer::Refused(why),
    };
    let is_good = matches!(answer, Answer::Unpacked(_));
    // Nobody is there to be told where this fails; whoever waits sees that nothing came.
    let written = serde_json::to_writer(&mut output, &answer).map_err(std::io::Error::from);
    written.and_then(|()| output.flush()).is_ok() && is_good
}

/// Says that the process could not be confined, in the same way.
pub fn unpack_refuse(why: impl std::fmt::Display, mut output: impl Write) {
    let _ = serde_json::to_writer(&mut output, &Answer::Refused(format!("nothing was read: {why}")));
}

fn layer_unpack(input: impl Read, root: OwnedFd, bytes_max: u64) -> Result<Unpacked, Refusal> {
    let damaged =
        |error: std::io::Error| format!("it is damaged: {}", name::shown(error.to_string().as_bytes()));
    let too_large = || format!("it unpacks to more than {bytes_max} bytes");
    let mut stream = Metered::new(decompressed(input).map_err(damaged)?, bytes_max);
    let spent = stream.spent();
    let read_failed = |error| if spent.get() { too_large() } else { damaged(error) };
    let mut tree = Tree::new(root, bytes_max);
    let mut entries = 0;
    let mut archive = Archive::new(&mut stream);
    for entry in archive.entries().map_err(read_failed)? {
        let mut entry = entry.map_err(read_failed)?;
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} entries"));
        }
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let stated = Stated::read(&mut entry)?;
        tree.add(stated, &mut entry).map_err(|error| match error {
            tree::Fault::Refused(why) => why,
            tree::Fault::Read(error) => read_failed(error),
        })?;
    }
    // What follows the end marker is part of the digest.
    std::io::copy(&mut stream, &mut std::io::sink()).map_err(read_failed)?;
    if entries == 0 && stream.is_short() {
        return Err("it is empty or no tar archive".to_owned());
    }
    let found = tree.finish()?;
    Ok(Unpacked { diff_id: stream.digest(), entries, ..found })
}

#[cfg(test)]
mod tests;
