//! How an operating system error becomes an answer: a kind to act on and a text that says what failed.

use std::{fmt, io};

use protocol::agent::{Event, Failure, FailureKind};
use rustix::io::Errno;

/// How much of a text is told: an escaped path fits, and all of it fits into what the server takes of an agent.
const MESSAGE_BYTES_MAX: usize = 20 << 10;

/// A failure of `what` (`open /sandbox/x`) for the reason of `error`.
pub(crate) fn failure_os(what: impl fmt::Display, error: &io::Error) -> Failure {
    let kind =
        error.raw_os_error().map_or(FailureKind::Other, |errno| kind_of(Errno::from_raw_os_error(errno)));
    failure(kind, format!("{what}: {}", errno_text(error)))
}

/// A failure that no system call reported.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    let mut message = message.into();
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
    Failure { kind, message }
}

/// The answer to a request whose result carries nothing but success.
pub(crate) fn event_of(result: Result<(), Failure>) -> Event {
    match result {
        Ok(()) => Event::Done,
        Err(failure) => Event::Failed(failure),
    }
}

/// The text of strerror(3), without the number that the standard library appends.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error") {
        text.truncate(end);
    }
    text
}

fn kind_of(errno: Errno) -> FailureKind {
    match errno {
        Errno::NOENT | Errno::SRCH => FailureKind::NotFound,
        Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::NODEV => FailureKind::WrongType,
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY => FailureKind::Denied,
        Errno::NOSPC => FailureKind::DiskFull,
        Errno::DQUOT | Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::FBIG => {
            FailureKind::LimitReached
        }
        Errno::INVAL | Errno::NAMETOOLONG | Errno::LOOP | Errno::TOOBIG | Errno::NOEXEC => {
            FailureKind::Invalid
        }
        Errno::CONNREFUSED => FailureKind::Refused,
        _ => FailureKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_failed_and_why_without_numbers() {
        let failure = failure_os("open /x", &Errno::NOENT.into());
        assert_eq!(failure.kind, FailureKind::NotFound);
        assert_eq!(failure.message, "open /x: No such file or directory");
    }

    #[test]
    fn a_long_text_fits_into_what_the_server_takes() {
        let event = Event::Failed(failure(FailureKind::NotFound, "é".repeat(1 << 20)));
        let frame = protocol::frame::encode_message(&event).unwrap();
        assert!(frame.len() <= protocol::frame::ANSWER_BYTES_MAX, "{}", frame.len());
        let Event::Failed(told) = event else { unreachable!() };
        assert!(told.message.starts_with("éé") && told.message.ends_with("é…"));
        assert_eq!(failure(FailureKind::Other, "short").message, "short");
    }

    #[test]
    fn a_full_disk_is_no_limit_that_is_reached() {
        let kind = |errno: Errno| failure_os("write /x", &errno.into()).kind;
        assert_eq!(kind(Errno::NOSPC), FailureKind::DiskFull);
        assert_eq!(kind(Errno::DQUOT), FailureKind::LimitReached);
    }
}
