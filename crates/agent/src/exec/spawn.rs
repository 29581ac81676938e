//! From an exec's specification to a running process: checks it, makes pipes and C strings, and says in
//! words what went wrong.
//!
//! What the child does between `clone` and `exec` is in [`crate::sys`].

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use protocol::agent::{ExecSpec, Failure, FailureKind, Stdin, TerminalSize};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Gid, Uid, getegid, geteuid},
};
use tokio::net::unix::pipe;

use super::{
    mark::{MARK_VARIABLE, Mark},
    output::Source,
    state::Input,
    terminal::Terminal,
};
use crate::{
    agent::Agent,
    failure::{failure, failure_os},
    sys::{self, ChildPlan, SpawnFailure, SpawnStep},
};

/// Where programs are looked for when the environment has no `PATH`; as the C library does (execvp(3)).
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// A process that was started.
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) ends: Ends,
}

/// The agent's ends of a process's standard streams.
pub(crate) struct Ends {
    pub(crate) input: Option<Input>,
    pub(crate) stdout: Source,
    /// `None` where all output comes out of a terminal.
    pub(crate) stderr: Option<Source>,
}

/// The process's own ends, closed here once it runs.
enum ChildEnds {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

impl ChildEnds {
    fn stdio<'a>(&'a self, null: BorrowedFd<'a>) -> [BorrowedFd<'a>; 3] {
        match self {
            Self::Pipes { stdin, stdout, stderr } => {
                [stdin.as_ref().map_or(null, AsFd::as_fd), stdout.as_fd(), stderr.as_fd()]
            }
            Self::Terminal(end) => [end.as_fd(); 3],
        }
    }
}

/// Starts the process of `spec`, with `private` as its descriptor 3 if it is given.
///
/// # Errors
/// A [`Failure`]; then there is no process.
pub(crate) fn process_start(
    agent: &Agent,
    spec: &ExecSpec,
    mark: Mark,
    private: Option<BorrowedFd<'_>>,
) -> Result<Spawned, Failure> {
    let program = spec.argv.first().map(String::as_str).unwrap_or_default();
    if program.is_empty() {
        return Err(failure(FailureKind::Invalid, "start a process: the program's name is empty"));
    }
    let programs = c_strings(program, programs_to_try(program, &spec.env))?;
    let argv = c_strings(program, spec.argv.iter().cloned())?;
    let env = environment(program, &spec.env, mark)?;
    let cwd = c_strings(program, [spec.cwd.to_string()])?;
    let ids = ids_to_become(program, spec)?;

    let (ends, child_ends) = match spec.terminal {
        Some(size) => terminal_make(size, ids.map(|(uid, _)| uid))
            .map_err(|error| failure_os(format_args!("start {program}: make its terminal"), &error))?,
        None => pipes_make(spec.stdin)
            .map_err(|error| failure_os(format_args!("start {program}: make its pipes"), &error))?,
    };
    let plan = ChildPlan {
        programs: &programs,
        argv: &argv,
        env: &env,
        cwd: &cwd[0],
        stdio: child_ends.stdio(agent.null.as_fd()),
        has_terminal: spec.terminal.is_some(),
        private,
        ids,
        mark: mark.number(),
    };
    let pid = sys::process_spawn(&plan).map_err(|reason| spawn_failure(spec, program, reason))?;
    Ok(Spawned { pid, ends })
}

fn pipes_make(stdin: Stdin) -> io::Result<(Ends, ChildEnds)> {
    let (input, stdin) = match stdin {
        Stdin::Null => (None, None),
        Stdin::Piped => {
            let (read_end, write_end) = pipe_make()?;
            fcntl_setfl(&write_end, OFlags::NONBLOCK)?;
            (Some(Input::Pipe(pipe::Sender::from_owned_fd_unchecked(write_end)?)), Some(read_end))
        }
    };
    let (stdout, child_stdout) = output_pipe_make()?;
    let (stderr, child_stderr) = output_pipe_make()?;
    let ends = Ends { input, stdout, stderr: Some(stderr) };
    Ok((ends, ChildEnds::Pipes { stdin, stdout: child_stdout, stderr: child_stderr }))
}

