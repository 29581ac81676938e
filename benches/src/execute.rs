//! Atoll over HTTP: a fresh sandbox for each request, made, run and destroyed before the answer.

use std::{
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{During, Failure, Outcome},
    http::{self, Answer, Connection},
};

/// The network of the sandbox. The sandbox-service dialect has no word for it: a program has one if it asks
/// for its dependencies to be installed, of which a `bash` program has none.
#[derive(Clone, Copy)]
pub(crate) enum Network {
    /// Loopback only.
    None,
    /// The way outwards.
    Nat,
}

/// A request that runs `/bin/true`.
pub(crate) fn request(network: Network) -> Vec<u8> {
    let install = match network {
        Network::None => "",
        Network::Nat => r#","install_deps":true"#,
    };
    let body = format!(r##"{{"runtime":"bash","code":"#","entry_point":"/bin/true"{install}}}"##);
    http::request("POST", "/execute", &body)
}

/// Sends one and returns how long the answer took.
pub(crate) fn time(connection: &mut Connection, request: &[u8]) -> Outcome<Duration> {
    let start = Instant::now();
    let answer = connection.ask(request).during("POST /execute")?;
    let took = start.elapsed();
    succeeded(&answer)?;
    Ok(took)
}

/// Sends `count` at once, each on a connection that is open already. Returns the time from the first request
/// to the last answer. Fails unless all of them succeed.
pub(crate) fn time_at_once(address: SocketAddr, request: &[u8], count: usize) -> Outcome<Duration> {
    let barrier = Barrier::new(count + 1);
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(address).during("connect to the server")?);
    }
    thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    time(&mut connection, request)
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        for client in clients {
            client.join().map_err(|_| Failure::new("POST /execute", "a client panicked"))??;
        }
        Ok(start.elapsed())
    })
}

fn succeeded(answer: &Answer) -> Outcome<()> {
    if answer.status == 200 && answer.body.contains(r#""success":true"#) {
        return Ok(());
    }
    Err(Failure::new("POST /execute", format!("status {}: {}", answer.status, answer.body)))
}
