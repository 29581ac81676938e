//! Pages of other sites.

use blackbox::{Answer, Server, Socket};

use super::session_create;

const PAGE: &str = "https://ide.example";

fn preflight(server: &Server, path: &str, origin: &str) -> Answer {
    let client = server.with_header("origin", origin).with_header("access-control-request-method", "POST");
    client.send("OPTIONS", path, None).unwrap()
}

#[test]
fn any_page_may_use_sessions_and_nothing_else() {
    let server = Server::start();
    let asked = preflight(&server, "/api/sessions", PAGE);
    assert_eq!(asked.status, 204, "{}", asked.text);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"),
        ("access-control-allow-headers", "Content-Type, Authorization"),
    ] {
        assert_eq!(asked.header(name), Some(value));
    }
    let page = server.with_header("origin", PAGE);
    let made = page.post_empty("/api/sessions");
    assert_eq!(made.header("access-control-allow-origin"), Some("*"));
    assert_eq!(made.header("access-control-allow-credentials"), None);
    let id = made.ok()["id"].as_str().unwrap().to_owned();
    assert_eq!(page.get("/api/nothing").header("access-control-allow-origin"), Some("*"), "errors too");
    let headers = [("origin", PAGE)];
    drop(Socket::connect_with(server.address(), &format!("/ws?sessionId={id}"), &headers).unwrap());

    for path in ["/execute", "/sandbox", "/vms", "/v1/sandboxes", "/apix", "/api-keys"] {
        let refused = page.post_empty(path);
        assert_eq!(refused.status, 403, "{path}: {}", refused.text);
        assert_eq!(refused.header("access-control-allow-origin"), None, "{path}");
        assert_ne!(preflight(&server, path, PAGE).status, 204, "{path}");
    }
    let rebound = page.with_header("host", "evil.example").post_empty("/api/sessions");
    assert_eq!(rebound.status, 403, "a name that is not this server's is refused as before");
}

#[test]
fn pages_may_be_chosen() {
    let server = Server::start_with(&["--session-origins", "https://ide.example,http://localhost:3000"]);
    let id = session_create(&server);
    for origin in [PAGE, "http://localhost:3000"] {
        let made = server.with_header("origin", origin).post_empty("/api/sessions");
        assert_eq!((made.status, made.header("access-control-allow-origin")), (200, Some(origin)));
        assert_eq!(made.header("vary"), Some("Origin"));
        assert_eq!(preflight(&server, "/api/sessions", origin).status, 204);
    }
    for origin in ["https://evil.example", "https://ide.example.evil", "null", "http://ide.example"] {
        let refused = server.with_header("origin", origin).post_empty("/api/sessions");
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None), "{origin}");
        assert_ne!(preflight(&server, "/api/sessions", origin).status, 204, "{origin}");
        let path = format!("/ws?sessionId={id}");
        assert_eq!(Socket::connect_with(server.address(), &path, &[("origin", origin)]).err(), Some(403));
    }
}
