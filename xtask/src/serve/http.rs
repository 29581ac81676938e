//! Two requests to the server as any client makes them. It must not know what the bodies mean.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;

/// Why a request has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The body to send is no JSON.
    #[error("cannot write the request's body")]
    Request(#[source] serde_json::Error),
    /// No complete HTTP answer came.
    #[error("no answer")]
    Transport(#[from] ureq::Error),
    /// The answer is another status than 200.
    #[error("status {status}: {body}")]
    Status {
        /// The status code.
        status: u16,
        /// The body as text.
        body: String,
    },
    /// The body is not the JSON that was expected.
    #[error("unexpected body: {body}")]
    Body {
        /// The body as text.
        body: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// `GET url`, with an answer of 200 within `limit`.
pub(crate) fn get(url: &str, limit: Duration) -> Result<(), HttpError> {
    text_of(agent(limit).get(url).call()?).map(drop)
}

/// `POST url` with `body` as JSON, and the answer of 200 read as JSON. Sends the key of the commands of `atoll`, for
/// a data directory that has keys.
pub(crate) fn post<A: DeserializeOwned>(
    url: &str,
    body: &impl Serialize,
    limit: Duration,
) -> Result<A, HttpError> {
    let mut request = agent(limit).post(url).content_type("application/json");
    if let Ok(key) = std::env::var("ATOLL_KEY") {
        request = request.header("x-api-key", key);
    }
    let body = text_of(request.send(serde_json::to_string(body).map_err(HttpError::Request)?)?)?;
    serde_json::from_str(&body).map_err(|source| HttpError::Body { body, source })
}

fn agent(limit: Duration) -> Agent {
    // A proxy from the environment must not come between us and our own loopback.
    Agent::config_builder().timeout_global(Some(limit)).http_status_as_error(false).proxy(None).build().into()
}

fn text_of(mut answer: ureq::http::Response<ureq::Body>) -> Result<String, HttpError> {
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string()?;
    if status == 200 { Ok(body) } else { Err(HttpError::Status { status, body }) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one request with `answer` and returns its address.
    fn server_of(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn an_answer_is_read_as_json() {
        let url = server_of("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[7]");
        let answer: Vec<u8> = post(&url, &["x"], Duration::from_secs(10)).unwrap();
        assert_eq!(answer, [7]);
    }

    #[test]
    fn another_status_is_an_error_with_its_body() {
        let url = server_of("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nfull");
        let error = get(&url, Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.to_string(), "status 429: full");
    }

    #[test]
    fn a_body_of_another_shape_is_an_error() {
        let url = server_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        let error = post::<u8>(&url, &(), Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.to_string(), "unexpected body: hi");
    }
}
