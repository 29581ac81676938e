//! One thread for calls that a slow disk could stall, so that output of programs never waits for a disk.
//!
//! The thread starts with the first job and ends when it was idle for a while: in between, an idle agent
//! costs its sandbox one process, not two. Where no thread can be started because the sandbox's process
//! limit is reached, jobs run on the caller's thread: files stay reachable.
//!
//! It must not know what a job does.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use protocol::agent::{Failure, FailureKind};
use tokio::sync::oneshot;

use crate::failure::failure;

/// How long an idle thread stays.
const IDLE: Duration = Duration::from_secs(2);
/// Its stack. Jobs hold no large buffers on it.
const STACK_BYTES: usize = 128 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after the other.
#[derive(Default)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
}

/// A job on its way.
pub(crate) struct Begun<T>(oneshot::Receiver<T>);

impl<T> Begun<T> {
    /// Its result.
    ///
    /// # Errors
    /// A [`Failure`] when the thread ended before the job.
    pub(crate) async fn end(&mut self) -> Result<T, Failure> {
        (&mut self.0).await.map_err(|_| failure(FailureKind::Other, "the file thread ended"))
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_running: bool,
}

impl Worker {
    /// Runs a job and returns its result. A job that was begun runs to its end even if nobody waits.
    ///
    /// # Errors
    /// Those of the job.
    pub(crate) async fn run<T, F>(&self, job: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, Failure> + Send + 'static,
    {
        self.begin(job).end().await?
    }

    /// Begins a job, which goes on while the caller does something else.
    pub(crate) fn begin<T, F>(&self, job: F) -> Begun<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        self.submit(Box::new(move || {
            // Nobody waits any more when the connection has ended.
            let _ = sender.send(job());
        }));
        Begun(result)
    }

    /// Runs a job whose result nobody needs.
    pub(crate) fn submit(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        if state.is_running {
            self.shared.changed.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || shared.jobs_run());
        if started.is_ok() {
            state.is_running = true;
        } else {
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            jobs.into_iter().for_each(|job| job());
        }
    }
}

impl Shared {
    fn jobs_run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
                continue;
            }
            let (woken, timed_out) =
                self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timed_out.timed_out() && state.jobs.is_empty() {
                state.is_running = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_and_return_their_results() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let worker = Worker::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let results = runtime.block_on(async {
            let job = |number: i32| {
                let order = Arc::clone(&order);
                worker.run(move || {
                    order.lock().unwrap().push(number);
                    Ok(number * 2)
                })
            };
            tokio::join!(job(1), job(2), job(3))
        });
        assert_eq!(results, (Ok(2), Ok(4), Ok(6)));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    }
}
