//! A WebSocket that speaks JSON, as a page in a browser would.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use tungstenite::{
    Error, HandshakeError, Message, WebSocket, client::IntoClientRequest, protocol::CloseFrame,
};

/// Longer than any test may take: an answer that never comes fails that test alone.
const TIME_LIMIT: Duration = Duration::from_secs(170);

/// A connection.
#[derive(Debug)]
pub struct Socket(WebSocket<TcpStream>);

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A text, which is JSON.
    Json(Value),
    /// The server has closed, with this code if it said one.
    Closed(Option<u16>),
    /// Nothing came for longer than any test may take.
    Silence,
}

impl Socket {
    /// Connects to a path of a server.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn connect(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        stream.set_write_timeout(Some(TIME_LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}{path}"), stream)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        Self(socket)
    }

    /// Connects to a path of a server with these headers.
    ///
    /// # Errors
    /// The status of a server that refuses.
    ///
    /// # Panics
    /// When there is no server.
    pub fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Sends JSON.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// Sends any text.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("the server reads");
    }

    /// Waits for what comes next.
    ///
    /// # Panics
    /// When nothing comes for too long, or no JSON.
    pub fn incoming(&mut self) -> Incoming {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    return Incoming::Json(serde_json::from_str(&text).expect("JSON"));
                }
                Ok(Message::Close(frame)) => return Incoming::Closed(frame.map(code)),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("no text: {other:?}"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => {
                    return Incoming::Closed(None);
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Incoming::Silence,
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
    }

    /// Waits for the next message.
    ///
    /// # Panics
    /// When the connection is closed instead.
    #[must_use]
    pub fn json(&mut self) -> Value {
        match self.incoming() {
            Incoming::Json(message) => message,
            other => panic!("no message, but {other:?}"),
        }
    }

    /// Leaves without a word, as a page does that is gone.
    pub fn vanish(self) {
        drop(self);
    }
}

fn code(frame: CloseFrame) -> u16 {
    frame.code.into()
}
