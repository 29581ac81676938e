//! Changes of a policy while its sandbox runs: at once, also for what is open.

use serde_json::json;

use super::{
    internet::{client, guarded},
    sandbox::{Sandbox, allowing, denying, every_way, refused, rule},
};

#[test]
fn a_change_is_in_force_when_it_is_answered() {
    let zone = json!({"a.example": [20], "b.example": [21]});
    let (internet, _server, sandbox) = guarded(&zone, |_| allowing(&["a.example"]));
    let both = "report('a', lambda: greeted('a.example'))\nreport('b', lambda: greeted('b.example'))";
    let (a, b) = (internet.address(20), internet.address(21));
    let expect = |first: &str, second: &str| {
        let outcomes = sandbox.reach(both);
        assert_eq!((outcomes["a"].as_str(), outcomes["b"].as_str()), (first, second));
    };
    expect(&a, "no such name");
    let patched =
        sandbox.policy_change("PATCH", &json!([rule("allow", "b.example"), rule("deny", "b.example")]));
    assert_eq!(
        patched["policy"],
        allowing(&["b.example", "a.example"]),
        "the newest first, and the first of two"
    );
    expect(&a, &b);
    sandbox.policy_change("PATCH", &json!([rule("deny", "a.example")]));
    expect("no such name", &b);
    refused(&sandbox.reach(&every_way(&a)));
    let removed = sandbox.policy_change("DELETE", &json!(["b.example", "unknown.example"]));
    assert_eq!(removed["policy"]["egress"], json!([rule("deny", "a.example")]));
    expect("no such name", "no such name");
    refused(&sandbox.reach(&every_way(&b)));
    let open = sandbox.policy_change("PUT", &json!({}));
    assert_eq!(open["policy"], json!({"defaultAction": "allow", "egress": []}));
    expect(&a, &b);
    sandbox.policy_change("PUT", &denying(&[&a]));
    expect("EHOSTUNREACH", &b);
    assert_eq!(sandbox.policy("GET", None).json()["policy"], denying(&[&a]));
}

/// Keeps connections open: to each address that `names` has, echoing a line as often as it is told.
const KEEP: &str = r#"
import os, time
kept = {}
for name in names:
    kept[name] = socket.create_connection((name, 80), timeout=5)
    kept[name].recv(64)
def echo(connection):
    connection.send(b"still")
    assert connection.recv(64) == b"still"
open("/tmp/open", "w").close()
for step in ("one", "two"):
    while not os.path.exists("/tmp/" + step):
        time.sleep(0.02)
    with open("/tmp/draft", "w") as file:
        for name, connection in kept.items():
            print(name, outcome(lambda: echo(connection)), sep="\t", file=file)
    os.rename("/tmp/draft", "/tmp/" + step + ".done")
"#;

/// What has come of the connections that are kept open, after a step.
fn after(sandbox: &Sandbox, step: &str) -> std::collections::BTreeMap<String, String> {
    sandbox.reach(&format!(
        "import os, time\nopen('/tmp/{step}', 'w').close()\nwhile not os.path.exists('/tmp/{step}.done'): time.sleep(0.02)\n\
         print(open('/tmp/{step}.done').read(), end='')"
    ))
}

#[test]
fn what_is_open_goes_on_where_it_may_and_ends_where_it_may_not() {
    let zone = json!({"a.example": [20], "b.example": [21], "c.example": [22]});
    let (internet, _server, sandbox) = guarded(&zone, |internet| {
        allowing(&["a.example", "b.example", &internet.address(30), &internet.address(31)])
    });
    let names = format!("['a.example', 'b.example', '{}', '{}']", internet.address(30), internet.address(31));
    sandbox.start(&format!("names = {names}\n{KEEP}"));
    sandbox.run("import os, time\nwhile not os.path.exists('/tmp/open'): time.sleep(0.02)");
    let kept = allowing(&["b.example", &internet.address(31), "c.example"]);
    sandbox.policy_change("PUT", &kept);
    for step in ["one", "two"] {
        let outcomes = after(&sandbox, step);
        assert_eq!(outcomes["b.example"], "ok");
        assert_eq!(outcomes[&internet.address(31)], "ok");
        for closed in ["a.example".to_owned(), internet.address(30)] {
            assert!(["ECONNRESET", "EPIPE"].contains(&outcomes[&closed].as_str()), "{outcomes:?}");
        }
    }
}

#[test]
fn a_change_for_one_leaves_its_neighbour_alone() {
    let zone = json!({"a.example": [20], "b.example": [21]});
    let (internet, server, sandbox) = guarded(&zone, |_| allowing(&["a.example"]));
    let neighbour = Sandbox::create(&client(&server), &allowing(&["a.example"]));
    neighbour.start(&format!("names = ['a.example']\n{KEEP}"));
    neighbour.run("import os, time\nwhile not os.path.exists('/tmp/open'): time.sleep(0.02)");
    sandbox.policy_change("PUT", &allowing(&["b.example"]));
    assert_eq!(after(&neighbour, "one")["a.example"], "ok");
    let both = "report('a', lambda: greeted('a.example'))\nreport('b', lambda: greeted('b.example'))";
    assert_eq!(sandbox.reach(both)["a"], "no such name");
    assert_eq!(neighbour.reach(both)["a"], internet.address(20));
    sandbox.delete();
    assert_eq!(after(&neighbour, "two")["a.example"], "ok");
    assert_eq!(neighbour.reach(both)["b"], "no such name");
}

#[test]
fn a_name_that_moves_is_followed() {
    let (internet, _server, sandbox) = guarded(&json!({"a.example": [20]}), |_| allowing(&["a.example"]));
    let code = "report('a', lambda: greeted('a.example'))";
    assert_eq!(sandbox.reach(code)["a"], internet.address(20));
    internet.zone_set(&json!({"a.example": [35]}));
    assert_eq!(sandbox.reach(code)["a"], internet.address(35));
    internet.zone_set(&json!({}));
    assert_eq!(sandbox.reach(code)["a"], "no such name");
}
