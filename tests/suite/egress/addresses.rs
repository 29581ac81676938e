//! Addresses: what rules about them open, and what stays closed whatever rules say.

use serde_json::json;

use super::{
    internet::{client, guarded},
    sandbox::{Sandbox, allowing, denying, every_way, refused, rule},
};

#[test]
fn allowed_addresses_are_reached_and_their_neighbours_are_not() {
    let (internet, _server, sandbox) = guarded(&json!({}), |internet| {
        allowing(&[&internet.address(30), &format!("{}.40/30", internet.net)])
    });
    for last in [30, 40, 43] {
        let ways = sandbox.reach(&every_way(&internet.address(last)));
        assert_eq!(ways["tcp"], internet.address(last), "{ways:?}");
        assert_eq!((ways["udp"].as_str(), ways["icmp"].as_str()), ("ok", "ok"));
    }
    for last in [29, 31, 39, 44] {
        refused(&sandbox.reach(&every_way(&internet.address(last))));
    }
}

#[test]
fn the_first_rule_about_an_address_decides() {
    let (internet, _server, sandbox) = guarded(&json!({"name.example": [32, 33]}), |internet| {
        json!({"defaultAction": "deny", "egress": [
            rule("deny", &internet.address(32)), rule("allow", "name.example"),
            rule("deny", &format!("{}.33/32", internet.net)), rule("allow", &format!("{}.0/24", internet.net)),
        ]})
    });
    assert_eq!(
        sandbox.reach("report('name', lambda: resolved('name.example'))")["name"],
        internet.address(32)
    );
    refused(&sandbox.reach(&every_way(&internet.address(32))));
    assert_eq!(sandbox.reach(&every_way(&internet.address(33)))["tcp"], internet.address(33), "by its name");
    assert_eq!(sandbox.reach(&every_way(&internet.address(34)))["tcp"], internet.address(34));
}

#[test]
fn what_is_closed_to_all_stays_closed_whatever_a_policy_allows() {
    let (internet, server, sandbox) = guarded(&json!({"inside.example": [30]}), |_| {
        allowing(&["0.0.0.0/0", "169.254.169.254", "*.example"])
    });
    let host = internet.address(1);
    let port = server.address().port();
    let code = format!(
        "for address in ('169.254.169.254', '10.0.0.1', '172.17.0.1', '192.168.1.1', '100.100.100.200'):\n    \
         report(address, lambda: greeted(address))\nreport('host', lambda: socket.create_connection(('{host}', {port}), timeout=2).close())\n\
         report('control', lambda: greeted('inside.example'))"
    );
    let mut outcomes = sandbox.reach(&code);
    assert_eq!(outcomes.remove("control").unwrap(), internet.address(30));
    assert_eq!(outcomes.remove("host").unwrap(), "nothing");
    refused(&outcomes);
}

#[test]
fn a_policy_of_one_is_nothing_to_another() {
    let (internet, server, guarded) = guarded(&json!({}), |internet| denying(&[&internet.address(30)]));
    let client = client(&server);
    let open = Sandbox::create(&client, &serde_json::Value::Null);
    let other = Sandbox::create(&client, &denying(&[&internet.address(31)]));
    let (first, second) = (every_way(&internet.address(30)), every_way(&internet.address(31)));
    refused(&guarded.reach(&first));
    refused(&other.reach(&second));
    for (sandbox, code, last) in
        [(&guarded, &second, 31), (&other, &first, 30), (&open, &first, 30), (&open, &second, 31)]
    {
        assert_eq!(sandbox.reach(code)["tcp"], internet.address(last));
    }
}

#[test]
fn a_policy_that_is_none_is_refused_with_its_field() {
    let (_internet, server, sandbox) = guarded(&json!({}), |_| allowing(&["good.example"]));
    let client = client(&server);
    for (policy, field) in [
        (json!({"defaultAction": "maybe"}), "networkPolicy.defaultAction"),
        (
            json!({"egress": [rule("allow", "a.example"), rule("drop", "b.example")]}),
            "networkPolicy.egress[1].action",
        ),
        (json!({"egress": [rule("allow", "https://a.example/")]}), "networkPolicy.egress[0].target"),
        (json!({"egress": [rule("allow", "192.0.2.1/33")]}), "networkPolicy.egress[0].target"),
        (json!({"egress": [rule("allow", "2001:db8::/32")]}), "networkPolicy"),
        (json!({"egress": vec![rule("deny", "a.example"); 513]}), "networkPolicy"),
    ] {
        let body = json!({"image": {"uri": "host"}, "resourceLimits": {"memory": "256Mi"}, "entrypoint": ["true"], "networkPolicy": policy});
        for answer in [client.post("/v1/sandboxes", &body), sandbox.policy("PUT", Some(&policy))] {
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert!(
                answer.json()["message"].as_str().unwrap().starts_with(&format!("{field}: ")),
                "{}",
                answer.text
            );
        }
    }
    assert_eq!(sandbox.policy("GET", None).json()["policy"], allowing(&["good.example"]));
}
