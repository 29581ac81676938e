//! A thousand requests a minute.

use blackbox::Server;

use super::session_create;

#[test]
fn a_session_has_a_thousand_requests_a_minute() {
    let server = Server::start();
    let (id, other) = (session_create(&server), session_create(&server));
    let ask = |id: &str| server.get(&format!("/api/env/{id}"));
    let (mut refused, mut passed) = (None, 0);
    // On a machine so slow that a minute is over before, a second one has as many.
    for _ in 0..3000 {
        let answer = ask(&id);
        assert_eq!(answer.header("ratelimit-limit"), Some("1000"));
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
        passed += 1;
    }
    let refused = refused.expect("no more than a thousand pass");
    assert_eq!(passed % 1000, 0, "a thousand pass");
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry));
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    assert_eq!(refused.error(429), "Too many requests: a session may have 1000 a minute");
    assert_eq!(ask(&other).status, 200, "each session has its own");
}
