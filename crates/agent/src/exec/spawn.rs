//! From an exec's specification to a running process: checks it, makes pipes and C strings, and says in
//! words what went wrong.
//!
//! What the child does between `clone` and `exec` is in [`crate::sys`].

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use protocol::agent::{ExecSpec, Failure, FailureKind, Stdin};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Gid, Uid, getegid, geteuid},
};
use tokio::net::unix::pipe;

use super::{
    mark::{MARK_VARIABLE, Mark},
    output::OutputPipe,
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
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: OutputPipe,
    pub(crate) stderr: OutputPipe,
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

    let pipe_failure = |error: io::Error| failure_os(format_args!("start {program}: make its pipes"), &error);
    let (stdin, child_stdin) = match spec.stdin {
        Stdin::Null => (None, None),
        Stdin::Piped => {
            let (read_end, write_end) = pipe_make().map_err(pipe_failure)?;
            fcntl_setfl(&write_end, OFlags::NONBLOCK).map_err(|errno| pipe_failure(errno.into()))?;
            let sender = pipe::Sender::from_owned_fd_unchecked(write_end).map_err(pipe_failure)?;
            (Some(sender), Some(read_end))
        }
    };
    let (stdout, child_stdout) = output_pipe_make().map_err(pipe_failure)?;
    let (stderr, child_stderr) = output_pipe_make().map_err(pipe_failure)?;

    let plan = ChildPlan {
        programs: &programs,
        argv: &argv,
        env: &env,
        cwd: &cwd[0],
        stdio: [
            child_stdin.as_ref().map_or_else(|| agent.null.as_fd(), AsFd::as_fd),
            child_stdout.as_fd(),
            child_stderr.as_fd(),
        ] as [BorrowedFd<'_>; 3],
        private,
        ids,
        mark: mark.number(),
    };
    let pid = sys::process_spawn(&plan).map_err(|reason| spawn_failure(spec, program, reason))?;
    Ok(Spawned { pid, stdin, stdout, stderr })
}

/// A pipe for a program's output, and the end that the program gets.
pub(super) fn output_pipe_make() -> io::Result<(OutputPipe, OwnedFd)> {
    let (read_end, write_end) = pipe_make()?;
    Ok((OutputPipe::new(read_end)?, write_end))
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
