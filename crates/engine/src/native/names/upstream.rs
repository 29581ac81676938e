//! Asking the host's name servers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::message::{Answer, Heard, Question};

/// How long one server is waited for, and how often all are asked.
const PATIENCE: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 2;
const PORT: u16 = 53;

/// The host's name servers.
pub(super) struct Upstream(pub(super) Vec<Ipv4Addr>);

impl Upstream {
    /// What the first server says that says something.
    pub(super) async fn ask(&self, question: &Question) -> Option<Answer> {
        for server in self.0.iter().cycle().take(self.0.len() * ROUNDS) {
            let server = SocketAddr::from((*server, PORT));
            match timeout(PATIENCE, ask(server, question)).await {
                Ok(Ok(Some(answer))) => return Some(answer),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(%server, %error, "a name server can't be asked"),
            }
        }
        None
    }
}

async fn ask(server: SocketAddr, question: &Question) -> std::io::Result<Option<Answer>> {
    for with_edns in [true, false] {
        let asked = question.forward(with_edns);
        let bytes = asked.to_vec().map_err(std::io::Error::other)?;
        let mut heard = datagram(server, &asked, &bytes).await?;
        if matches!(heard, Heard::Truncated) {
            heard = connection(server, &asked, &bytes).await?;
        }
        match heard {
            Heard::Answer(answer) => return Ok(Some(*answer)),
            Heard::NoExtensions => {}
            Heard::Nothing | Heard::Truncated => return Ok(None),
        }
    }
    Ok(None)
}

/// From a port of its own for each question: an answer of somebody else has to guess it, and the number.
async fn datagram(server: SocketAddr, asked: &Message, bytes: &[u8]) -> std::io::Result<Heard> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Answer::read(&buffer[..length], asked) {
            Heard::Nothing => {}
            heard => return Ok(heard),
        }
    }
}

async fn connection(server: SocketAddr, asked: &Message, bytes: &[u8]) -> std::io::Result<Heard> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, bytes).await?;
    let answer = read(&mut stream).await?;
    Ok(Answer::read(&answer, asked))
}

/// A message over a connection has its length in front (RFC 1035, 4.2.2).
pub(super) async fn write(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await
}

pub(super) async fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
