//! What every request passes, tried on a small router.

mod document;
mod keys;
mod logs;

use std::collections::BTreeMap;

use axum::{
    Json,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{error::server_error_text, extract::JsonBody};

/// The real edge around `/read`, `/fail` and `/write`, the latter taking bodies of at most 32 bytes.
fn small() -> Router {
    let settings = Arc::new(ApiSettings { body_bytes_max: 32, ..ApiSettings::default() });
    let routes = Router::new()
        .route("/read", get(async || "read"))
        .route("/write", post(async |JsonBody(body): JsonBody<BTreeMap<String, u8>>| Json(body)))
        .route("/fail", get(async || fail()));
    edge(unknown_answer(routes.with_state(Arc::clone(&settings))), settings)
}

fn fail() -> Response<Body> {
    let cause = std::io::Error::other("/var/lib/secret");
    let text = server_error_text(&engine::Error::internal(cause));
    error::error_response(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost:8080")
}

async fn answer(request: Request<Body>) -> (Response<()>, Value) {
    let response = small().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn an_unknown_route_is_404_in_json() {
    let (head, body) = answer(request("GET", "/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    assert_eq!(head.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(body, json!({"error": "there is no /nothing; see /openapi.json"}));
}

#[tokio::test]
async fn a_tunnel_is_refused_by_what_it_would_lead_to() {
    let tunnel = Request::builder().method("CONNECT").uri("localhost:80").header("host", "localhost:80");
    let (head, body) = answer(tunnel.body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    assert_eq!(body, json!({"error": "there is no localhost:80; see /openapi.json"}));
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_right_ones() {
    let (head, body) = answer(request("DELETE", "/read").body(Body::empty()).unwrap()).await;
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(head.headers()[header::ALLOW], "GET,HEAD");
    assert_eq!(body, json!({"error": "DELETE is not allowed here; see the Allow header"}));
}

#[tokio::test]
async fn a_body_passes_up_to_its_limit() {
    let fits = r#"{"a": 1, "b": 2, "c": 3, "d": 4}"#;
    assert_eq!(fits.len(), 32);
    let (head, body) = answer(request("POST", "/write").body(Body::from(fits)).unwrap()).await;
    assert_eq!((head.status(), body), (StatusCode::OK, json!({"a": 1, "b": 2, "c": 3, "d": 4})));

    let larger = format!("{fits} ");
    for length in [Some("33"), None] {
        let builder = request("POST", "/write");
        let builder =
            length.into_iter().fold(builder, |it, length| it.header(header::CONTENT_LENGTH, length));
        let (head, body) = answer(builder.body(Body::from(larger.clone())).unwrap()).await;
        assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(body, json!({"error": "the body is larger than the maximum of 32 bytes"}));
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_kind_is_400_in_json() {
    let cases = [
        ("application/json", "{\"a\":", "the body is not valid JSON"),
        ("application/json", "{\"a\":\"b\"}", "a: invalid type"),
        ("application/json", "", "the request has no body"),
        ("text/plain", "{\"a\":1}", "Content-Type: "),
    ];
    for (content_type, sent, expected) in cases {
        let request = request("POST", "/write").header(header::CONTENT_TYPE, content_type);
        let (head, body) = answer(request.body(Body::from(sent)).unwrap()).await;
        assert_eq!(head.status(), StatusCode::BAD_REQUEST);
        assert!(body["error"].as_str().unwrap().starts_with(expected), "{body}");
    }
}

#[tokio::test]
async fn a_foreign_page_gets_403_on_every_path() {
    for (method, path, host, origin) in [
        ("GET", "/read", "evil.example", None),
        ("GET", "/nothing", "evil.example", None),
        ("POST", "/write", "localhost:8080", Some("https://evil.example")),
        ("DELETE", "/read", "localhost:8080", Some("https://evil.example")),
    ] {
        let builder = Request::builder().method(method).uri(path).header(header::HOST, host);
        let builder = origin.into_iter().fold(builder, |it, origin| it.header(header::ORIGIN, origin));
        let (head, body) = answer(builder.body(Body::from("{}")).unwrap()).await;
        assert_eq!(head.status(), StatusCode::FORBIDDEN, "{method} {path}");
        assert!(body["error"].is_string());
    }
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    for (method, path, host) in
        [("GET", "/read", "localhost"), ("GET", "/nothing", "localhost"), ("GET", "/read", "evil.example")]
    {
        let ask = |id: Option<&str>| {
            let builder = Request::builder().method(method).uri(path).header(header::HOST, host);
            let builder = id.into_iter().fold(builder, |it, id| it.header("x-request-id", id));
            builder.body(Body::empty()).unwrap()
        };
        let (head, _) = answer(ask(Some("client-7"))).await;
        assert_eq!(head.headers()["x-request-id"], "client-7");
        let (head, _) = answer(ask(None)).await;
        assert!(!head.headers()["x-request-id"].is_empty());
    }
}

#[tokio::test]
async fn an_internal_error_shows_the_request_id_and_nothing_else() {
    let request = request("GET", "/fail").header("x-request-id", "client-8").body(Body::empty()).unwrap();
    let (head, body) = answer(request).await;
    assert_eq!(head.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, json!({"error": "Internal error (request client-8)"}));
}
