//! What people who work below a folder ask for: its tree, its files, what changes there, processes, a terminal's end.

mod changes;
mod files;
mod hang_up;
mod processes;
mod tree;

use protocol::{
    GuestPath,
    agent::{Event, Failure, Request},
    frame::{self, Kind},
};
use serde::de::DeserializeOwned;

use crate::wire::{Agent, Connection};

/// A folder of the test that names are below, and one beside it that nothing may lead to.
pub(super) fn workspace(agent: &Agent) -> GuestPath {
    std::fs::create_dir(agent.path("root")).unwrap();
    std::fs::create_dir(agent.path("outside")).unwrap();
    std::fs::write(agent.path("outside/secret"), "secret").unwrap();
    agent.guest_path("root")
}

impl Connection {
    /// Sends a request that is answered by lists, and returns them with the last event.
    pub(super) fn lists<T: DeserializeOwned>(&mut self, request: &Request) -> (Vec<T>, Event) {
        self.send(request);
        let mut all = Vec::new();
        loop {
            match self.frame().expect("the agent closed the connection") {
                (Kind::Output, payload) => {
                    assert!(payload.len() <= frame::ANSWER_BYTES_MAX);
                    all.extend(frame::decode_message::<Vec<T>>(&payload).unwrap());
                }
                (Kind::Message, payload) => return (all, frame::decode_message(&payload).unwrap()),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn workspace_write(
        &mut self,
        root: &GuestPath,
        path: &[u8],
        content: &[u8],
    ) -> Result<(), Failure> {
        self.send(&Request::WorkspaceWrite { root: root.clone(), path: path.to_vec() });
        for piece in content.chunks(frame::STREAM_BYTES) {
            self.input(piece);
        }
        self.input_end();
        done(self.event())
    }

    pub(super) fn workspace_read(
        &mut self,
        root: &GuestPath,
        path: &[u8],
        bytes_max: u64,
    ) -> Result<Vec<u8>, Failure> {
        self.send(&Request::WorkspaceRead { root: root.clone(), path: path.to_vec(), bytes_max });
        let mut content = Vec::new();
        loop {
            match self.frame().expect("the agent closed the connection") {
                (Kind::Output, payload) => content.extend(payload),
                (Kind::Message, payload) => match frame::decode_message(&payload).unwrap() {
                    Event::FileOpened { .. } => {}
                    event => return done(event).map(|()| content),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn workspace_remove(&mut self, root: &GuestPath, path: &[u8]) -> Result<(), Failure> {
        done(self.ask(&Request::WorkspaceRemove { root: root.clone(), path: path.to_vec() }))
    }
}

fn done(event: Event) -> Result<(), Failure> {
    match event {
        Event::Done => Ok(()),
        Event::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}
