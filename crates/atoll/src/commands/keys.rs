//! `atoll keys`: makes, lists and revokes keys of a data directory, whether or not a server runs on it.
//!
//! Root only looks who owns the server's folder, and gives up all its power before it opens anything in there:
//! a server that was taken over may have left links, or a database of its own making.

use std::{path::Path, process::ExitCode, thread::sleep};

use engine::keys::{Key, NOTICED_WITHIN, key_create, key_list, key_revoke};
use protocol::HostPath;
use serde_json::{Value, json};
use storage::layout::DataDir;
use store::Store;

use crate::{
    cli::{KeysCommand, KeysCreateOptions, KeysListOptions, KeysRevokeOptions},
    config::server_uid,
    failure::{During, Failure, Outcome},
    terminal::{print, say},
};

/// Who it was, in the trail of events.
const OPERATOR: &str = "operator";

pub(crate) fn keys(command: KeysCommand) -> Outcome<ExitCode> {
    match command {
        KeysCommand::Create(options) => create(options),
        KeysCommand::List(options) => list(&options),
        KeysCommand::Revoke(options) => revoke(&options),
    }
}

fn create(options: KeysCreateOptions) -> Outcome<ExitCode> {
    let data = data_dir(&options.data_dir)?;
    if data.server_owner().during("look at the data directory")?.is_none() {
        let uid = server_uid(options.user_id)?;
        data.create(uid, uid).during(&format!("prepare the data directory {}", data.root()))?;
    }
    let store = store_open(&data)?;
    let (key, secret) =
        wait(key_create(&store, options.name, options.admin, OPERATOR))?.during("make a key")?;
    server_notices(&store);
    let text = if options.output.json {
        let mut row = row_of(&key);
        row["key"] = secret.expose().into();
        row.to_string()
    } else {
        secret.expose().to_owned()
    };
    if let Err(failure) = print(&format!("{text}\n")) {
        return Err(take_back(&store, &key, failure));
    }
    if !options.output.json {
        say(format_args!("This is key {}. It is not shown again.", key.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// Revokes a key that could not be printed: nobody has it, and it must not count.
fn take_back(store: &Store, key: &Key, failure: Failure) -> Failure {
    let revoked = wait(key_revoke(store, key.id, OPERATOR))
        .and_then(|revoked| revoked.during(&format!("revoke key {}, which nobody has seen", key.id)));
    server_notices(store);
    match revoked {
        Ok(()) => failure.hint(format!("key {} is revoked, as nobody has seen it; make another", key.id)),
        Err(failure) => failure.hint(format!("revoke it with `atoll keys revoke {}`", key.id)),
    }
}

fn list(options: &KeysListOptions) -> Outcome<ExitCode> {
    let store = store_open(&data_dir(&options.data_dir)?)?;
    let keys = wait(key_list(&store))?.during("list the keys")?;
    if options.output.json {
        print(&format!("{}\n", Value::from(keys.iter().map(row_of).collect::<Vec<_>>())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("{:>4}  {:12}  {:5}  {:7}  {:20}  NAME\n", "ID", "KEY", "ADMIN", "STATE", "CREATED");
    let lines = keys.iter().map(|key| {
        format!(
            "{:>4}  {:12}  {:5}  {:7}  {:20}  {}\n",
            key.id,
            masked(key),
            if key.admin { "yes" } else { "no" },
            if key.revoked_at.is_some() { "revoked" } else { "counts" },
            format!("{:.0}", key.created_at),
            harmless(key.name.as_deref().unwrap_or("-")),
        )
    });
    print(&[head].into_iter().chain(lines).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn revoke(options: &KeysRevokeOptions) -> Outcome<ExitCode> {
    let store = store_open(&data_dir(&options.data_dir)?)?;
    for &id in &options.ids {
        wait(key_revoke(&store, id, OPERATOR))?
            .during(&format!("revoke key {id}"))
            .map_err(|failure| failure.hint("`atoll keys list` shows the numbers"))?;
    }
    server_notices(&store);
    if options.output.json {
        print(&format!("{}\n", json!({ "revoked": options.ids })))?;
    } else {
        print(&options.ids.iter().map(|id| format!("{id}\n")).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn data_dir(root: &Path) -> Outcome<DataDir> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("only root can see and change keys").hint("start it with sudo"));
    }
    DataDir::new(HostPath::new(root)).during("use the data directory")
}

/// Becomes the server's user, and opens the store. There is no way back to root.
fn store_open(data: &DataDir) -> Outcome<Store> {
    let owner = data.server_owner().during("look at the data directory")?.ok_or_else(|| {
        Failure::new(format!("{} is no data directory of Atoll: there are no keys", data.root()))
            .hint("say --data-dir, or make the first key with `atoll keys create`")
    })?;
    jail::privileges::drop_to(owner, owner).during("give up root")?;
    Store::open_beside(&data.database()).during("open the store")
}

/// When this returns, a server that runs has taken note.
fn server_notices(store: &Store) {
    if store.is_beside() {
        sleep(NOTICED_WITHIN);
    }
}

fn wait<T>(future: impl Future<Output = T>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().during("start the runtime")?;
    Ok(runtime.block_on(future))
}

fn row_of(key: &Key) -> Value {
    json!({
        "id": key.id,
        "key": masked(key),
        "name": key.name,
        "admin": key.admin,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    })
}

fn masked(key: &Key) -> String {
    format!("{}...", harmless(&key.prefix))
}

/// A text of the database as a terminal may have it.
fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hostile_database_holds_does_not_reach_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2J\nb é"), "a\u{fffd}[2J\u{fffd}b é");
    }
}
