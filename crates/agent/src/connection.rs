//! One accepted connection: reads requests one after the other and has each answered.
//!
//! It must not know how a request is carried out; the modules it calls do.

use std::{rc::Rc, sync::Arc};

use protocol::{
    agent::{Event, Failure, FailureKind, HttpDialect, Request},
    frame::Kind,
};
use tokio::net::{TcpStream, UnixStream};

use crate::{
    agent::Agent,
    exec::{self, Followed},
    executor,
    failure::{event_of, failure},
    files::{self, Target},
    http, port, processes,
    surroundings::Surroundings,
    tree,
    wire::{FrameReader, FrameWriter, WireError},
    workspace,
};

/// What a connection becomes when its frames are over.
enum Afterwards {
    /// It is closed.
    Closed,
    /// It is the rest of a TCP stream, the bytes first that came with the request.
    Tunnel(TcpStream, Vec<u8>),
    /// It speaks HTTP, the bytes first that came with the request.
    Http(Vec<u8>, HttpDialect, Surroundings),
}

/// Serves a connection to its end. What goes wrong on it concerns no other connection.
pub(crate) async fn connection_serve(agent: Rc<Agent>, stream: UnixStream) {
    match requests_serve(&agent, &stream).await {
        Ok(Afterwards::Closed) | Err(WireError::Lost(_)) => {}
        Ok(Afterwards::Tunnel(tcp, early)) => port::tunnel(stream, tcp, &early).await,
        Ok(Afterwards::Http(early, dialect, surroundings)) => {
            http::http_serve_unix(agent, stream, early, dialect, surroundings).await;
        }
        Err(error @ (WireError::Malformed(_) | WireError::Unexpected(_))) => {
            // The last words on this connection; whether they arrive makes no difference.
            let last = Event::Failed(failure(FailureKind::Invalid, error.to_string()));
            let _ = FrameWriter::new(&stream).event(&last).await;
        }
    }
}

async fn requests_serve(agent: &Rc<Agent>, stream: &UnixStream) -> Result<Afterwards, WireError> {
    let mut reader = FrameReader::new(stream);
    let writer = FrameWriter::new(stream);
    while let Some(header) = reader.header().await? {
        match header.kind {
            Kind::Message => {}
            // Standard input that came after its program had ended, or never started; the rest of an archive
            // that was refused.
            Kind::Input | Kind::InputEnd => continue,
            kind @ (Kind::Output | Kind::ErrorOutput) => return Err(WireError::Unexpected(kind)),
        }
        let answer = match reader.request().await? {
            Request::Ping => Event::Pong,
            Request::ExecStart(spec) => match exec::exec_start(agent, &spec) {
                Ok(exec) => match exec::exec_follow(agent, &exec, &mut reader, writer).await? {
                    Followed::Collected => continue,
                    Followed::Replaced => return Ok(Afterwards::Closed),
                },
                Err(failure) => Event::Failed(failure),
            },
            Request::ExecAttach { exec } => match exec::exec_find(agent, exec) {
                Ok(exec) => match exec::exec_follow(agent, &exec, &mut reader, writer).await? {
                    Followed::Collected => continue,
                    Followed::Replaced => return Ok(Afterwards::Closed),
                },
                Err(failure) => Event::Failed(failure),
            },
            Request::ExecSignal { exec, signal } => event_of(exec::exec_signal(agent, exec, signal).await),
            Request::FileWrite { path, mode } => {
                let alone = agent.execs.none_runs();
                event_of(files::file_write(&agent.files, alone, &mut reader, path, Some(mode)).await?)
            }
            Request::FileRead { path, offset, length } => {
                event_of(files::file_read(&agent.files, writer, path, offset, length).await?)
            }
            Request::FolderCreate { path, mode } => {
                event_of(files::folder_create(&agent.files, path, mode).await)
            }
            Request::TreeRead { path } => event_of(tree::tree_read(&agent.files, writer, path).await?),
            Request::TreeWrite { path, bytes_max, clear } => {
                event_of(tree::tree_write(&agent.files, &mut reader, path, bytes_max, clear).await?)
            }
            request @ (Request::PortDial { .. } | Request::BoundPortDial) => {
                match dial(agent, &request).await {
                    Ok(tcp) => {
                        writer.event(&Event::Done).await?;
                        return Ok(Afterwards::Tunnel(tcp, reader.into_unread()));
                    }
                    Err(failure) => Event::Failed(failure),
                }
            }
            Request::Http { dialect, limits, env, cwd, user } => {
                writer.event(&Event::Done).await?;
                let surroundings = Surroundings { limits, env: Arc::new(env), cwd, user };
                return Ok(Afterwards::Http(reader.into_unread(), dialect, surroundings));
            }
            Request::ExecResize { exec, size } => event_of(exec::exec_resize(agent, exec, size)),
            Request::ExecHangUp { exec } => event_of(exec::exec_hang_up(agent, exec)),
            Request::WorkspaceTree { root, entries_max, bytes_max } => {
                let listed =
                    workspace::workspace_tree(&agent.files, writer, root, entries_max, bytes_max).await?;
                listed.map_or_else(Event::Failed, |is_whole| Event::Listed { is_whole })
            }
            Request::WorkspaceRead { root, path, bytes_max } => {
                event_of(workspace::workspace_read(&agent.files, writer, root, path, bytes_max).await?)
            }
            Request::WorkspaceWrite { root, path } => {
                let (alone, target) = (agent.execs.none_runs(), Target::Below { root, path });
                event_of(files::file_write(&agent.files, alone, &mut reader, target, None).await?)
            }
            Request::WorkspaceRemove { root, path } => {
                event_of(workspace::workspace_remove(&agent.files, root, path).await)
            }
            Request::ProcessList => event_of(processes::process_list(agent, writer).await?),
            Request::Watch { root } => {
                event_of(workspace::watch(&agent.files, &mut reader, writer, root).await?)
            }
        };
        writer.event(&answer).await?;
    }
    Ok(Afterwards::Closed)
}

async fn dial(agent: &Agent, request: &Request) -> Result<TcpStream, Failure> {
    match request {
        Request::PortDial { port } => port::port_dial(*port).await,
        _ => executor::bound_port_dial(agent).await,
    }
}
