//! The environment of what clients run: the sandbox's, or the agent's own, what was set with `$EXECD_ENVS`, what the request says.

use std::{collections::BTreeMap, path::Path};

use crate::surroundings::{Accounts, environment_of_user, small_file_read};

/// Names the file to which clients append variables for all that runs later.
const FILE_VARIABLE: &str = "EXECD_ENVS";
/// Its name in the home folder unless the environment says another.
const FILE_NAME: &str = ".execd_envs";

/// The variables for a program of the user `uid`, or of `own`, who may be another than the agent's. `given` is what the
/// server has said, if there is one. Reads files.
pub(super) fn environment_of(
    given: Option<&[(String, String)]>,
    accounts: &Accounts,
    (own_uid, is_other): (u32, bool),
    uid: Option<u32>,
    requested: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = environment_of_user(given, accounts, own_uid, is_other);
    let home = variables.get("HOME").map_or("/", String::as_str).trim_end_matches('/');
    let file = format!("{home}/{FILE_NAME}");
    let file = variables.entry(FILE_VARIABLE.to_owned()).or_insert(file).clone();
    if let Some(user) = uid.and_then(|uid| accounts.user(uid)) {
        variables.insert("HOME".to_owned(), user.home.clone());
        variables.insert("USER".to_owned(), user.name.clone());
        variables.insert("LOGNAME".to_owned(), user.name.clone());
    }
    variables.extend(variables_parse(&small_file_read(Path::new(&file))));
    variables.extend(requested);
    variables
}

/// Lines of `NAME=value`, with `export` before or not. A value in single quotes is as it stands, over several lines too; in
/// double quotes a backslash says what follows. Other lines say nothing.
fn variables_parse(mut text: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    while !text.is_empty() {
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        let whole = std::mem::replace(&mut text, after);
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        if !is_name(name) {
            continue;
        }
        // The value's begin in all that is left, not only in its line.
        let begin = &whole[line.len() - value.len()..];
        let value = if let Some((literal, after)) = begin.strip_prefix('\'').and_then(literal_take) {
            text = after;
            literal.to_owned()
        } else {
            let value = value.trim_end();
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            quoted.map_or_else(|| value.to_owned(), unescape)
        };
        if !value.contains('\0') {
            variables.push((name.to_owned(), value));
        }
    }
    variables
}

/// What is before the quote that ends a line, and the lines after it.
fn literal_take(text: &str) -> Option<(&str, &str)> {
    text.match_indices('\'').find_map(|(at, quote)| {
        let (end, after) =
            text[at + quote.len()..].split_once('\n').unwrap_or((&text[at + quote.len()..], ""));
        end.trim().is_empty().then_some((&text[..at], after))
    })
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let meant = match (character, characters.clone().next()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some(other)) => other,
            (other, _) => {
                plain.push(other);
                continue;
            }
        };
        plain.push(meant);
        characters.next();
    }
    plain
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let variables = variables_parse(text).into_iter();
        variables.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn variables_are_read_as_clients_write_them() {
        for (line, expected) in [
            ("A=1", "A=1"),
            ("export A=b c=d", "A=b c=d"),
            ("A='x y'", "A=x y"),
            (r#"A="x""#, "A=x"),
            (r#"A=""#, r#"A=""#),
            ("A='", "A='"),
            (r#"A='$B \n "c"'"#, r#"A=$B \n "c""#),
            (r#"A="it's \"so\"\n\t\\n""#, "A=it's \"so\"\n\t\\n"),
            ("A='one\ntwo=2\n'\nB=3", "A=one\ntwo=2\n|B=3"),
            ("A='one\nB=2", "A='one|B=2"),
            ("A=1\n\nB=2\nA=3\n", "A=1|B=2|A=3"),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
        for line in ["", "# A=1", "A", "=1", "1A=2", "A B=1", "A=\0"] {
            assert_eq!(parsed(line), "", "{line}");
        }
    }
}
