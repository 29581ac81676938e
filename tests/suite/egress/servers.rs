//! Servers and launchers that die, many sandboxes at once, and what is left in the end.

use std::{process::Command, thread};

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

use super::{
    internet::{Internet, client, guarded},
    sandbox::{Sandbox, allowing, every_way, refused},
};

/// The rules of policies, as the kernel has them.
pub(super) fn table(server: &Server) -> String {
    table_if_there(server).expect("the table is there")
}

fn table_if_there(server: &Server) -> Option<String> {
    let name = format!("atoll-{}-policies", server.instance());
    let listed = Command::new("nft").args(["list", "table", "inet", &name]).output().expect("nft runs");
    listed.status.success().then(|| String::from_utf8(listed.stdout).unwrap())
}

fn zone() -> Value {
    json!({"a.example": [20], "b.example": [21]})
}

/// Tries names and addresses again and again, as long as its server is gone, and writes down what it reached.
const TRY: &str = r#"
import time
with open("/workspace/tried", "w") as file:
    while True:
        print(outcome(lambda: greeted(closed)), outcome(lambda: greeted(opened)), outcome(lambda: resolved("b.example")), file=file, flush=True)
        time.sleep(0.05)
"#;

#[test]
fn a_policy_outlives_its_server_and_is_taken_over() {
    let (internet, mut server, sandbox) =
        guarded(&zone(), |internet| allowing(&["a.example", &internet.address(30)]));
    let key = server.key_create(&["--admin"]);
    assert_eq!(sandbox.reach("report('a', lambda: greeted('a.example'))")["a"], internet.address(20));
    let (opened, closed) = (internet.address(30), internet.address(31));
    let work = sandbox.run("import os\nprint(os.getcwd())");
    let attempts = TRY.replace("/workspace", work.trim());
    sandbox.start(&format!("opened, closed = '{opened}', '{closed}'\n{attempts}"));
    let lines = |sandbox: &Sandbox| -> Vec<String> {
        let file = format!("{}/tried", work.trim());
        let code =
            format!("import os\nprint(open('{file}').read() if os.path.exists('{file}') else '', end='')");
        let text = sandbox.run(&code);
        text.lines().map(str::to_owned).collect()
    };
    wait_until("it tries", || lines(&sandbox).len() > 2);
    server.kill();
    let rules = table(&server);
    assert!(rules.contains("chain sandbox-"), "{rules}");
    thread::sleep(std::time::Duration::from_secs(1));
    server.start_again();
    let sandbox = sandbox.seen_by(&server.with_key(&key));
    for line in lines(&sandbox) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!((words[0], words[1]), ("EHOSTUNREACH", opened.as_str()), "{line}");
        assert!(line.ends_with("no such name"), "{line}");
    }
    // Names are answered again, and other names are not.
    let code = "report('a', lambda: greeted('a.example'))\nreport('b', lambda: resolved('b.example'))";
    let reached = sandbox.reach(code);
    assert_eq!(
        (reached["a"].as_str(), reached["b"].as_str()),
        (internet.address(20).as_str(), "no such name")
    );
    assert_eq!(sandbox.policy("GET", None).json()["policy"], allowing(&["a.example", &opened]));
    sandbox.policy_change("PUT", &allowing(&["b.example"]));
    refused(&sandbox.reach(&every_way(&opened)));
    assert_eq!(sandbox.reach("report('b', lambda: greeted('b.example'))")["b"], internet.address(21));
}

#[test]
fn a_policy_outlives_its_launcher() {
    let (internet, server, sandbox) = guarded(&zone(), |_| allowing(&["a.example"]));
    let code = "report('a', lambda: greeted('a.example'))\nreport('b', lambda: resolved('b.example'))";
    for _ in 0..3 {
        let reached = sandbox.reach(code);
        assert_eq!(
            (reached["a"].as_str(), reached["b"].as_str()),
            (internet.address(20).as_str(), "no such name")
        );
        refused(&sandbox.reach(&every_way(&internet.address(21))));
        server.launcher_kill();
    }
    sandbox.policy_change("PUT", &allowing(&["b.example"]));
    assert_eq!(sandbox.reach("report('b', lambda: greeted('b.example'))")["b"], internet.address(21));
    sandbox.delete();
    wait_until("nothing of it is left", || !table(&server).contains("sandbox-"));
}

#[test]
fn rules_that_somebody_removed_are_there_again_with_the_next_launcher() {
    let (internet, server, sandbox) = guarded(&zone(), |_| allowing(&["a.example"]));
    let name = format!("atoll-{}-policies", server.instance());
    assert!(Command::new("nft").args(["delete", "table", "inet", &name]).status().unwrap().success());
    server.launcher_kill();
    wait_until("the rules are there", || {
        table_if_there(&server).is_some_and(|rules| rules.contains("chain sandbox-"))
    });
    refused(&sandbox.reach(&every_way(&internet.address(20))));
    assert_eq!(sandbox.reach("report('a', lambda: greeted('a.example'))")["a"], internet.address(20));
}

#[test]
fn fifty_sandboxes_have_each_its_own_policy_and_leave_nothing() {
    let zone: serde_json::Map<String, Value> =
        (0..50).map(|number| (format!("n{number}.example"), json!([10 + number % 40]))).collect();
    let internet = Internet::start(&zone.into());
    let server = internet.server();
    let before = server.traces_at_rest();
    let client = client(&server);
    thread::scope(|scope| {
        for number in 0..50 {
            let (client, internet) = (&client, &internet);
            scope.spawn(move || {
                let sandbox = Sandbox::create(client, &allowing(&[&format!("n{number}.example")]));
                let other = (number + 1) % 50;
                let (address, closed) = (internet.address(10 + number % 40), internet.address(10 + other % 40));
                let reached = sandbox.reach(&format!(
                    "report('own', lambda: greeted('n{number}.example'))\nreport('other', lambda: resolved('n{other}.example'))\n\
                     report('address', lambda: greeted('{closed}'))"
                ));
                assert_eq!(reached["own"], address);
                assert_eq!((reached["other"].as_str(), reached["address"].as_str()), ("no such name", "EHOSTUNREACH"));
                sandbox.delete();
            });
        }
    });
    server.nothing_left(&before);
    wait_until("no rule is left", || {
        let rules = table(&server);
        !rules.contains("sandbox-") && !rules.contains("elements")
    });
}
