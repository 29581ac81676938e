//! Finds out who asks, once for each request. It refuses nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use engine::{Engine, Key, KeyTable, has_token_form};

use super::{Identity, Refusal, failures::Failures, presented::Presented};
use crate::{
    error::server_error_text,
    peer::{Listener, Peer},
};

/// What it needs for that.
pub(crate) struct Gate {
    engine: Engine,
    /// Where there never was a key, everybody may do everything on any listener.
    open_beyond_loopback: bool,
    failures: Mutex<Failures>,
}

impl Gate {
    pub(crate) fn new(engine: Engine, open_beyond_loopback: bool) -> Self {
        Self { engine, open_beyond_loopback, failures: Mutex::default() }
    }

    fn failed(&self, peer: Option<Peer>) -> Refusal {
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| address.ip());
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.failed(address, Instant::now()) {
            None => Refusal::Invalid,
            Some(retry_after_s) => Refusal::TooMany { retry_after_s },
        }
    }
}

/// Puts the [`Identity`] into the request.
pub(crate) async fn identify(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let identity = match gate.engine.key_table().await {
        Ok(keys) => identity(&gate, &keys, &request),
        Err(error) => {
            let who = Err(Refusal::Broken(server_error_text(&error)));
            Identity { who, open: false, first_keys: false }
        }
    };
    request.extensions_mut().insert(identity);
    next.run(request).await
}

fn identity(gate: &Gate, keys: &KeyTable, request: &Request) -> Identity {
    let on_loopback = request.extensions().get().is_some_and(|Listener { is_loopback }| *is_loopback);
    let open = !keys.has_ever_had_a_key() && (on_loopback || gate.open_beyond_loopback);
    let who: Result<Arc<Key>, Refusal> = match Presented::of(request.headers()) {
        Presented::Nothing => Err(Refusal::Missing),
        Presented::Several => Err(Refusal::Several),
        Presented::Text(text) => keys.authenticate(&text).ok_or_else(|| {
            // Where there is nothing to guess, nothing is counted; and what may be a sandbox's token is no guess at a key.
            if keys.has_ever_had_a_key() && !has_token_form(&text) {
                gate.failed(request.extensions().get().copied())
            } else {
                Refusal::Invalid
            }
        }),
    };
    Identity { who, open, first_keys: on_loopback && !keys.has_ever_had_an_admin_key() }
}
