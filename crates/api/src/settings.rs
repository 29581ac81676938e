//! What the operator sets of the HTTP side. Where the values come from (file, environment, command line) is
//! the program's business.

use std::time::Duration;

/// Settings of the HTTP side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// The largest request body in bytes; a larger one is answered with 413.
    pub body_bytes_max: usize,
    /// What all request bodies may hold in memory together, and all answers as well: beyond the small ones.
    pub body_memory_bytes: usize,
    /// Connections at once from one address that is not loopback.
    pub connections_per_address: usize,
    /// Names that this server is called by in a `Host` header besides the loopback ones: `atoll.example.org`
    /// for any port, `10.0.0.5:8080` for one port only.
    pub hosts_allowed: Vec<String>,
    /// Be open to all on every listener, not only on loopback ones, as long as there never was a key.
    pub insecure_no_auth: bool,
    /// What the vms dialect alone is told.
    pub vms: VmsSettings,
    /// What the sessions dialect alone is told.
    pub sessions: SessionsSettings,
}

/// Settings of the sessions dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionsSettings {
    /// Origins of pages that may use it, as `https://ide.example`; `*` for every page.
    pub origins: Vec<String>,
    /// A session is paused when it was not used for so long.
    pub idle_pause: Duration,
    /// A session is ended when it was not used for so long.
    pub lease: Duration,
    /// The time that a command may take.
    pub command_timeout: Duration,
    /// How long terminals are kept when their connection is gone.
    pub terminal_keep: Duration,
}

impl Default for SessionsSettings {
    fn default() -> Self {
        Self {
            origins: vec!["*".to_owned()],
            idle_pause: Duration::from_mins(15),
            lease: Duration::from_hours(24),
            command_timeout: Duration::from_mins(5),
            terminal_keep: Duration::from_mins(1),
        }
    }
}

/// Settings of the vms dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmsSettings {
    /// What machines say that they were made from.
    pub base_vm: String,
    /// The user that commands run as, a name or number in the machine; its root if there is none.
    pub user: Option<String>,
}

impl Default for VmsSettings {
    fn default() -> Self {
        Self { base_vm: "dev-1".to_owned(), user: None }
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            body_memory_bytes: 512 << 20,
            connections_per_address: 1024,
            hosts_allowed: Vec::new(),
            insecure_no_auth: false,
            vms: VmsSettings::default(),
            sessions: SessionsSettings::default(),
        }
    }
}
