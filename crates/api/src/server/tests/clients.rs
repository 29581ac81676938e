//! Clients that are slow, that vanish, or that try what HTTP does not allow.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    body::{Body, Bytes},
    middleware::from_fn_with_state,
};
use futures::{StreamExt, stream};
use socket2::SockRef;
use tokio::time::Instant;

use super::*;
use crate::budget::{Budget, memory_bound};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// How many requests are under way.
#[derive(Clone, Default)]
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.clone()
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn until(&self, count: usize) {
        while self.count() != count {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Answers after `release`; until then, or until it is dropped, it is under way.
fn held(under_way: &UnderWay, release: &Arc<Notify>) -> Router {
    struct End(UnderWay);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (under_way, release) = (under_way.clone(), Arc::clone(release));
    Router::new().route(
        "/",
        get(async move || {
            let _end = End(under_way.begin());
            release.notified().await;
            "done"
        }),
    )
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    const ANSWER_BYTES: usize = 64 << 20;
    let served = start(Router::new().route("/", get(async || "x".repeat(ANSWER_BYTES))), 1, LONG);
    let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    stream.write_all(GET).await.unwrap();
    sleep(Duration::from_secs(120)).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.len() < ANSWER_BYTES, "{}", answer.len());
}

#[tokio::test]
async fn an_answer_holds_memory_until_it_is_written() {
    const ANSWER_BYTES: usize = 64 << 20;
    let budget = Arc::new(Budget::new(ANSWER_BYTES));
    let router = Router::new()
        .route("/", get(async || "x".repeat(ANSWER_BYTES)))
        .layer(from_fn_with_state(budget, memory_bound));
    let served = start(router, 1, LONG);
    let status = async || {
        let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    let (mut slow, first) = status().await;
    assert_eq!(first, "HTTP/1.1 200");
    assert_eq!(status().await.1, "HTTP/1.1 503");
    let mut left = vec![0; ANSWER_BYTES];
    slow.read_exact(&mut left).await.unwrap();
    // The server may still have to learn that all is written.
    while status().await.1 != "HTTP/1.1 200" {}
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_silent_in_a_stream_is_not_a_client_that_does_not_read() {
    let pieces = || {
        stream::iter(0..3).then(async |_| {
            sleep(Duration::from_secs(600)).await;
            Ok::<_, io::Error>(Bytes::from_static(b"tick"))
        })
    };
    let served = start(Router::new().route("/", get(async move || Body::from_stream(pieces()))), 1, LONG);
    let begin = Instant::now();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(served.addresses[0], request).await;
    assert_eq!(answer.matches("tick").count(), 3, "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n") && begin.elapsed() >= Duration::from_secs(1800));
}

#[tokio::test]
async fn a_client_that_resets_ends_its_request() {
    let (under_way, release) = (UnderWay::default(), Arc::default());
    let served = start(held(&under_way, &release), 1, LONG);
    let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    // What is pipelined behind must not hide it.
    stream.write_all(&GET.repeat(2)).await.unwrap();
    under_way.until(1).await;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    under_way.until(0).await;
}

#[tokio::test]
async fn a_client_that_closes_ends_its_request() {
    let (under_way, release) = (UnderWay::default(), Arc::default());
    let served = start(held(&under_way, &release), 1, LONG);
    let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    stream.write_all(&GET.repeat(2)).await.unwrap();
    under_way.until(1).await;
    drop(stream);
    under_way.until(0).await;
}

#[tokio::test]
async fn a_client_that_has_only_sent_all_gets_its_answer() {
    for (version, interim) in [("1.1", "HTTP/1.1 100 Continue\r\n\r\n"), ("1.0", "")] {
        let (under_way, release) = (UnderWay::default(), Arc::<Notify>::default());
        let served = start(held(&under_way, &release), 1, LONG);
        let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
        let request = format!("GET / HTTP/{version}\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        under_way.until(1).await;
        stream.shutdown().await.unwrap();
        sleep(Duration::from_secs(2)).await;
        release.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("{interim}HTTP/{version} 200 OK\r\n")), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_too_many_from_one_address_is_turned_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Of two connections loopback leaves one to others.
    let addresses = Addresses::new(1, 2);
    let (_stop, stopping) = watch::channel(());
    tokio::spawn(accept_loop(listener, hello(), Arc::new(Semaphore::new(2)), addresses, stopping));

    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(GET).await.unwrap();
    first.read_exact(&mut [0; 15]).await.unwrap();
    let mut answer = String::new();
    TcpStream::connect(address).await.unwrap().read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert!(head.ends_with(&format!("\r\ncontent-length: {}", body.len())), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["error"].is_string());

    drop(first);
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    while !exchange(address, request).await.starts_with("HTTP/1.1 200 ") {}
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_and_an_idle_connection_are_closed() {
    let served = start(hello(), 1, LONG);
    let begin = Instant::now();
    let mut idle = TcpStream::connect(served.addresses[0]).await.unwrap();
    let mut dripping = TcpStream::connect(served.addresses[0]).await.unwrap();
    let drip = async {
        dripping.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        // Ends with the connection.
        while dripping.write_all(b"x: y\r\n").await.is_ok() {
            sleep(Duration::from_secs(5)).await;
        }
    };
    let read = async { idle.read_to_end(&mut Vec::new()).await };
    let (_, ended) = tokio::join!(drip, read);
    assert!(ended.is_ok());
    assert!(begin.elapsed() < Duration::from_secs(180), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_kept_connection_takes_many_requests_pipelined_too() {
    const REQUESTS: usize = 2000;
    let served = start(hello(), 1, LONG);
    let stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let sent = tokio::spawn(async move {
        to.write_all(&GET.repeat(REQUESTS)).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut answers = String::new();
    from.read_to_string(&mut answers).await.unwrap();
    sent.await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), REQUESTS);
    assert_eq!(answers.matches("\r\n\r\nhello").count(), REQUESTS);
}

#[tokio::test]
async fn requests_whose_length_is_in_doubt_are_refused_or_end_the_connection() {
    let served = start(limited(100), 1, LONG);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    for (headers, body, status) in [
        ("content-length: 1\r\ncontent-length: 2\r\n", "ab", "400"),
        ("content-length: +1\r\n", "a", "400"),
        ("content-length: 1, 2\r\n", "ab", "400"),
        ("content-length: 18446744073709551617\r\n", "a", "400"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n", "400"),
        ("transfer-encoding: xchunked\r\n", "0\r\n\r\n", "400"),
        ("transfer-encoding : chunked\r\n", "0\r\n\r\n", "400"),
        // RFC 9112, section 6.1: the encoding counts, and the connection ends.
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n", "200"),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", "0\r\n\r\n", "200"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}{smuggled}");
        let answer = exchange(served.addresses[0], request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{headers:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {answer}");
    }
}

#[tokio::test]
async fn heads_with_too_many_headers_are_431() {
    let served = start(hello(), 1, LONG);
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let answer = exchange(served.addresses[0], request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
