//! The budget, tried on a small router: who waits, who is refused, and that everything is given back.

use std::io;

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    routing::{get, post},
};
use futures::{StreamExt, stream};
use tower::ServiceExt;

use super::*;
use crate::limits::body_read;

const BUDGET_BYTES: usize = 1 << 20;
/// What it takes of the budget, with its small part, is all of it.
const LARGE_BYTES: usize = BUDGET_BYTES + SMALL_BYTES;

/// Takes bodies on `/`; gives as many bytes as asked for on `/{bytes}`.
fn small() -> (Router, Arc<Budget>) {
    let budget = Arc::new(Budget::new(BUDGET_BYTES));
    let take = async |request: Request| body_read(request, 64 << 20).await.map(|body| body.len().to_string());
    let give = async |axum::extract::Path(bytes): axum::extract::Path<usize>| "x".repeat(bytes);
    let router = Router::new()
        .route("/", post(take))
        .route("/{bytes}", get(give))
        .layer(middleware::from_fn_with_state(Arc::clone(&budget), memory_bound));
    (router, budget)
}

async fn send(router: &Router, body: Body) -> Response {
    router.clone().oneshot(Request::post("/").body(body).unwrap()).await.unwrap()
}

fn ask(bytes: usize, unwritten: &Unwritten) -> Request {
    let mut request = Request::get(format!("/{bytes}")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(unwritten.clone());
    request
}

/// A body of so many bytes, after which nothing comes for a long time.
fn stalling(bytes: usize) -> Body {
    let pieces = stream::iter(std::iter::repeat_n(Bytes::from_static(&[b' '; 1 << 10]), bytes >> 10));
    Body::from_stream(pieces.map(Ok::<_, io::Error>).chain(stream::pending()))
}

async fn until_taken(budget: &Budget) {
    while budget.bodies.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_over_the_budget_are_refused_with_a_time_to_try_again() {
    let (router, budget) = small();
    let holder = router.clone();
    let holder = tokio::spawn(async move { send(&holder, stalling(LARGE_BYTES)).await });
    until_taken(&budget).await;

    let refused = send(&router, Body::from(vec![b' '; SMALL_BYTES + 1])).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], HeaderValue::from(30));

    // A body that stalls gives its share back when its time is over.
    assert_eq!(holder.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(budget.bodies.available_permits(), BUDGET_BYTES);
    assert_eq!(send(&router, Body::from(vec![b' '; LARGE_BYTES])).await.status(), StatusCode::OK);
    assert_eq!(budget.bodies.available_permits(), BUDGET_BYTES);
}

#[tokio::test(start_paused = true)]
async fn small_bodies_pass_while_large_ones_hold_everything() {
    let (router, budget) = small();
    let holder = router.clone();
    let holder = tokio::spawn(async move { send(&holder, stalling(LARGE_BYTES)).await });
    until_taken(&budget).await;
    let waiting = router.clone();
    let waiting = tokio::spawn(async move { send(&waiting, stalling(LARGE_BYTES)).await });

    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(send(&router, Body::from(vec![b' '; SMALL_BYTES])).await.status(), StatusCode::OK);
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "nothing was waited for");
    assert!(!holder.is_finished() && !waiting.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_its_share() {
    let (router, budget) = small();
    let held = Arc::clone(&budget.bodies).acquire_many_owned(permits(BUDGET_BYTES)).await.unwrap();
    let waiting = router.clone();
    let waiting = tokio::spawn(async move { send(&waiting, Body::from(vec![b' '; LARGE_BYTES])).await });
    tokio::time::sleep(SHARE_WAIT_MAX / 2).await;
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_its_share_so_long_in_all_and_not_for_each_piece() {
    let (router, budget) = small();
    let mut held = Arc::clone(&budget.bodies).acquire_many_owned(permits(BUDGET_BYTES)).await.unwrap();
    let waiting = tokio::spawn(async move { send(&router, stalling(LARGE_BYTES)).await });
    let start = Instant::now();
    while let Some(piece) = held.split(1 << 10) {
        tokio::time::sleep(SHARE_WAIT_MAX / 4).await;
        drop(piece);
        if waiting.is_finished() {
            break;
        }
    }
    assert_eq!(waiting.await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() <= SHARE_WAIT_MAX * 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_request_that_is_dropped_gives_its_share_back() {
    let (router, budget) = small();
    let holder = tokio::spawn(async move { send(&router, stalling(LARGE_BYTES)).await });
    until_taken(&budget).await;
    holder.abort();
    assert!(holder.await.is_err());
    assert_eq!(budget.bodies.available_permits(), BUDGET_BYTES);
}

#[tokio::test]
async fn answers_hold_their_share_until_the_connection_has_written_them() {
    let (router, budget) = small();
    let unwritten = Unwritten::default();
    let bytes = BUDGET_BYTES / 2 + 1;
    let first = router.clone().oneshot(ask(bytes, &unwritten)).await.unwrap();
    assert_eq!((first.status(), first.body().size_hint().exact()), (StatusCode::OK, Some(bytes as u64)));
    // As hyper does: take everything, then write.
    assert_eq!(axum::body::to_bytes(first.into_body(), usize::MAX).await.unwrap().len(), bytes);

    let refused = router.clone().oneshot(ask(bytes, &unwritten)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let small = router.clone().oneshot(ask(SMALL_BYTES, &unwritten)).await.unwrap();
    assert_eq!(small.status(), StatusCode::OK);

    unwritten.clear();
    assert_eq!(budget.answers.available_permits(), BUDGET_BYTES);
    // One that is larger than the budget has it alone.
    let larger = router.clone().oneshot(ask(2 * BUDGET_BYTES, &unwritten)).await.unwrap();
    assert_eq!(larger.status(), StatusCode::OK);
    assert_eq!(budget.answers.available_permits(), 0);
    drop(larger);
    unwritten.clear();
    assert_eq!(router.oneshot(ask(bytes, &unwritten)).await.unwrap().status(), StatusCode::OK);
}
