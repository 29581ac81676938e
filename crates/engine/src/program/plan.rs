//! From a program to what is to be written and run, without touching a sandbox.

use std::collections::HashSet;

use protocol::GuestPath;

use super::{Language, Mode, Program, ProgramFile, WORK_FOLDER};
use crate::{Error, Result};

/// The port that a development server is expected on.
pub(crate) const DEV_SERVER_PORT: u16 = 3000;

/// Types of Node's own modules, for programs that bring none.
const TOOLCHAIN_TYPES: &str = "/opt/atoll/toolchains/typescript/node_modules/@types";

/// What running a program takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramPlan {
    /// Files to write, in this order; a later one of the same path wins.
    pub(crate) files: Vec<ProgramFile>,
    /// Commands that have to succeed before the main one.
    pub(crate) setup: Vec<Command>,
    /// The program itself.
    pub(crate) main: Command,
}

/// A command in the work folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    /// Added to the sandbox's environment.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Command {
    fn new(argv: &[&str]) -> Self {
        Self { argv: argv.iter().map(|word| (*word).to_owned()).collect(), env: Vec::new() }
    }
}

/// The file that a language's code is written to unless the program says otherwise.
fn default_file(language: Language) -> &'static str {
    match language {
        Language::Node => "index.js",
        Language::Bun | Language::Typescript => "index.ts",
        Language::Python => "main.py",
        Language::Bash => "main.sh",
    }
}

/// Endings of files that a language runs.
pub(super) fn endings(language: Language) -> &'static [&'static str] {
    match language {
        Language::Node => &[".js", ".mjs", ".cjs"],
        Language::Bun => &[".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts"],
        Language::Typescript => &[".ts", ".tsx", ".mts", ".cts"],
        Language::Python => &[".py"],
        Language::Bash => &[".sh", ".bash"],
    }
}

/// What an `entry_point` is.
enum EntryPoint {
    /// The file that the code is in.
    File(GuestPath),
    /// A command to run.
    Command(Vec<String>),
}

/// Plans a program.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for an entry point that is no command and no path in the work folder, and for
/// files that can't be there together.
pub(crate) fn program_plan(program: &Program) -> Result<ProgramPlan> {
    let folder = GuestPath::absolute(WORK_FOLDER).map_err(Error::internal)?;
    let entry = program.entry_point.as_deref().map(|text| entry_point(program, &folder, text)).transpose()?;
    let code_path = match &entry {
        Some(EntryPoint::File(path)) => path.clone(),
        _ => folder.join_below(default_file(program.language)).map_err(Error::internal)?,
    };
    let given =
        |name: &str| program.files.iter().any(|file| file.path.as_str() == format!("{folder}/{name}"));
    // A file the client sent under the entry point's name is the program; the code goes where it would by
    // default.
    let code_file = if matches!(entry, Some(EntryPoint::File(_)))
        && program.files.iter().any(|file| file.path == code_path)
    {
        folder.join_below(default_file(program.language)).map_err(Error::internal)?
    } else {
        code_path.clone()
    };
    let mut files =
        vec![ProgramFile { path: code_file, content: program.code.clone().into_bytes(), executable: false }];
    files.extend(program.files.iter().cloned());

    let serves = program.mode == Mode::Persistent && program.dev_server;
    let needs_package = serves || program.install_dependencies;
    if needs_package && javascript(program.language) && !given("package.json") {
        files.push(package_json(&folder, program.language)?);
    }
    files_check(&files)?;
    let mut setup = Vec::new();
    if program.install_dependencies {
        setup.extend(install(program.language, given("requirements.txt")));
    }
    let main = match entry {
        Some(EntryPoint::Command(argv)) => Command { argv, env: Vec::new() },
        _ if serves => dev_server(program.language, &code_path, program, &mut setup),
        _ => run(program.language, &code_path, program, &mut setup),
    };
    Ok(ProgramPlan { files, setup, main })
}

/// A file can't be a folder of another one. Written one after the other they would spoil the sandbox for every
/// run to come.
fn files_check(files: &[ProgramFile]) -> Result<()> {
    let paths: HashSet<&GuestPath> = files.iter().map(|file| &file.path).collect();
    for path in &paths {
        let folders = std::iter::successors(path.parent(), GuestPath::parent);
        if let Some(file) = folders.into_iter().find(|folder| paths.contains(folder)) {
            return Err(Error::invalid("files", format!("{file} is a file, so {path} can't be below it")));
        }
    }
    Ok(())
}

fn javascript(language: Language) -> bool {
    matches!(language, Language::Node | Language::Bun | Language::Typescript)
}

/// In one-shot mode a path with an ending of the language is a file; everything else is a command, as
/// `entry_point` is in persistent mode.
fn entry_point(program: &Program, folder: &GuestPath, text: &str) -> Result<EntryPoint> {
    let text = text.trim();
    if text.is_empty() || text.contains('\0') {
        return Err(Error::invalid("entry_point", "must be a file name or a command"));
    }
    if program.language.is_file(text) {
        return folder
            .join_below(text)
            .map(EntryPoint::File)
            .map_err(|error| Error::invalid("entry_point", error));
    }
    Ok(EntryPoint::Command(command_words(text)))
}

