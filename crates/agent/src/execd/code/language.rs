//! The languages that there are, and what is started for each.

use crate::http::HttpError;

const LANGUAGE_CHARACTERS_MAX: usize = 64;
const NODE_DRIVER: &str = include_str!("drivers/node.js");
const PYTHON_DRIVER: &str = include_str!("drivers/python.py");
const JUPYTER_DRIVER: &str = include_str!("drivers/jupyter.py");
/// What is said to a new shell over its connection.
pub(super) const BASH_DRIVER: &str = include_str!("drivers/bash.bash");
/// The shell reads what it is to do from the connection. What it says itself, such as prompts, nobody is to see; code
/// gets the real standard error back from 9.
const BASH_START: &str = "exec bash --noprofile --norc --noediting -i <&3 3<&- 9>&2 2>/dev/null";

/// A language, as far as it matters how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Javascript,
    Typescript,
    Bash,
    /// One for which the image may bring a Jupyter kernel, by this name.
    Kernel(String),
}

impl Language {
    /// # Errors
    /// 400 for what can be no language's name.
    pub(super) fn parse(name: &str) -> Result<Self, HttpError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+#._-".contains(&byte);
        match name {
            "python" => Ok(Self::Python),
            "javascript" => Ok(Self::Javascript),
            "typescript" => Ok(Self::Typescript),
            "bash" => Ok(Self::Bash),
            _ if (1..=LANGUAGE_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(is_name) => {
                Ok(Self::Kernel(name.to_ascii_lowercase()))
            }
            _ => Err(language_unknown(name, "no language is called so")),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::Bash => "bash",
            Self::Kernel(name) => name,
        }
    }

    /// The programs that can run it, the best first.
    pub(super) fn argvs(&self) -> Vec<Vec<String>> {
        let argvs: &[&[&str]] = match self {
            Self::Python => &[&["python3", "-c", PYTHON_DRIVER], &["python", "-c", PYTHON_DRIVER]],
            Self::Javascript | Self::Typescript => &[&["node", "--expose-internals", "-e", NODE_DRIVER]],
            Self::Bash => &[&["bash", "-c", BASH_START]],
            Self::Kernel(name) => &[&["python3", "-c", JUPYTER_DRIVER, name]],
        };
        argvs.iter().map(|argv| argv.iter().map(|&word| word.to_owned()).collect()).collect()
    }
}

/// 400 for a language that there is not, or not here.
pub(super) fn language_unknown(name: &str, reason: &str) -> HttpError {
    HttpError::body(format!(
        "the language {name:?} is not known: {reason}; known are python, javascript, typescript, bash and those of \
         installed Jupyter kernels"
    ))
}
