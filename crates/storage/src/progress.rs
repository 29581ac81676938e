//! How the work on toolchains and images is shown: bars on a terminal, plain lines elsewhere.
//!
//! It must not know what is downloaded, from where, or who asked.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Something that happened while a toolchain is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressEvent<'a> {
    /// Another process installs the same toolchain; this one waits for it.
    Waiting {
        /// The toolchain.
        toolchain: &'a str,
    },
    /// A package is being downloaded. Comes again and again.
    Downloading {
        /// The package, with its version.
        package: &'a str,
        /// What is there.
        done_bytes: u64,
        /// What there will be.
        total_bytes: u64,
    },
    /// A package is being unpacked. Comes again and again. Its hash was right.
    Unpacking {
        /// The package, with its version.
        package: &'a str,
        /// What is done of the packed size.
        done_bytes: u64,
        /// The packed size.
        total_bytes: u64,
    },
    /// The toolchain is in place.
    Installed {
        /// The toolchain, with its version.
        toolchain: &'a str,
    },
}

/// Takes part in an installation as a listener.
pub trait Progress {
    /// Is told of an event. Must not block for long.
    fn report(&mut self, event: ProgressEvent<'_>);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&mut self, _: ProgressEvent<'_>) {}
}

/// What suits the standard error: bars if it is a terminal, lines if not.
#[must_use]
pub fn progress_on_stderr() -> Box<dyn Progress> {
    if io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines::new(io::stderr())) }
}

/// One line per step, for logs.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    last: String,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, last: String::new() }
    }
}

impl<W: Write> Progress for Lines<W> {
    fn report(&mut self, event: ProgressEvent<'_>) {
        let line = match event {
            ProgressEvent::Waiting { toolchain } => {
                format!("{toolchain}: another process installs it, waiting")
            }
            ProgressEvent::Downloading { package, total_bytes, .. } => {
                format!("{package}: downloading {}", mebibytes(total_bytes))
            }
            ProgressEvent::Unpacking { package, .. } => format!("{package}: unpacking"),
            ProgressEvent::Installed { toolchain } => format!("{toolchain}: installed"),
        };
        if line != self.last {
            // A log that cannot be written is no reason to stop.
            let _ = writeln!(self.out, "{line}");
            self.last = line;
        }
    }
}

/// One bar per step, on a terminal.
#[derive(Debug, Default)]
pub struct Bars {
    bar: Option<(String, ProgressBar)>,
}

impl Progress for Bars {
    fn report(&mut self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Waiting { toolchain } => {
                self.step(format!("{toolchain}: another process installs it"), None);
            }
            ProgressEvent::Downloading { package, done_bytes, total_bytes } => {
                self.step(format!("{package}: downloading"), Some((done_bytes, total_bytes)));
            }
            ProgressEvent::Unpacking { package, done_bytes, total_bytes } => {
                self.step(format!("{package}: unpacking"), Some((done_bytes, total_bytes)));
            }
            ProgressEvent::Installed { toolchain } => {
                if let Some((_, bar)) = self.bar.take() {
                    bar.finish_and_clear();
                }
                let _ = writeln!(io::stderr(), "{toolchain}: installed");
            }
        }
    }
}

impl Bars {
    fn step(&mut self, text: String, bytes: Option<(u64, u64)>) {
        let bar = match self.bar.take() {
            Some((shown, bar)) if shown == text => bar,
            _ => bar_new(&text, bytes.is_some()),
        };
        if let Some((done, total)) = bytes {
            bar.set_length(total);
            bar.set_position(done.min(total));
        }
        self.bar = Some((text, bar));
    }
}

fn bar_new(text: &str, has_length: bool) -> ProgressBar {
    let (bar, template) = if has_length {
        (ProgressBar::new(0), "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
    } else {
        (ProgressBar::new_spinner(), "{spinner} {msg}")
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_once_per_step() {
        let mut text = Vec::new();
        let mut lines = Lines::new(&mut text);
        for done_bytes in [0, 1 << 20, 3 << 19] {
            lines.report(ProgressEvent::Downloading { package: "bun@1", done_bytes, total_bytes: 3 << 19 });
        }
        for done_bytes in [0, 1] {
            lines.report(ProgressEvent::Unpacking { package: "bun@1", done_bytes, total_bytes: 1 });
        }
        lines.report(ProgressEvent::Installed { toolchain: "bun 1" });
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "bun@1: downloading 1.5 MiB\nbun@1: unpacking\nbun 1: installed\n"
        );
    }
}
