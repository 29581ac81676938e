//! Bounds over what all requests and answers together hold in memory. It must not know what is in them.
//!
//! Small ones take nothing: the number of connections bounds them, so that no large one, however slow, keeps
//! them waiting. What a body or an answer has beyond that it takes from a budget, a body as it arrives: what
//! is only announced costs nothing.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::reject::Rejection;

/// Bytes of every body and every answer that are taken from no budget.
pub(crate) const SMALL_BYTES: usize = 64 << 10;
/// How long a body waits for its share in all, holding what it has.
const SHARE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The bytes that bodies and answers may hold together, each by themselves: bodies that stall must not cost
/// others their answers.
pub(crate) struct Budget {
    bytes: usize,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Budget {
    /// So many bytes for bodies, and as many for answers.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        let semaphore = || Arc::new(Semaphore::new(bytes));
        Self { bytes, bodies: semaphore(), answers: semaphore() }
    }
}

/// What one request's body holds of the budget. It is given back when the request has been answered.
pub(crate) struct BodyShare {
    budget_bytes: usize,
    budget: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    permits: Option<OwnedSemaphorePermit>,
    waited: Duration,
}

impl BodyShare {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a body needs that is never held whole, and that takes so many bytes to make use of. It gets the whole
    /// budget if that is less.
    ///
    /// # Errors
    /// Those of [`Self::grow`].
    pub(crate) async fn stream(&self, bytes: usize) -> Result<(), Rejection> {
        self.grow(bytes.min(self.budget_bytes).saturating_add(SMALL_BYTES)).await
    }

    /// Takes what a body of so many bytes needs, waiting for others to give it back.
    ///
    /// # Errors
    /// [`Rejection::BodyMemory`] when they don't in time.
    pub(crate) async fn grow(&self, body_bytes: usize) -> Result<(), Rejection> {
        let (held, waited) = {
            let held = self.held();
            (held.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits), held.waited)
        };
        let more = permits(body_bytes.saturating_sub(SMALL_BYTES).saturating_sub(held));
        if more == 0 {
            return Ok(());
        }
        let start = Instant::now();
        let taking = Arc::clone(&self.budget).acquire_many_owned(more);
        let Ok(Ok(taken)) = timeout(SHARE_WAIT_MAX.saturating_sub(waited), taking).await else {
            return Err(Rejection::BodyMemory);
        };
        let mut held = self.held();
        held.waited += start.elapsed();
        match &mut held.permits {
            Some(permits) => permits.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The shares of answers that a connection still has to write.
#[derive(Clone, Default)]
pub(crate) struct Unwritten(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

impl Unwritten {
    fn shares(&self) -> MutexGuard<'_, Vec<OwnedSemaphorePermit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything was written.
    pub(crate) fn clear(&self) {
        self.shares().clear();
    }
}

/// Holds every request and its answer to the budget.
pub(crate) async fn memory_bound(
    State(budget): State<Arc<Budget>>,
    mut request: Request,
    next: Next,
) -> Response {
    let share = Arc::new(BodyShare {
        budget_bytes: budget.bytes,
        budget: Arc::clone(&budget.bodies),
        held: Mutex::default(),
    });
    let unwritten = request.extensions().get::<Unwritten>().cloned().unwrap_or_default();
    request.extensions_mut().insert(Arc::clone(&share));
    let response = next.run(request).await;
    drop(share);
    answer_bound(response, &budget, unwritten)
}

/// An answer of known size takes its share or is refused: it is in memory already, so waiting would not help.
/// One that is larger than the budget takes all of it. One that is made as it is sent has no size, and is held
/// in memory by its pieces only.
fn answer_bound(response: Response, budget: &Budget, unwritten: Unwritten) -> Response {
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    if bytes <= SMALL_BYTES {
        return response;
    }
    match Arc::clone(&budget.answers).try_acquire_many_owned(permits(bytes.min(budget.bytes))) {
        Ok(share) => response.map(|body| Body::new(HeldAnswer { body, share: Some(share), unwritten })),
        Err(_) => Rejection::AnswerMemory.into_response(),
    }
}

/// An answer with its share. hyper takes such a body whole and drops it long before it is written, so the
/// share then goes to the connection.
struct HeldAnswer {
    body: Body,
    share: Option<OwnedSemaphorePermit>,
    unwritten: Unwritten,
}

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        self.unwritten.shares().extend(self.share.take());
    }
}

impl HttpBody for HeldAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
