//! The environment of what clients run: the sandbox's, or the agent's own, what was set with `$EXECD_ENVS`, what the request says.

use std::{collections::BTreeMap, path::Path};

use super::accounts::{Accounts, small_file_read};

/// Has the token, and is for nobody to see.
pub(crate) const TOKEN_VARIABLE: &str = "ATOLL_AGENT_TOKEN";
/// Names the file to which clients append variables for all that runs later.
const FILE_VARIABLE: &str = "EXECD_ENVS";
/// Its name in the home folder unless the environment says another.
const FILE_NAME: &str = ".execd_envs";
/// Where programs are looked for when the agent was told nothing.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables for a program of the user `uid`, or of `own`, who may be another than the agent's. `given` is what the
/// server has said, if there is one. Reads files.
pub(super) fn environment_of(
    given: Option<&[(String, String)]>,
    accounts: &Accounts,
    (own_uid, is_other): (u32, bool),
    uid: Option<u32>,
    requested: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = given.map_or_else(inherited, |given| given.iter().cloned().collect());
    variables.entry("PATH".to_owned()).or_insert_with(|| PATH_DEFAULT.to_owned());
    if (is_other || !variables.contains_key("HOME"))
        && let Some(user) = accounts.user(own_uid)
    {
        variables.entry("HOME".to_owned()).or_insert_with(|| user.home.clone());
        if is_other {
            for name in ["USER", "LOGNAME"] {
                variables.entry(name.to_owned()).or_insert_with(|| user.name.clone());
            }
        }
    }
    let home = variables.get("HOME").map_or("/", String::as_str).trim_end_matches('/');
    let file = format!("{home}/{FILE_NAME}");
    let file = variables.entry(FILE_VARIABLE.to_owned()).or_insert(file).clone();
    if let Some(user) = uid.and_then(|uid| accounts.user(uid)) {
        variables.insert("HOME".to_owned(), user.home.clone());
        variables.insert("USER".to_owned(), user.name.clone());
        variables.insert("LOGNAME".to_owned(), user.name.clone());
    }
    variables.extend(small_file_read(Path::new(&file)).lines().filter_map(variable_parse));
    variables.extend(requested);
    variables
}

fn inherited() -> BTreeMap<String, String> {
    let own = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    own.filter(|(name, _)| name != TOKEN_VARIABLE).collect()
}

/// `NAME=value`, with `export` before and quotes around the value or not. Other lines say nothing.
fn variable_parse(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let name = name.trim();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || !is_name || value.contains('\0') {
        return None;
    }
    let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some((name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_clients_write_them() {
        let parsed = |line| variable_parse(line).map(|(name, value)| format!("{name}={value}"));
        assert_eq!(parsed("A=1").as_deref(), Some("A=1"));
        assert_eq!(parsed("export A=b c=d").as_deref(), Some("A=b c=d"));
        assert_eq!(parsed("A='x y'").as_deref(), Some("A=x y"));
        assert_eq!(parsed("A=\"x\"").as_deref(), Some("A=x"));
        assert_eq!(parsed("A=\"").as_deref(), Some("A=\""));
        for line in ["", "# A=1", "A", "=1", "1A=2", "A B=1", "A=\0"] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
