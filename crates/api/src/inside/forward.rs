//! One request over one stream, and its answer: both as they come, nothing is held. What an upgrade makes of the
//! connection is passed on in both directions until one side ends it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{StatusCode, Uri, header},
    response::Response,
};
use engine::AgentStream;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    client::conn::http1,
    upgrade,
};
use hyper_util::rt::TokioIo;

use tokio::task::AbortHandle;

use super::headers::{Way, inward, is_upgrade, outward};
use crate::{origin::host_called, peer::Peer};

/// Where a request goes in.
pub(crate) struct Door {
    /// The name and port that what is inside is called by.
    pub(crate) host: String,
    /// How many parts of the path come before what is passed on, the nothing before its first slash being one.
    pub(crate) prefix_parts: usize,
}

/// Why there is no answer from inside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The path can't be passed on.
    #[error("the path is none")]
    Path,
    /// What is inside did not answer.
    #[error("what listens there broke the connection off, or does not speak HTTP")]
    NoAnswer,
    /// What is inside answered what was not asked.
    #[error("what is inside changes the protocol without being asked")]
    Protocol,
}

/// Sends the request, and gives the answer as it begins.
pub(crate) async fn forward(
    stream: AgentStream,
    door: &Door,
    mut request: Request,
) -> Result<Response, Broken> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let connection = tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the connection into a sandbox ended");
        }
    });
    let client = is_upgrade(request.headers()).then(|| upgrade::on(&mut request));
    let request = addressed(request, door)?;
    let mut response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_upgraded {
        let client = client.ok_or(Broken::Protocol)?;
        let inside = upgrade::on(&mut response);
        tokio::spawn(async move {
            if let Err(error) = join(client, inside).await {
                tracing::debug!(%error, "an upgraded connection ended");
            }
        });
    }
    let (mut head, body) = response.into_parts();
    head.headers = outward(&head.headers, is_upgraded);
    let body = if is_upgraded {
        Body::new(body)
    } else {
        Body::new(Passing { body, connection: connection.abort_handle(), has_ended: false })
    };
    Ok(Response::from_parts(head, body))
}

/// An answer's body on its way out. Should it be dropped before its end, because the client is gone, the connection into
/// the sandbox ends with it: by that alone is known inside that nobody listens any more.
struct Passing {
    body: Incoming,
    connection: AbortHandle,
    has_ended: bool,
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.connection.abort();
        }
    }
}

/// The request as what is inside gets it.
fn addressed(request: Request, door: &Door) -> Result<Request, Broken> {
    let (mut head, body) = request.into_parts();
    let (prefix, rest) = path_split(head.uri.path(), door.prefix_parts);
    let called = host_called(&head.uri, &head.headers);
    let way = Way {
        from: head.extensions.get::<Peer>().map(|Peer(address)| address.ip().to_string()),
        host: called.as_ref().map(|host| host.as_str()),
        prefix,
    };
    head.headers = inward(&head.headers, &door.host, &way);
    let query = head.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("/{rest}{query}");
    head.uri = path.parse::<Uri>().map_err(|_| Broken::Path)?;
    head.version = hyper::Version::HTTP_11;
    // A body of unknown length is sent in chunks; the length goes with the transfer encoding that was taken off.
    debug_assert!(!head.headers.contains_key(header::TRANSFER_ENCODING));
    Ok(Request::from_parts(head, body))
}

/// The first parts of a path, and what comes after them, as they were written.
pub(crate) fn path_split(path: &str, prefix_parts: usize) -> (&str, &str) {
    match path.match_indices('/').nth(prefix_parts - 1) {
        Some((at, _)) => (&path[..at], &path[at + 1..]),
        None => (path, ""),
    }
}

async fn join(
    client: upgrade::OnUpgrade,
    inside: upgrade::OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, inside) = tokio::try_join!(client, inside)?;
    let (mut client, mut inside) = (TokioIo::new(client), TokioIo::new(inside));
    tokio::io::copy_bidirectional(&mut client, &mut inside).await?;
    Ok(())
}

fn broken(error: &hyper::Error) -> Broken {
    tracing::debug!(%error, "a request into a sandbox was not answered");
    Broken::NoAnswer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_is_as_it_was_written() {
        let base = "/v1/sandboxes/s/proxy/80";
        for (rest, expected) in [("", ""), ("/", ""), ("/a%2Fb/%20", "a%2Fb/%20"), ("//x/../y", "/x/../y")] {
            assert_eq!(path_split(&format!("{base}{rest}"), 6), (base, expected));
        }
    }
}
