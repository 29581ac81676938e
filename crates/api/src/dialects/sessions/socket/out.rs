//! What goes out over a connection: two queues and the task that empties them. Answers go before output, so that a
//! terminal that has much to say does not hold them up. Both queues are short: whoever fills one waits, and with it what
//! it reads from.

use futures::{SinkExt, stream::SplitSink};
use tokio::sync::mpsc::{self, error::SendError};
use tokio_tungstenite::tungstenite::Message;

use super::WebSocket;

/// Messages of output that wait; each is at most some hundred KB.
const OUTPUT_MAX: usize = 2;
/// Answers that wait.
const ANSWERS_MAX: usize = 32;

/// The ways out of one connection.
#[derive(Clone)]
pub(super) struct Out {
    answers: mpsc::Sender<Option<String>>,
    output: mpsc::Sender<String>,
}

impl Out {
    /// Queues an answer. It goes nowhere if the connection has ended.
    pub(super) async fn answer(&self, text: String) {
        let _ = self.answers.send(Some(text)).await;
    }

    /// Has the task end once the answers are sent that wait.
    pub(super) async fn stop(&self) {
        let _ = self.answers.send(None).await;
    }

    /// Waits for a place for output.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) async fn place(&self) -> Result<mpsc::Permit<'_, String>, SendError<()>> {
        self.output.reserve().await
    }
}

/// The other end of both queues.
pub(super) struct Queues {
    answers: mpsc::Receiver<Option<String>>,
    output: mpsc::Receiver<String>,
}

/// The queues of a connection.
pub(super) fn queues() -> (Out, Queues) {
    let (answers, answers_out) = mpsc::channel(ANSWERS_MAX);
    let (output, output_out) = mpsc::channel(OUTPUT_MAX);
    (Out { answers, output }, Queues { answers: answers_out, output: output_out })
}

/// Sends what is queued, until it is told to stop or the client is gone.
pub(super) async fn send_all(
    mut sink: SplitSink<WebSocket, Message>,
    mut queues: Queues,
) -> SplitSink<WebSocket, Message> {
    loop {
        let text = tokio::select! {
            biased;
            answer = queues.answers.recv() => answer.flatten(),
            output = queues.output.recv() => output,
        };
        let Some(text) = text else { return sink };
        if sink.send(Message::text(text)).await.is_err() {
            return sink;
        }
    }
}
