//! `atoll keys`, with and without a server.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
    process::{Command, Output},
};

use blackbox::{Server, atoll, keys_command};
use serde_json::{Value, json};

/// A data directory that no server has seen.
struct Fresh(PathBuf);

impl Fresh {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(format!("/var/tmp/atoll-keys-{name}-{}", std::process::id())))
    }

    fn keys(&self, arguments: &[&str]) -> Output {
        keys_command(&self.0, arguments[0]).args(&arguments[1..]).output().unwrap()
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn keys_are_made_listed_and_revoked_before_the_first_server() {
    let data = Fresh::new("fresh");
    assert!(refused(&data.keys(&["list"])).contains("atoll keys create"));
    assert!(!data.0.exists(), "looking makes nothing");
    let key = stdout(&data.keys(&["create", "--name", "build"]));
    assert_eq!((key.len(), key.ends_with('\n')), (52, true), "the key alone, for scripts: {key:?}");
    let made: Value = serde_json::from_str(&stdout(&data.keys(&["create", "--admin", "--json"]))).unwrap();
    assert_eq!((&made["id"], &made["admin"]), (&json!(2), &json!(true)), "{made}");
    let owner = fs::metadata(data.0.join("server/atoll.db")).unwrap();
    assert_eq!((owner.uid(), owner.mode() & 0o777), (61000, 0o600), "the server can use it");
    assert_eq!(stdout(&data.keys(&["revoke", "1"])), "1\n");
    let list: Value = serde_json::from_str(&stdout(&data.keys(&["list", "--json"]))).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["revoked_at"]), (&json!(2), &Value::Null), "{list}");
    assert_eq!(list[1]["key"], format!("{}...", &key[..9]));
    assert!(list[1]["revoked_at"].is_string(), "{list}");
    let table = stdout(&data.keys(&["list"]));
    assert!(table.contains("build") && table.contains("revoked") && !table.contains(&key[9..51]), "{table}");
    assert!(refused(&data.keys(&["revoke", "9"])).contains("Key 9 not found"));
    assert!(refused(&data.keys(&["create", "--name", "a\nb"])).contains("name"));
}

#[test]
fn a_key_that_could_not_be_printed_does_not_count() {
    let data = Fresh::new("unprinted");
    for (arguments, id) in [(&["create"][..], 1), (&["create", "--admin", "--json"], 2)] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = keys_command(&data.0, arguments[0]).args(&arguments[1..]).stdout(full).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("key {id} is revoked")), "{text}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = keys_command(&data.0, "create").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    let list: Value = serde_json::from_str(&stdout(&data.keys(&["list", "--json"]))).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|key| key["revoked_at"].is_string()), "{list:?}");
}

#[test]
fn the_commands_for_a_server_take_a_key() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let id = server.with_key(&key).create(&json!({"runtime": "bash", "code": "echo line"}));
    let command = |arguments: &[&str]| {
        let mut command = Command::new(atoll());
        command.args(arguments).args(["--server", server.base()]).env_remove("ATOLL_KEY");
        command
    };
    let without = refused(&command(&["ps"]).output().unwrap());
    assert!(without.contains("401") && without.contains("ATOLL_KEY"), "{without}");
    assert!(stdout(&command(&["ps"]).env("ATOLL_KEY", &key.text).output().unwrap()).contains(&id));
    assert_eq!(stdout(&command(&["rm", &id, "--key", &key.text]).output().unwrap()), format!("{id}\n"));
    let broken = refused(&command(&["ps"]).env("ATOLL_KEY", format!("{}\n", key.text)).output().unwrap());
    assert!(broken.contains("characters that no key has") && !broken.contains(&key.text), "{broken}");
    let help = stdout(&command(&["ps", "--help"]).env("ATOLL_KEY", &key.text).output().unwrap());
    assert!(!help.contains(&key.text), "{help}");
}

#[test]
fn a_link_planted_for_the_keys_command_leads_root_nowhere() {
    let data = Fresh::new("link");
    let _ = stdout(&data.keys(&["create"]));
    let target = PathBuf::from(format!("/var/tmp/atoll-keys-target-{}", std::process::id()));
    fs::create_dir_all(&target).unwrap();
    fs::remove_file(data.0.join("server/atoll.db")).unwrap();
    symlink(target.join("made"), data.0.join("server/atoll.db")).unwrap();
    let output = data.keys(&["create"]);
    let made = fs::read_dir(&target).unwrap().count();
    fs::remove_dir_all(&target).unwrap();
    assert_eq!(made, 0, "root has written where the link leads");
    let _ = refused(&output);
}
