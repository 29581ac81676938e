//! Environment variables: what can be one (environ(7)), and how large (execve(2)).

use std::collections::BTreeMap;

use super::super::env_value::EnvValue;
use crate::reject::Rejection;

/// The longest `name=value`, its closing NUL included: 32 pages (execve(2), "Limits on size of arguments").
const VARIABLE_BYTES_MAX: usize = 32 * 4096;
/// All variables together. The kernel takes a quarter of the stack's limit, 2 MiB, with the arguments.
const ENV_BYTES_MAX: usize = 1 << 20;

/// The variables, checked.
pub(super) fn env(variables: BTreeMap<String, EnvValue>) -> Result<Vec<(String, String)>, Rejection> {
    let mut whole_bytes = 0;
    for (name, EnvValue(value)) in &variables {
        let bytes = name.len() + value.len() + 2;
        whole_bytes += bytes;
        let problem = if name.is_empty() {
            "a name is empty".to_owned()
        } else if name.contains(['=', '\0']) {
            format!("the name {name:?} contains `=` or NUL")
        } else if value.contains('\0') {
            format!("the value of {name:?} contains NUL")
        } else if bytes > VARIABLE_BYTES_MAX {
            format!("a variable is larger than {VARIABLE_BYTES_MAX} bytes")
        } else if whole_bytes > ENV_BYTES_MAX {
            format!("all variables together are larger than {ENV_BYTES_MAX} bytes")
        } else {
            continue;
        };
        return Err(Rejection::field("env_vars", problem));
    }
    Ok(variables.into_iter().map(|(name, EnvValue(value))| (name, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), EnvValue(value.to_string())));
        env(variables.collect()).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn any_other_name_and_value_is_taken() {
        let variables = [("B.c-d", "x=y\n"), ("EMPTY", ""), ("ключ", "значение")];
        let expected: Vec<_> =
            variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(checked(&variables).unwrap(), expected);
    }

    #[test]
    fn what_the_kernel_cannot_pass_on_is_refused() {
        assert_eq!(checked(&[("", "x")]).unwrap_err(), "env_vars: a name is empty");
        assert_eq!(checked(&[("A=B", "x")]).unwrap_err(), r#"env_vars: the name "A=B" contains `=` or NUL"#);
        assert_eq!(checked(&[("A\0", "x")]).unwrap_err(), r#"env_vars: the name "A\0" contains `=` or NUL"#);
        assert_eq!(checked(&[("A", "x\0")]).unwrap_err(), r#"env_vars: the value of "A" contains NUL"#);
    }

    #[test]
    fn sizes_have_a_limit() {
        let fits = "x".repeat(VARIABLE_BYTES_MAX - 3);
        assert!(checked(&[("A", &fits)]).is_ok());
        assert!(checked(&[("AB", &fits)]).unwrap_err().contains("131072"));
        let names: Vec<String> = (0..9).map(|index| format!("{index}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), fits.as_str())).collect();
        assert!(checked(&many[..8]).is_ok());
        assert!(checked(&many).unwrap_err().contains("1048576"));
    }
}
