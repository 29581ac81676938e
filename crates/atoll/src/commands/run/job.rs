//! From the arguments of `atoll run` to what is run: a command, or a source file with arguments of its own.

use std::{
    io::{IsTerminal, Read},
    path::Path,
};

use engine::program::{CommandSpec, Language, Mode, Program};
use storage::toolchains::ToolchainName;

use crate::{
    cli::RunOptions,
    failure::{During, Failure, Outcome},
};

/// Stands for standard input where a file is expected.
const STANDARD_INPUT: &str = "-";

/// What to run.
pub(super) enum Job {
    Command(CommandSpec),
    Program {
        program: Program,
        arguments: Vec<String>,
        /// The source came from standard input, so that nothing is left of it for the program.
        input_taken: bool,
    },
}

impl Job {
    /// Reads what there is to read.
    pub(super) fn of(options: &RunOptions) -> Outcome<Self> {
        let Some(runtime) = options.runtime else {
            let command = CommandSpec { argv: options.command.clone(), timeout: options.timeout };
            return Ok(Self::Command(command));
        };
        let (file, arguments) = options
            .command
            .split_first()
            .ok_or_else(|| Failure::new("--runtime needs a source file, or - for standard input"))?;
        let input_taken = file == STANDARD_INPUT;
        let language = Language::from(runtime);
        let program = Program {
            language,
            code: if input_taken { source_from_input() } else { source(file) }?,
            entry_point: entry_point(language, file),
            files: Vec::new(),
            mode: Mode::Oneshot,
            install_dependencies: false,
            dev_server: false,
            timeout: options.timeout,
        };
        Ok(Self::Program { program, arguments: arguments.to_vec(), input_taken })
    }

    /// The toolchains that it needs.
    pub(super) fn toolchains(&self) -> &'static [ToolchainName] {
        let Self::Program { program, .. } = self else { return &[] };
        match program.language {
            Language::Node => &[ToolchainName::Node],
            Language::Bun => &[ToolchainName::Bun],
            Language::Typescript => &[ToolchainName::Node, ToolchainName::Typescript],
            Language::Python | Language::Bash => &[],
        }
    }
}

fn source(file: &str) -> Outcome<String> {
    let code = std::fs::read_to_string(file)
        .during(&format!("read the source file {file}"))
        .map_err(|failure| failure.hint("--runtime takes a source file; without it, a command is run"))?;
    not_empty(code, file)
}

fn source_from_input() -> Outcome<String> {
    let mut code = String::new();
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        crate::terminal::say("atoll: type the program, then Ctrl-D");
    }
    input.read_to_string(&mut code).during("read the program from standard input")?;
    not_empty(code, "standard input")
}

fn not_empty(code: String, place: &str) -> Outcome<String> {
    if code.is_empty() { Err(Failure::new(format!("there is no program in {place}"))) } else { Ok(code) }
}

/// The file's own name, so that tracebacks and type errors name it as the person knows it. Where the engine
/// would take that for a command (`deploy`, `my prog.py`), the program gets the usual name of its language.
fn entry_point(language: Language, file: &str) -> Option<String> {
    let name = Path::new(file).file_name()?.to_str()?;
    language.is_file(name).then(|| name.to_owned())
}
