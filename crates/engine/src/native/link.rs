//! The way to the launcher that lives, also when another one follows it.

use std::time::Duration;

use jail::client::{CallError, LauncherClient};
use tokio::{sync::watch, time::timeout};

use crate::runtime::RuntimeError;

/// How long a request waits for a launcher in the place of one that died.
const SUCCESSOR_PATIENCE: Duration = Duration::from_secs(10);
/// How often a request is asked again.
pub(super) const ATTEMPTS: u32 = 3;

/// The launcher that lives; none while one is awaited.
#[derive(Clone, Debug)]
pub(super) struct Link(pub(super) watch::Receiver<Option<LauncherClient>>);

impl Link {
    /// Asks the launcher, and its successors if it dies over it.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(LauncherClient) -> F) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let launcher = self.launcher().await?;
            match ask(launcher).await {
                Err(CallError::Gone(_)) if attempts < ATTEMPTS => {}
                answer => return Ok(answer?),
            }
        }
    }

    pub(super) async fn launcher(&self) -> Result<LauncherClient, RuntimeError> {
        let mut launcher = self.0.clone();
        let alive = timeout(
            SUCCESSOR_PATIENCE,
            launcher.wait_for(|launcher| launcher.as_ref().is_some_and(LauncherClient::is_connected)),
        );
        match alive.await {
            Ok(Ok(launcher)) => launcher.clone().ok_or_else(no_launcher),
            _ => Err(no_launcher()),
        }
    }
}

fn no_launcher() -> RuntimeError {
    RuntimeError::Broken("there is no launcher; see the log, and restart the server".into())
}
