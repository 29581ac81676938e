//! Where questions come in: datagrams and connections, each known by the address it is from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use super::{
    Names,
    message::Question,
    upstream::{read, write},
};

/// A question has a name and little more.
const QUESTION_BYTES_MAX: usize = 1024;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// The pause when nothing can be accepted: descriptors may have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams.
pub(super) async fn datagrams(names: Arc<Names>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; QUESTION_BYTES_MAX];
    loop {
        // An error is about an answer that nobody was there for.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(guarded) = names.guarded(ip_of(from)) else { continue };
        // What is too much is lost, as datagrams may be.
        let Some(place) = guarded.place_take() else { continue };
        let bytes = buffer[..length].to_vec();
        let (names, socket) = (Arc::clone(&names), Arc::clone(&socket));
        tokio::spawn(async move {
            let answer = match Question::read(&bytes) {
                Ok(question) => names.answer(&guarded, question, true).await,
                Err(refusal) => refusal,
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, from).await;
            }
            drop(place);
        });
    }
}

/// Answers connections.
pub(super) async fn connections(names: Arc<Names>, listener: TcpListener) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Some(guarded) = names.guarded(ip_of(from)) else { continue };
        let Ok(place) = Arc::clone(&guarded.connections).try_acquire_owned() else { continue };
        let names = Arc::clone(&names);
        tokio::spawn(async move {
            let _ = connection(&names, ip_of(from), stream).await;
            drop(place);
        });
    }
}

/// Answers one question after the other, as long as the address is of a sandbox with a policy.
async fn connection(names: &Names, from: IpAddr, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let Ok(bytes) = timeout(SILENCE, read(&mut stream)).await else { return Ok(()) };
        let bytes = bytes?;
        let Some(guarded) = names.guarded(from) else { return Ok(()) };
        let Some(_place) = guarded.place_take() else { return Ok(()) };
        let answer = match Question::read(&bytes) {
            Ok(question) => names.answer(&guarded, question, false).await,
            Err(refusal) => refusal,
        };
        let Some(answer) = answer else { return Ok(()) };
        let Ok(written) = timeout(SILENCE, write(&mut stream, &answer)).await else { return Ok(()) };
        written?;
    }
}

fn ip_of(from: SocketAddr) -> IpAddr {
    from.ip()
}
