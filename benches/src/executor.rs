//! The executor of a sandbox through the server: a command, and how old a line is when it comes out of a stream.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    failure::{During, Failure, Outcome},
    http,
    opensandbox::{HOST, Made, creation},
    samples::Samples,
    server::Server,
};

/// The times.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) run: Samples,
    pub(crate) line: Samples,
}

/// Says what time it is, so many times, with pauses: nothing of one line is left when the next is written.
const CLOCK: &str = "import time, sys\nfor _ in range(COUNT):\n    time.sleep(0.01)\n    print('at', time.time_ns(), flush=True)\n";
const WHAT: &str = "use the executor";

/// Measures both so many times.
pub(crate) fn measure(server: &Server, runs: usize) -> Outcome<Times> {
    let mut times = Times::default();
    let key = server.key_create()?;
    let mut connection = server.connect()?;
    let made = connection
        .ask(&http::request_with_key("POST", "/v1/sandboxes", &key, &creation(HOST)))
        .during(WHAT)?;
    let Made { id } = serde_json::from_str(&made.body).during("read the answer of POST /v1/sandboxes")?;
    let path = |endpoint: &str| format!("/v1/sandboxes/{id}/executor/{endpoint}");
    let run = http::request_with_key("POST", &path("run"), &key, r#"{"cmd":"true"}"#);
    for _ in 0..runs {
        let start = Instant::now();
        let answer = connection.ask(&run).during(WHAT)?;
        times.run.push(start.elapsed());
        if !answer.body.contains(r#""code":0"#) {
            return Err(Failure::new(WHAT, answer.body));
        }
    }
    let script = CLOCK.replace("COUNT", &runs.to_string()).replace('\n', "\\n");
    let body = format!(r#"{{"cmd":"exec python3 -c \"{script}\""}}"#);
    connection.send(&http::request_with_key("POST", &path("run_streaming"), &key, &body)).during(WHAT)?;
    for _ in 0..runs {
        let received = connection.receive_until("\"}\n\n").during(WHAT)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = received.rsplit("at ").next().and_then(|rest| rest.split('"').next()?.parse().ok());
        let written = written.map(Duration::from_nanos).ok_or_else(|| Failure::new(WHAT, received))?;
        times.line.push(now.saturating_sub(written));
    }
    let gone = http::request_with_key("DELETE", &format!("/v1/sandboxes/{id}"), &key, "");
    server.connect()?.ask(&gone).during(WHAT)?;
    Ok(times)
}
