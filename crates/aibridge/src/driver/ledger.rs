use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use stdx::ids::InterceptionId;
use stdx::{Lifecycle, SharedClock, SharedRng, cut};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::facts::{End, ErrorType, Fact, Start};
use crate::metrics::{Metrics, Subject};
use crate::notes::Stamp;
use crate::ports::{BoxFuture, Durable, RecordError, Recorder};
use crate::wire::Note;

/// Most bytes of [`End::error_message`].
const MESSAGE_BYTES_MAX: usize = 1024;

/// What every record needs; one per gateway.
pub(crate) struct Books {
    pub(crate) recorder: Arc<dyn Recorder>,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Arc<Metrics>,
    /// How long a batch may take to become durable.
    pub(crate) wait: Duration,
}

impl Books {
    /// Waits until a batch is durable, at most [`Books::wait`].
    async fn settled(&self, durable: Durable) -> Result<(), &'static str> {
        match tokio::time::timeout(self.wait, durable).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RecordError::Full)) => Err("the record queue is full"),
            Ok(Err(RecordError::Closed)) => Err("the record queue is closed"),
            Err(_) => Err("recording took too long"),
        }
    }
}

/// The record of one interception: opened by a start fact, closed by exactly one end fact.
pub(crate) struct Ledger {
    books: Arc<Books>,
    id: InterceptionId,
    subject: Subject,
    began: Instant,
    /// Mask of the credential used last.
    pub(crate) hint: String,
    closed: bool,
}

/// Waits until everything that was appended at the end is durable. Never fails: what goes wrong has been
/// logged and counted. Dropped before that, because the client left, it goes on as a task of its own, so
/// that the batch is counted all the same.
pub(crate) struct Settling {
    work: Option<BoxFuture<'static, ()>>,
    lifecycle: Lifecycle,
}

impl Future for Settling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        // While a runtime is torn down nobody could run the task; the batch itself has been taken.
        if let Some(work) = self.work.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.lifecycle.spawn("interception-end", work);
        }
    }
}

/// Why an exchange is not a success.
pub(crate) struct Failed {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
    /// The message is the provider's own. It may repeat what the person wrote, so it is recorded and not
    /// logged.
    pub(crate) quoted: bool,
}

impl From<(ErrorType, String)> for Failed {
    fn from((kind, message): (ErrorType, String)) -> Self {
        Self { kind, message, quoted: false }
    }
}

/// Resolves when the start fact is durable; the error says why it is not. Nothing when it is already.
pub(crate) struct Recorded(Option<BoxFuture<'static, Result<(), &'static str>>>);

impl Recorded {
    /// Whether it is known to be durable.
    pub(crate) const fn is_done(&self) -> bool {
        self.0.is_none()
    }
}

impl Future for Recorded {
    type Output = Result<(), &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Ledger {
    /// Appends the start fact. The returned future resolves when it is durable.
    ///
    /// # Errors
    /// The recorder took nothing, so nothing may be sent upstream.
    pub(crate) fn open(
        books: &Arc<Books>,
        start: Start,
        subject: Subject,
    ) -> Result<(Self, Recorded), RecordError> {
        let (id, hint) = (start.id, start.credential_hint.clone());
        let durable = books.recorder.append(vec![Fact::Start(start)]).inspect_err(|error| {
            books.metrics.lost("start");
            tracing::warn!(interception_id = %id, error = %error, "request refused: it cannot be recorded");
        })?;
        subject.began();
        let ledger = Self {
            books: Arc::clone(books),
            id,
            subject,
            began: Instant::now(),
            hint,
            closed: false,
        };
        if durable.is_done() {
            return Ok((ledger, Recorded(None)));
        }
        let books = Arc::clone(books);
        let wait = Box::pin(async move {
            books.settled(durable).await.inspect_err(|error| {
                books.metrics.lost("start");
                tracing::warn!(interception_id = %id, error, "request refused: its start was not recorded");
            })
        });
        Ok((ledger, Recorded(Some(wait))))
    }

    pub(crate) const fn id(&self) -> InterceptionId {
        self.id
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends the notes and the end fact, as one batch. The second call does nothing.
    pub(crate) fn close(&mut self, notes: Vec<Note>, error: Option<Failed>) -> Option<Settling> {
        if self.closed {
            return None;
        }
        self.closed = true;
        let metrics = Arc::clone(&self.books.metrics);
        metrics.ended(&self.subject, error.is_none(), self.began.elapsed());
        self.log(error.as_ref());

        let stamp =
            Stamp { rng: &*self.books.rng, clock: &*self.books.clock, interception: self.id };
        let mut facts = stamp.facts(notes);
        let tally = metrics.tally(&facts);
        let ended_at: OffsetDateTime = self.books.clock.now();
        let (error_type, error_message) = error.map(|failed| (failed.kind, failed.message)).unzip();
        facts.push(Fact::End(End {
            id: stamp.fact_id(ended_at),
            interception: self.id,
            ended_at,
            credential_hint: std::mem::take(&mut self.hint),
            error_type,
            error_message: error_message.map(|text| cut(&text, MESSAGE_BYTES_MAX).to_owned()),
        }));

        let count = facts.len();
        let (id, books, subject) = (self.id, Arc::clone(&self.books), self.subject.clone());
        let lost = move |error: &str| {
            tracing::error!(interception_id = %id, facts = count, error, "records of a request were lost");
        };
        match books.recorder.append(facts) {
            Err(error) => {
                books.metrics.lost("end");
                lost(&error.to_string());
                None
            }
            Ok(durable) if durable.is_done() => {
                metrics.recorded(&subject, tally);
                None
            }
            Ok(durable) => {
                let lifecycle = books.lifecycle.clone();
                let work = async move {
                    match books.settled(durable).await {
                        Ok(()) => books.metrics.recorded(&subject, tally),
                        Err(error) => {
                            books.metrics.lost("end");
                            lost(error);
                        }
                    }
                };
                Some(Settling { work: Some(Box::pin(work)), lifecycle })
            }
        }
    }

    fn log(&self, error: Option<&Failed>) {
        let (id, subject) = (self.id, &self.subject);
        match error {
            None => tracing::debug!(
                interception_id = %id,
                provider = &*subject.provider,
                route = subject.route,
                credential_hint = self.hint,
                "interception ended"
            ),
            Some(Failed { kind, message, quoted }) => tracing::warn!(
                interception_id = %id,
                provider = &*subject.provider,
                route = subject.route,
                credential_hint = self.hint,
                error_type = kind.as_str(),
                error = if *quoted { "in the provider's words, see the record" } else { message },
                "interception failed"
            ),
        }
    }
}
