//! What stands behind a guard that somebody forgot.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use tower::ServiceExt;

use crate::caller::{Asker, Holder, KeyMaker};

#[tokio::test]
async fn a_route_that_nobody_guards_is_closed_by_what_it_takes() {
    let routes = [
        Router::new().route("/", get(async |_: Asker| "in")),
        Router::new().route("/", get(async |_: Holder| "in")),
        Router::new().route("/", get(async |_: KeyMaker| "in")),
    ];
    for router in routes {
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
}
