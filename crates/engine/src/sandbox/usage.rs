//! The task's part in a sandbox's use: who uses it, what use renews, and what happens when nobody does.

use std::time::Duration;

use jiff::Timestamp;
use store::OnAccess;
use tokio::{sync::oneshot, time::Instant};

use super::{
    admission::later,
    handle::{Operate, What},
    task::State,
    uptime::{not_running, paused},
};
use crate::Result;

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
    /// Somebody begins to use it. Answers when it can be used; [`Self::access_end`] follows in any case.
    pub(super) async fn access(&mut self, reply: oneshot::Sender<Result<()>>) {
        self.usage = Usage { now: self.usage.now + 1, last: Instant::now() };
        if !self.is_kept_up() || !self.is_up() {
            let _ = reply.send(Err(not_running()));
            return;
        }
        let OnAccess { renew_s, pause_idle_s } = self.task.record.on_access;
        let asleep = self.is_paused() || self.is_falling_asleep();
        if asleep && pause_idle_s.is_none() {
            let _ = reply.send(Err(paused()));
            return;
        }
        self.used(renew_s).await;
        if asleep {
            let what = What::Resume { or_running: true, reply };
            self.operate(Operate { by: "access".to_owned(), what }).await;
        } else {
            let _ = reply.send(Ok(()));
        }
    }

    /// It was used for a moment, in a way that it need not be awake for.
    pub(super) async fn touch(&mut self) {
        self.usage.last = Instant::now();
        self.used(self.task.record.on_access.renew_s).await;
    }

    /// Notes that it is used, of one whose lease that renews.
    async fn used(&mut self, renew_s: Option<u32>) {
        let Some(seconds) = renew_s.filter(|_| self.task.record.ended_at.is_none() || self.up) else {
            return;
        };
        self.task.record.used_at = Some(Timestamp::now());
        if !self.lease_renew(Duration::from_secs(seconds.into())).await {
            // The record gets it with the next renewal.
            self.view_update();
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

    /// Has its lease end so much later than now, and returns whether that was written.
    async fn lease_renew(&mut self, by: Duration) -> bool {
        let Some(until) = self.task.record.lease_until else { return false };
        let renewed = later(Timestamp::now(), by);
        if renewed <= later(until, RENEWAL_MIN) {
            return false;
        }
        self.task.record.lease_until = Some(renewed);
        if let Err(error) = self.record_write(None, "access").await {
            self.task.record.lease_until = Some(until);
            tracing::error!(sandbox = %self.task.record.id, ?error, "a lease was not renewed");
            return false;
        }
        true
    }
}
