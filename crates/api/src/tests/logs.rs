//! What is logged of a request, and what is not.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::Request, routing::get};
use serde_json::Value;
use tower::ServiceExt;
use tracing::instrument::WithSubscriber;

use super::fail;
use crate::{ApiSettings, edge};

/// Lines of the log, one JSON object each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged while `path` is asked for with the request id `client-9`.
async fn logged(path: &str, level: tracing::Level) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(level).with_writer(move || writer.clone()).finish();
    let routes =
        Router::new().route("/things/{id}", get(async || "read")).route("/fail", get(async || fail()));
    let request = Request::builder().uri(path).header("host", "localhost").header("x-request-id", "client-9");
    let request = request.body(Body::empty()).unwrap();
    let router = edge(routes, Arc::new(ApiSettings::default()));
    router.oneshot(request).with_subscriber(subscriber).await.unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_one_line_with_its_pattern_and_without_its_path() {
    let lines = logged("/things/secret-id?token=secret", tracing::Level::DEBUG).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let fields = &lines[0]["fields"];
    assert_eq!(lines[0]["target"], "atoll::access");
    assert_eq!(fields["request_id"], "client-9");
    assert_eq!(fields["method"], "GET");
    assert_eq!(fields["route"], "/things/{id}");
    assert_eq!(fields["status"], 200);
    assert!(fields["duration_us"].is_u64());
    assert!(!lines[0].to_string().contains("secret"));
    assert_eq!(logged("/secret", tracing::Level::DEBUG).await[0]["fields"]["route"], "(none)");
}

#[tokio::test]
async fn an_internal_error_is_logged_once_with_its_cause_and_the_request_id() {
    let lines = logged("/fail", tracing::Level::INFO).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["level"], "ERROR");
    assert_eq!(lines[0]["fields"]["request_id"], "client-9");
    assert!(lines[0]["fields"]["error"].as_str().unwrap().contains("/var/lib/secret"));
}