fn terminal_make(size: TerminalSize, owner: Option<Uid>) -> io::Result<(Ends, ChildEnds)> {
    let (terminal, child_end) = Terminal::open(size, owner)?;
    let terminal = Rc::new(terminal);
    let ends = Ends {
        input: Some(Input::Terminal(Rc::clone(&terminal))),
        stdout: Source::Terminal(terminal),
        stderr: None,
    };
    Ok((ends, ChildEnds::Terminal(child_end)))
}

/// A pipe for a program's output, and the end that the program gets.
pub(super) fn output_pipe_make() -> io::Result<(Source, OwnedFd)> {
    let (read_end, write_end) = pipe_make()?;
    Ok((Source::pipe(read_end)?, write_end))
}

/// Reading and writing end, both close-on-exec: pipe(2).
fn pipe_make() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// The paths to try: the program itself if it names a folder, else one for each folder of `PATH`.
fn programs_to_try(program: &str, env: &[(String, String)]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(PATH_DEFAULT, |(_, value)| value);
    path.split(':')
        // An empty entry stands for the current folder (execvp(3)).
        .map(|folder| if folder.is_empty() { format!("./{program}") } else { format!("{folder}/{program}") })
        .collect()
}

fn environment(program: &str, env: &[(String, String)], mark: Mark) -> Result<Vec<CString>, Failure> {
    if let Some((name, _)) = env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        let message = format!("start {program}: {name:?} is no name of an environment variable");
        return Err(failure(FailureKind::Invalid, message));
    }
    let others = env.iter().filter(|(name, _)| name != MARK_VARIABLE);
    // The mark is put first, where it is found without reading a large environment whole.
    c_strings(
        program,
        [mark.variable()].into_iter().chain(others.map(|(name, value)| format!("{name}={value}"))),
    )
}

fn c_strings(program: &str, texts: impl IntoIterator<Item = String>) -> Result<Vec<CString>, Failure> {
    texts.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(|_| {
        let message = format!("start {program:?}: an argument or environment variable contains a NUL byte");
        failure(FailureKind::Invalid, message)
    })
}

/// The ids that differ from the agent's own. An agent without privileges can start programs as itself.
fn ids_to_become(program: &str, spec: &ExecSpec) -> Result<Option<(Uid, Gid)>, Failure> {
    // The value that setresuid(2) takes for "leave it".
    if [spec.uid, spec.gid].contains(&u32::MAX) {
        return Err(failure(
            FailureKind::Invalid,
            format!("start {program}: {} is no user or group", u32::MAX),
        ));
    }
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    Ok((uid != geteuid() || gid != getegid()).then_some((uid, gid)))
}

fn spawn_failure(spec: &ExecSpec, program: &str, reason: SpawnFailure) -> Failure {
    let error = io::Error::from(reason.errno);
    let mut failed = match reason.step {
        SpawnStep::Clone | SpawnStep::Session | SpawnStep::Exec => {
            failure_os(format_args!("start {program}"), &error)
        }
        SpawnStep::Ids => failure_os(
            format_args!("start {program}: become user {} and group {}", spec.uid, spec.gid),
            &error,
        ),
        SpawnStep::Folder => {
            failure_os(format_args!("start {program}: enter the folder {}", spec.cwd), &error)
        }
    };
    failed.message.push_str(match (reason.step, reason.errno) {
        (SpawnStep::Clone, Errno::AGAIN) => " (the limit of processes is reached)",
        (SpawnStep::Exec, Errno::NOENT) if !program.contains('/') => " (not found in PATH)",
        (SpawnStep::Exec, Errno::NOENT) if program_exists(spec, program) => " (its interpreter is missing)",
        (SpawnStep::Exec, Errno::ACCESS) => " (not an executable file, or not for this user)",
        (SpawnStep::Exec, Errno::NOEXEC) => " (neither a binary of this machine nor a script with #!)",
        _ => "",
    });
    failed
}

fn program_exists(spec: &ExecSpec, program: &str) -> bool {
    Path::new(spec.cwd.as_str()).join(program).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(path: &str) -> Vec<(String, String)> {
        vec![("PATH".to_owned(), path.to_owned())]
    }

    #[test]
    fn programs_are_looked_up_as_execvp_does() {
        assert_eq!(programs_to_try("./a", &env("/x")), ["./a"]);
        assert_eq!(programs_to_try("a", &env("/x::/y/")), ["/x/a", "./a", "/y//a"]);
        assert_eq!(programs_to_try("a", &[]), ["/bin/a", "/usr/bin/a"]);
    }
}
