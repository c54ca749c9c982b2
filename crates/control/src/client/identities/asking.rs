use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aibridge::ports::{Identity, Refused};
use stdx::{Lifecycle, Secret};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Digest, Identities};
use crate::client::call::CallError;
use crate::client::http::Coderd;
use crate::wire::{ResolveRequest, Resolved};

/// Questions that are under way at once.
const AT_ONCE: usize = 64;
/// Questions that wait for their turn. When they are this many, further ones are not asked.
const WAITING: usize = 1_024;

/// How often a question is asked whose answer was overtaken by revocations.
const TRIES: usize = 4;

type Answer = Result<Identity, Refused>;

/// A question for coderd.
pub(super) struct Question {
    digest: Digest,
    token: Secret<String>,
}

/// Asks each question once, however many want to know.
#[derive(Debug)]
pub(super) struct Asking {
    queue: mpsc::Sender<Question>,
    /// Who waits for what.
    waiting: Mutex<HashMap<Digest, Vec<oneshot::Sender<Answer>>>>,
}

impl Asking {
    pub(super) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (queue, questions) = mpsc::channel(WAITING);
        (Self { queue, waiting: Mutex::default() }, questions)
    }

    /// Has coderd asked. Nothing, if too many questions wait already.
    pub(super) fn ask(&self, digest: Digest, token: &str) -> Option<oneshot::Receiver<Answer>> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(others) = waiting.get_mut(&digest) {
            // Those who gave up would pile up behind a coderd that does not answer.
            others.retain(|other| !other.is_closed());
            others.push(reply);
            return Some(answer);
        }
        self.queue.try_send(Question { digest, token: Secret::from(token) }).ok()?;
        waiting.insert(digest, vec![reply]);
        Some(answer)
    }

    fn tell(&self, digest: &Digest, answer: &Answer) {
        let waiting = self.lock().remove(digest);
        for reply in waiting.into_iter().flatten() {
            // Who asked may be gone.
            let _ = reply.send(answer.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Vec<oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks coderd in the background, until the process stops.
pub(super) fn answer(
    mut questions: mpsc::Receiver<Question>,
    identities: Arc<Identities>,
    coderd: Coderd,
    lifecycle: &Lifecycle,
) {
    let (tasks, turns) = (lifecycle.clone(), Arc::new(Semaphore::new(AT_ONCE)));
    let stopping = lifecycle.stopping();
    lifecycle.spawn("identities", async move {
        let work = async {
            while let Some(question) = questions.recv().await {
                let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                    return;
                };
                let (identities, coderd) = (Arc::clone(&identities), coderd.clone());
                tasks.spawn_quietly(async move {
                    ask(&identities, &coderd, question).await;
                    drop(turn);
                });
            }
        };
        tokio::select! {
            () = work => {}
            () = stopping.wait() => {}
        }
        // Nobody will be told any more.
        identities.asking.lock().clear();
    });
}

async fn ask(identities: &Identities, coderd: &Coderd, question: Question) {
    let Question { digest, token } = question;
    let request = ResolveRequest { token };
    let mut asked_at = identities.known.generation();
    let mut resolved = coderd.resolve(&request).await;
    for _ in 1..TRIES {
        // Whoever came after a revocation waits for the same answer: it must not be from before.
        let now_at = identities.known.generation();
        if now_at == asked_at || !matches!(resolved, Ok(Resolved::Identity(_))) {
            break;
        }
        asked_at = now_at;
        resolved = coderd.resolve(&request).await;
    }
    let outcome = match resolved {
        Ok(resolved) => {
            if !identities.link.is_connected() {
                identities.link.nudge();
            }
            Ok(resolved)
        }
        Err(error) => {
            if let CallError::Ended(why) = &error {
                identities.link.end(why.clone());
            }
            tracing::debug!(%error, "a token could not be resolved");
            Err(())
        }
    };
    let answer = identities.settle(&digest, asked_at, outcome);
    identities.asking.tell(&digest, &answer);
}
