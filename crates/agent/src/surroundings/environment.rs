//! The environment of what clients run, before a dialect adds to it: the sandbox's, or the agent's own.

use std::collections::BTreeMap;

use super::Accounts;

/// Has the token, and is for nobody to see.
pub(crate) const TOKEN_VARIABLE: &str = "ATOLL_AGENT_TOKEN";
/// The same of an agent that serves the executor.
pub(crate) const SECRET_VARIABLE: &str = "SANDBOX_SECRET";
/// Where programs are looked for when the agent was told nothing.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables for a program of the user `own_uid`, who may be another than the agent's. `given` is what the server
/// has said, if there is one. Reads files.
pub(crate) fn environment_of_user(
    given: Option<&[(String, String)]>,
    accounts: &Accounts,
    own_uid: u32,
    is_other: bool,
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
    variables
}

fn inherited() -> BTreeMap<String, String> {
    let own = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    own.filter(|(name, _)| name != TOKEN_VARIABLE && name != SECRET_VARIABLE).collect()
}
