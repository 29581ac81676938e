//! `atoll volume`: what is listed, and what is removed.

use std::process::{Command, Output};

use blackbox::atoll;
use serde_json::{Value, json};

use super::{delete, keyed, named, names, sandbox, with};

#[test]
fn volumes_are_listed_and_removed_by_name_and_id() {
    let server = blackbox::Server::start();
    let key = server.key_create(&["--admin"]).text;
    let client = server.with_header("OPEN-SANDBOX-API-KEY", &key);
    let other = keyed(&server);
    let command = |arguments: &[&str]| -> Output {
        let options = ["--server", server.base(), "--key", &key];
        Command::new(atoll()).arg("volume").args(arguments).args(options).output().unwrap()
    };
    let list = || -> Value { serde_json::from_slice(&command(&["list", "--json"]).stdout).unwrap() };
    assert_eq!(list(), json!([]));
    let used = sandbox(&client, &[named("used")]);
    let small = with(named("small"), &json!({"pvc": {"claimName": "small", "storage": "64Mi"}}));
    delete(&client, &sandbox(&client, &[small]));
    delete(&other, &sandbox(&other, &[named("theirs")]));

    let listed = list();
    let called: Vec<&str> =
        listed.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(called, ["small", "theirs", "used"]);
    assert_eq!(listed[0]["bytes"], 64 << 20);
    assert_ne!(listed[0]["owner"], listed[1]["owner"]);
    let table = String::from_utf8(command(&["list"]).stdout).unwrap();
    let id = listed[1]["id"].as_str().unwrap();
    assert!(table.contains(id) && table.contains("64 MB  small"), "{table}");

    let busy = command(&["rm", "used", "small"]);
    let text = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && text.contains("in use"), "{text}");
    assert_eq!(busy.stdout, b"small\n");
    // Another's is called by its id.
    let missing = command(&["rm", "theirs"]);
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && text.contains("atoll volume list"), "{text}");
    let removed = command(&["rm", id, "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&removed.stdout).unwrap(), json!({"removed": [id]}));
    assert_eq!(names(&client), ["used"]);
    delete(&client, &used);
    assert!(command(&["rm", "used"]).status.success());
    assert_eq!((names(&client), names(&other)), (vec![], vec![]));
    for wrong in ["../x", "a b", ""] {
        assert!(!command(&["rm", wrong]).status.success(), "{wrong}");
    }
}
