//! The port on which clients look whether code can be run here, before they try.
//!
//! Who connects is about to run code, so that interpreters are made ready. What is asked there is answered as at the
//! door by which the first connection came; but not inside of a sandbox, where the server alone knows who asks.

use std::{
    env,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener as StdTcpListener},
    rc::Rc,
};

use protocol::agent::HttpDialect;
use tokio::net::TcpListener;

use super::start::python_warm;
use crate::{
    agent::Agent,
    http::{Door, http_accept},
};

/// Says another port: clients look there.
const PORT_VARIABLE: &str = "JUPYTER_PORT";
const PORT_DEFAULT: u16 = 44771;

/// Where clients will look, who read the environment of commands.
fn port_of(agent: &Agent) -> u16 {
    let said = match agent.surroundings.env() {
        Some(given) => {
            given.iter().rev().find(|(name, _)| name == PORT_VARIABLE).map(|(_, port)| port.clone())
        }
        None => env::var(PORT_VARIABLE).ok(),
    };
    said.and_then(|port| port.parse().ok()).unwrap_or(PORT_DEFAULT)
}

/// Listens from now on, if it can and does not yet.
pub(crate) fn code_port_open(agent: &Rc<Agent>, door: &Rc<Door>) {
    if agent.execd.code.is_port_open.replace(true) {
        return;
    }
    let port = port_of(agent);
    let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(|listener| Ok((listener.local_addr()?, TcpListener::from_std(listener)?)));
    let said = match listener {
        Ok((address, listener)) => {
            let door = match **door {
                Door::Server => Rc::new(Door::Shut),
                _ => Rc::clone(door),
            };
            let greet = |agent: &Rc<Agent>| {
                let agent = Rc::clone(agent);
                tokio::task::spawn_local(async move { python_warm(&agent).await });
            };
            tokio::task::spawn_local(http_accept(
                Rc::clone(agent),
                HttpDialect::Execd,
                door,
                listener,
                greet,
            ));
            format!("code is run here, as {address} tells")
        }
        Err(error) => format!(
            "clients that look for {PORT_VARIABLE} may think that no code is run here: \
             127.0.0.1:{port}: {error}"
        ),
    };
    // Nobody may read it.
    let _ = writeln!(io::stderr(), "atoll-agent: {said}");
}
