//! Writing to the terminal, or to what stands in for it: a full disk or a reader that has gone must not end in a
//! panic, as they do with `println!`.
//!
//! It must not know what is written.

use std::{
    fmt,
    io::{self, Write},
};

use crate::failure::{During, Failure, Outcome};

/// Writes a command's answer to standard output, whole.
pub(crate) fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What writing to standard output came to. Whoever has stopped reading is told nothing.
pub(crate) fn written(result: io::Result<()>) -> Outcome<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_gone()),
        other => other.during("write to standard output"),
    }
}

/// Writes a line to standard error. There is nobody to tell where that fails.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
