//! Asks a registry through a process without power: what comes over the network is read there, and what is passed on
//! is bounded and compared with its digest here.
//!
//! One process asks one thing. Its standard input is the question, a line of JSON; a line of JSON on its standard
//! output says whether it was answered, and the answer's bytes follow.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    process::{Child, ChildStdout, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{
    ImageError, ImagePrograms, harmless,
    manifest::{Descriptor, JSON_BYTES_MAX},
    reference::Reference,
    registry::{Credentials, RegistryClient},
};

/// More than any first line.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// More than any question.
const QUESTION_BYTES_MAX: u64 = 256 << 10;
const PIECE_BYTES: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
struct Question {
    reference: String,
    credentials: Option<Credentials>,
    what: What,
}

#[derive(Clone, Serialize, Deserialize)]
enum What {
    Manifest(String),
    Small(Descriptor),
    Blob(Descriptor, u64),
}

/// The first line of an answer.
#[derive(Serialize, Deserialize)]
enum Word {
    /// The bytes follow; of a blob perhaps without those before the wanted one.
    Good {
        is_part: bool,
    },
    Broken(String),
    NotFound,
    Denied,
    Other {
        asked: String,
        answer: String,
    },
}

/// One repository of a registry.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    programs: ImagePrograms,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        credentials: Option<&'a Credentials>,
        programs: ImagePrograms,
    ) -> Self {
        Self { reference, credentials, programs }
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        self.reference.registry()
    }

    /// A manifest.
    pub(super) fn manifest(&self, version: &str) -> Result<Vec<u8>, ImageError> {
        self.whole(What::Manifest(version.to_owned()))
    }

    /// A small blob, whole.
    pub(super) fn blob_small(&self, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        self.whole(What::Small(blob.clone()))
    }

    /// A blob from some byte on. Returns also whether the registry left out what was before.
    pub(super) fn blob(&self, blob: &Descriptor, from: u64) -> Result<(impl Read + use<>, bool), ImageError> {
        self.ask(What::Blob(blob.clone(), from))
    }

    pub(super) fn broken(&self, error: &dyn std::fmt::Display) -> ImageError {
        ImageError::Transport {
            registry: self.reference.registry().to_owned(),
            message: harmless(&error.to_string()),
        }
    }

    fn whole(&self, what: What) -> Result<Vec<u8>, ImageError> {
        let (answer, _) = self.ask(what)?;
        let mut bytes = Vec::new();
        answer.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if bytes.len() as u64 > JSON_BYTES_MAX {
            return Err(self.broken(&"an answer of more than 4 MiB"));
        }
        Ok(bytes)
    }

    fn ask(&self, what: What) -> Result<(Answer, bool), ImageError> {
        let question =
            Question { reference: self.reference.to_string(), credentials: self.credentials.cloned(), what };
        let (answer, word) = Answer::to(&question, self.programs).map_err(|error| self.broken(&error))?;
        let (registry, image) = (self.reference.registry().to_owned(), self.reference.to_string());
        match word {
            Word::Good { is_part } => Ok((answer, is_part)),
            Word::Broken(message) => Err(self.broken(&message)),
            Word::NotFound => Err(ImageError::NotFound { registry, image }),
            Word::Denied => {
                Err(ImageError::Denied { registry, image, logged_in: self.credentials.is_some() })
            }
            Word::Other { asked, answer } => {
                Err(ImageError::Answer { registry, asked: harmless(&asked), answer: harmless(&answer) })
            }
        }
    }
}

/// An answer as it comes. Its process ends with it.
struct Answer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Answer {
    fn to(question: &Question, programs: ImagePrograms) -> io::Result<(Self, Word)> {
        let mut command = (programs.ask)();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut answer = Self { child, output: BufReader::with_capacity(PIECE_BYTES, output) };
        let asked = serde_json::to_writer(&mut input, question).map_err(io::Error::from);
        asked.and_then(|()| input.write_all(b"\n"))?;
        drop(input);
        let mut line = Vec::new();
        (&mut answer.output).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let word = serde_json::from_slice(&line)
            .map_err(|_| io::Error::other("the process that asks it ended without an answer"))?;
        Ok((answer, word))
    }
}

impl Read for Answer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.output.read(into)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers the question that comes from `input`: the work of a process that has given up all power. Returns whether it
/// could.
pub fn ask_serve(input: impl Read, mut output: impl Write) -> bool {
    let Ok(question) = serde_json::from_reader::<_, Question>(input.take(QUESTION_BYTES_MAX)) else {
        return false;
    };
    let Ok(reference) = question.reference.parse::<Reference>() else { return false };
    let client = RegistryClient::new(&reference, question.credentials.as_ref());
    let answered = match &question.what {
        What::Manifest(version) => {
            client.manifest(version).map(|bytes| (boxed(io::Cursor::new(bytes)), false))
        }
        What::Small(blob) => client.blob_small(blob).map(|bytes| (boxed(io::Cursor::new(bytes)), false)),
        What::Blob(blob, from) => client.blob(blob, *from).map(|(reader, is_part)| (boxed(reader), is_part)),
    };
    let (word, body) = match answered {
        Ok((body, is_part)) => (Word::Good { is_part }, Some(body)),
        Err(ImageError::Transport { message, .. }) => (Word::Broken(message), None),
        Err(ImageError::NotFound { .. }) => (Word::NotFound, None),
        Err(ImageError::Denied { .. }) => (Word::Denied, None),
        Err(ImageError::Answer { asked, answer, .. }) => (Word::Other { asked, answer }, None),
        Err(other) => (Word::Broken(other.to_string()), None),
    };
    let said = serde_json::to_writer(&mut output, &word).map_err(io::Error::from);
    let said = said.and_then(|()| output.write_all(b"\n"));
    match (said, body) {
        (Ok(()), Some(body)) => pass(body, &mut output).is_ok(),
        _ => false,
    }
}

fn boxed(reader: impl Read + 'static) -> Box<dyn Read> {
    Box::new(reader)
}

fn pass(mut body: impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return output.flush(),
            Ok(bytes) => output.write_all(&piece[..bytes])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
