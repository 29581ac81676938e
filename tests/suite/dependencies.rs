//! Real installations with npm, Bun and pip, inside the sandbox, over the network.

use blackbox::Server;
use serde_json::json;

#[test]
fn npm_installs_for_node() {
    let server = Server::start();
    let id = server.create(&json!({
        "runtime": "node", "install_deps": true, "timeout_ms": 120_000,
        "code": "const ms = require('ms'); console.log(ms('2 days'))",
        "files": [{"path": "package.json", "content": "{\"dependencies\": {\"ms\": \"^2.1.3\"}}"}],
    }));
    assert_eq!(server.run(&id).output(), "172800000\n");
    assert_eq!(server.run(&id).output(), "172800000\n", "again, with the packages there already");
}

#[test]
fn bun_installs_for_bun() {
    let run = Server::start().execute(&json!({
        "runtime": "bun", "install_deps": true, "timeout_ms": 120_000,
        "code": "import ms from 'ms'; console.log(ms(60000))",
        "files": [{"path": "package.json", "content": "{\"dependencies\": {\"ms\": \"^2.1.3\"}}"}],
    }));
    assert_eq!(run.output(), "1m\n");
}

#[test]
fn pip_installs_for_python() {
    let run = Server::start().execute(&json!({
        "runtime": "python", "install_deps": true, "timeout_ms": 120_000,
        "code": "import idna\nprint(idna.encode('bücher.example').decode())",
        "files": [{"path": "requirements.txt", "content": "idna>=3\n"}],
    }));
    assert_eq!(run.output(), "xn--bcher-kva.example\n");
}

#[test]
fn a_package_that_does_not_exist_is_the_failure_of_the_run() {
    let run = Server::start().execute(&json!({
        "runtime": "node", "install_deps": true, "timeout_ms": 120_000, "code": "console.log('must not run')",
        "files": [{"path": "package.json", "content": "{\"dependencies\": {\"ms\": \"^999.0.0\"}}"}],
    }));
    assert!(!run.success && run.exit_code != 0, "{run:?}");
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("ms@^999.0.0"), "{run:?}");
}

#[test]
fn without_install_deps_nothing_is_installed() {
    let server = Server::start();
    for runtime in ["node", "bun"] {
        let run = server.execute(&json!({
            "runtime": runtime, "code": "require('ms')",
            "files": [{"path": "package.json", "content": "{\"dependencies\": {\"ms\": \"^2.1.3\"}}"}],
        }));
        assert!(!run.success && run.stderr.contains("ms"), "{run:?}");
    }
}
