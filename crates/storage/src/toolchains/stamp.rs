//! The note in an installed toolchain that says what it was made of.
//!
//! It must not know how a toolchain is made.

use std::{fs, io, path::Path};

use protocol::HostPath;
use serde::{Deserialize, Serialize};

use super::pins::Pin;

/// Its name, at the top of the toolchain.
const FILE: &str = "toolchain.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    version: String,
    packages: Vec<StampPackage>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StampPackage {
    name: String,
    version: String,
    sha512: String,
}

impl From<&Pin> for Stamp {
    fn from(pin: &Pin) -> Self {
        let packages = pin.packages.iter().map(|package| StampPackage {
            name: package.name.to_owned(),
            version: package.version.to_owned(),
            sha512: package.sha512.to_owned(),
        });
        Self { name: pin.name.to_string(), version: pin.version.to_owned(), packages: packages.collect() }
    }
}

/// Whether `folder` holds just what is pinned.
pub(super) fn is_installed(pin: &Pin, folder: &HostPath) -> bool {
    let stamp = fs::read(folder.join(FILE).as_path()).ok();
    stamp
        .and_then(|bytes| serde_json::from_slice::<Stamp>(&bytes).ok())
        .is_some_and(|stamp| stamp == pin.into())
}

/// Writes the note; the last file of a toolchain.
pub(super) fn stamp_write(pin: &Pin, folder: &Path) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(&Stamp::from(pin))?;
    bytes.push(b'\n');
    fs::write(folder.join(FILE), bytes)
}
