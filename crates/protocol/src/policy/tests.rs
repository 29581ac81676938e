//! What policies say of names and addresses. It must not know how they are enforced.

use super::*;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn rules(words: &[(Action, &str)]) -> Vec<Rule> {
    words.iter().map(|(action, text)| Rule { action: *action, target: target(text) }).collect()
}

fn policy(default: Action, words: &[(Action, &str)]) -> NetworkPolicy {
    NetworkPolicy::new(default, rules(words)).unwrap()
}

#[test]
fn targets_are_read_in_one_form() {
    for (text, form) in [
        ("Example.COM.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("_dmarc.xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:DB8::1/32", "2001:db8::/32"),
    ] {
        assert_eq!(target(text).to_string(), form, "{text}");
        assert_eq!(target(form), target(text));
    }
}

#[test]
fn what_is_no_target_is_refused_with_its_text() {
    let long = format!("{}.example", "a".repeat(64));
    let longer = ["a".repeat(60).as_str(); 5].join(".");
    for text in [
        "",
        ".",
        "*",
        "*.",
        "*.*.example",
        "a..example",
        ".example",
        "bücher.example",
        "exa mple",
        "a/b",
        "https://example.com",
        "example.com:443",
        "300.1.1.1",
        "1.2.3",
        "192.0.2.1/33",
        "192.0.2.1/-1",
        "192.0.2.1/+8",
        "192.0.2.1/",
        "::/129",
        "*.192.0.2.1",
        "a\0b.example",
        &long,
        &longer,
    ] {
        let refused = text.parse::<Target>().unwrap_err().to_string();
        assert!(refused.contains(&format!("{:?}", text.chars().take(253).collect::<String>())), "{refused}");
    }
}

#[test]
fn a_wildcard_is_for_names_below_and_not_the_name_itself() {
    let below = target("*.example.com");
    for name in ["a.example.com", "A.B.Example.Com", "a.example.com."] {
        assert!(below.matches_name(name), "{name}");
    }
    for name in ["example.com", ".example.com", "badexample.com", "example.com.evil.test", "com", ""] {
        assert!(!below.matches_name(name), "{name}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    use Action::{Allow, Deny};
    let policy = policy(
        Deny,
        &[(Deny, "bad.example.com"), (Allow, "*.example.com"), (Allow, "192.0.2.0/24"), (Deny, "192.0.2.9")],
    );
    assert_eq!(policy.of_name("bad.example.com"), Decision { action: Deny, rank: 0 });
    assert_eq!(policy.of_name("good.example.com"), Decision { action: Allow, rank: 1 });
    assert_eq!(policy.of_name("other.test"), Decision { action: Deny, rank: 4 });
    let of =
        |address: [u8; 4], names: &[&str]| policy.of_address(address.into(), names.iter().copied()).action;
    assert_eq!(of([192, 0, 2, 9], &[]), Allow, "the network comes first");
    assert_eq!(of([192, 0, 2, 9], &["bad.example.com"]), Deny, "and a name before it");
    assert_eq!(of([203, 0, 113, 1], &[]), Deny);
    assert_eq!(of([203, 0, 113, 1], &["good.example.com"]), Allow);
    assert_eq!(of([203, 0, 113, 1], &["good.example.com", "bad.example.com"]), Deny);
    assert_eq!(policy.denied_names().collect::<Vec<_>>(), ["bad.example.com"]);
}

#[test]
fn a_patch_comes_first_and_its_first_rule_for_a_target_counts() {
    use Action::{Allow, Deny};
    let before = policy(Deny, &[(Allow, "a.test"), (Allow, "*.b.test")]);
    let after = before.patched(rules(&[(Deny, "A.test."), (Allow, "a.test"), (Allow, "c.test")])).unwrap();
    assert_eq!(after, policy(Deny, &[(Deny, "a.test"), (Allow, "c.test"), (Allow, "*.b.test")]));
    assert_eq!(after.without(&[target("c.test"), target("none.test")]).rules().len(), 2);
}

#[test]
fn policies_are_bounded() {
    let rule = |text: String| Rule { action: Action::Deny, target: text.parse().unwrap() };
    let many = (0..=RULES_MAX).map(|number| rule(format!("n{number}.test"))).collect();
    assert_eq!(NetworkPolicy::new(Action::Allow, many), Err(InvalidPolicy::TooManyRules(RULES_MAX + 1)));
    let label = "a".repeat(60);
    let long = (0..200).map(|number| rule(format!("{label}.{label}.{label}.n{number}"))).collect();
    assert_eq!(NetworkPolicy::new(Action::Allow, long), Err(InvalidPolicy::TooLong));
    let ipv6 = rules(&[(Action::Deny, "::/0"), (Action::Allow, "2001:db8::/32")]);
    assert_eq!(NetworkPolicy::new(Action::Deny, ipv6), Err(InvalidPolicy::NoIpv6(1)));
}

#[test]
fn what_is_decoded_is_checked_as_well() {
    let good = policy(Action::Deny, &[(Action::Allow, "*.example.com")]);
    let bytes = postcard::to_stdvec(&good).unwrap();
    assert_eq!(postcard::from_bytes::<NetworkPolicy>(&bytes).unwrap(), good);
    let at = bytes.iter().position(|byte| *byte == b'*').unwrap();
    let mut bad = bytes;
    bad[at] = b'"';
    postcard::from_bytes::<NetworkPolicy>(&bad).unwrap_err();
}
