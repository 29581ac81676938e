//! The task's part in a sandbox's use: who uses it, what use renews, and what happens when nobody does. Also the two
//! small changes that a client makes to a record.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use store::OnAccess;
use tokio::{sync::oneshot, time::Instant};

use super::{
    admission::later,
    handle::{Operate, What},
    task::State,
};
use crate::{Error, ErrorKind, Result};

/// Who uses it.
#[derive(Debug)]
pub(super) struct Usage {
    /// How many use it now.
    now: usize,
    /// When the last began or ended.
    last: Instant,
}

impl Default for Usage {
    fn default() -> Self {
        Self { now: 0, last: Instant::now() }
    }
}

/// A lease is not written anew for less.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

impl State {
    /// Somebody begins to use it. Answers when it can be used.
    pub(super) async fn access(&mut self, reply: oneshot::Sender<Result<()>>) {
        if !self.is_kept_up() || !self.is_up() {
            let text = "The sandbox does not run";
            let _ = reply.send(Err(Error::new(ErrorKind::Conflict, text)));
            return;
        }
        let OnAccess { renew_s, pause_idle_s } = self.task.record.on_access;
        let asleep = self.is_paused() || self.is_falling_asleep();
        if asleep && pause_idle_s.is_none() {
            let text = "The sandbox is paused; resume it first";
            let _ = reply.send(Err(Error::new(ErrorKind::Conflict, text)));
            return;
        }
        self.usage = Usage { now: self.usage.now + 1, last: Instant::now() };
        if let Some(seconds) = renew_s {
            self.lease_renew(Duration::from_secs(seconds.into())).await;
        }
        if asleep {
            let what = What::Resume { or_running: true, reply };
            self.operate(Operate { by: "access".to_owned(), what }).await;
        } else if reply.send(Ok(())).is_err() {
            self.access_end();
        }
    }

    pub(super) fn access_end(&mut self) {
        self.usage = Usage { now: self.usage.now.saturating_sub(1), last: Instant::now() };
    }

    /// When it is to be paused, if nobody uses it until then.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let seconds = self.task.record.on_access.pause_idle_s?;
        let awake = self.up && !self.is_paused() && self.ongoing.is_none();
        (awake && self.usage.now == 0).then(|| self.usage.last + Duration::from_secs(seconds.into()))
    }

    /// Nobody has used it for long.
    pub(super) async fn idle(&mut self) {
        let (reply, _) = oneshot::channel();
        self.operate(Operate { by: "idle".to_owned(), what: What::Pause { reply } }).await;
        // Should that fail, it is tried again after as long a time.
        self.usage.last = Instant::now();
    }

    async fn lease_renew(&mut self, by: Duration) {
        let Some(until) = self.task.record.lease_until else { return };
        let renewed = later(Timestamp::now(), by);
        if renewed <= later(until, RENEWAL_MIN) {
            return;
        }
        self.task.record.lease_until = Some(renewed);
        if let Err(error) = self.record_write(None, "access").await {
            self.task.record.lease_until = Some(until);
            tracing::error!(sandbox = %self.task.record.id, ?error, "a lease was not renewed");
        }
    }

    /// Has its lease end at another time.
    pub(super) async fn lease_set(&mut self, until: Timestamp, by: &str) -> Result<()> {
        let before = self.task.record.lease_until;
        if before.is_none() {
            let text = "The sandbox has no time-out that could be renewed";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if !self.up && self.task.record.ended_at.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "The sandbox has ended"));
        }
        if until <= Timestamp::now() {
            return Err(Error::invalid("lease", "must end in the future"));
        }
        self.task.record.lease_until = Some(until);
        let written = self.record_write(Some("renewed"), by).await;
        if written.is_err() {
            self.task.record.lease_until = before;
        }
        written
    }

    /// Changes words of its metadata; one that becomes none goes.
    pub(super) async fn metadata_patch(
        &mut self,
        patch: BTreeMap<String, Option<String>>,
        by: &str,
    ) -> Result<()> {
        if patch.is_empty() {
            return Ok(());
        }
        let before = self.task.record.metadata.clone();
        for (word, value) in patch {
            match value {
                Some(value) => drop(self.task.record.metadata.insert(word, value)),
                None => drop(self.task.record.metadata.remove(&word)),
            }
        }
        let written = self.record_write(Some("metadata_changed"), by).await;
        if written.is_err() {
            self.task.record.metadata = before;
        }
        written
    }
}