/// A command line as words, where it has no need of a shell; else as a call of one.
fn command_words(text: &str) -> Vec<String> {
    const SHELL: &[char] = &[
        '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=', '%', '!',
        '{', '\n',
    ];
    if text.contains(SHELL) {
        return ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    }
    text.split_whitespace().map(str::to_owned).collect()
}

fn package_json(folder: &GuestPath, language: Language) -> Result<ProgramFile> {
    let dev = match language {
        Language::Bun => "bun run index.ts",
        _ => "node index.js",
    };
    let content = serde_json::json!({
        "name": "sandbox",
        "private": true,
        "scripts": { "dev": dev },
    });
    Ok(ProgramFile {
        path: folder.join_below("package.json").map_err(Error::internal)?,
        content: content.to_string().into_bytes(),
        executable: false,
    })
}

/// Commands that install what the program's own list names.
fn install(language: Language, requirements: bool) -> Option<Command> {
    match language {
        Language::Node | Language::Typescript => {
            Some(Command::new(&["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]))
        }
        Language::Bun => Some(Command::new(&["bun", "install", "--no-progress"])),
        Language::Python if requirements => Some(Command {
            // The image's Python is Debian's, which keeps pip out of its own folders (PEP 668).
            env: vec![("PIP_BREAK_SYSTEM_PACKAGES", "1".to_owned())],
            ..Command::new(&[
                "python3",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--root-user-action=ignore",
                "-r",
                "requirements.txt",
            ])
        }),
        Language::Python | Language::Bash => None,
    }
}

/// The development server that a language starts by itself.
fn dev_server(language: Language, code: &GuestPath, program: &Program, setup: &mut Vec<Command>) -> Command {
    match language {
        Language::Node => Command::new(&["npm", "run", "--silent", "dev"]),
        Language::Bun => Command::new(&["bun", "dev"]),
        Language::Typescript => {
            setup.push(type_check(code, program));
            Command::new(&["npm", "run", "--silent", "dev"])
        }
        Language::Python => Command::new(&["python3", "-u", code.as_str()]),
        Language::Bash => Command::new(&["bash", code.as_str()]),
    }
}

fn run(language: Language, code: &GuestPath, program: &Program, setup: &mut Vec<Command>) -> Command {
    match language {
        Language::Node => Command::new(&["node", code.as_str()]),
        // Bun would otherwise look for packages on the network when the work folder has none.
        Language::Bun if !program.install_dependencies => {
            Command::new(&["bun", "run", "--no-install", code.as_str()])
        }
        Language::Bun => Command::new(&["bun", "run", code.as_str()]),
        Language::Typescript => {
            setup.push(type_check(code, program));
            Command::new(&["node", "--enable-source-maps", &compiled(code)])
        }
        Language::Python => Command::new(&["python3", "-u", code.as_str()]),
        Language::Bash => Command::new(&["bash", code.as_str()]),
    }
}

/// Checks and compiles, beside the source so that Node finds the program's packages. As CommonJS, which takes
/// the most programs as they come (imports without endings, `require`, `__filename`); as an ES module where
/// the program's own package says so, or where that is all that was wrong: a top-level `await`.
///
/// A `tsconfig.json` is left to the editors that read it: these settings are the same for every program.
fn type_check(code: &GuestPath, program: &Program) -> Command {
    const SCRIPT: &str = r#"
said=$(tsc "$@") && exit 0
status=$?
case $said in
    *TS1378:*|*TS1343:*) exec tsc "$@" --module esnext ;;
esac
printf '%s\n' "$said"
exit $status
"#;
    let module = if is_module(program) { "esnext" } else { "commonjs" };
    let type_roots = format!("{WORK_FOLDER}/node_modules/@types,{TOOLCHAIN_TYPES}");
    Command::new(&[
        "/bin/sh",
        "-c",
        SCRIPT,
        "tsc",
        "--ignoreConfig",
        "--pretty",
        "false",
        "--noEmitOnError",
        "--skipLibCheck",
        "--strict",
        "false",
        "--target",
        "es2024",
        "--lib",
        "esnext",
        "--types",
        "node",
        "--typeRoots",
        &type_roots,
        "--moduleResolution",
        "bundler",
        "--moduleDetection",
        "force",
        "--esModuleInterop",
        "--resolveJsonModule",
        "--rewriteRelativeImportExtensions",
        "--jsx",
        "react-jsx",
        "--module",
        module,
        code.as_str(),
    ])
}

/// Whether the program's `package.json` makes its files ES modules.
fn is_module(program: &Program) -> bool {
    let package = format!("{WORK_FOLDER}/package.json");
    program
        .files
        .iter()
        .rfind(|file| file.path.as_str() == package)
        .and_then(|file| serde_json::from_slice::<serde_json::Value>(&file.content).ok())
        .is_some_and(|package| package["type"] == "module")
}

/// Where the compiler puts what it makes of a file.
fn compiled(code: &GuestPath) -> String {
    let path = code.as_str();
    [(".mts", ".mjs"), (".cts", ".cjs"), (".tsx", ".js"), (".ts", ".js")]
        .into_iter()
        .find_map(|(from, to)| path.strip_suffix(from).map(|stem| format!("{stem}{to}")))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests;
