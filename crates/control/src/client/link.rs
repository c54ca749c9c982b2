use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stdx::SharedClock;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, watch};

use super::call::Ended;

/// Whether coderd is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered yet.
    Connecting {
        /// When the process began to ask.
        since: OffsetDateTime,
    },
    /// It answers, and revocations come through.
    Connected {
        /// When it began to.
        since: OffsetDateTime,
    },
    /// It has answered before and does not now.
    Away {
        /// Since when.
        since: OffsetDateTime,
    },
}

/// What all parts of a daemon know about its connection to coderd. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    grace: Duration,
    standing: watch::Sender<Standing>,
    /// The same for those who ask per request.
    connected: AtomicBool,
    ended: watch::Sender<Option<Ended>>,
    loaded: watch::Sender<bool>,
    nudge: Notify,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Link {
    /// Nothing is known yet. For `grace` after their last confirmation, identities are served without coderd.
    #[must_use]
    pub fn new(clock: SharedClock, grace: Duration) -> Self {
        let standing = watch::Sender::new(Standing::Connecting { since: clock.now() });
        Self(Arc::new(Inner {
            clock,
            grace,
            standing,
            connected: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            loaded: watch::Sender::new(false),
            nudge: Notify::new(),
        }))
    }

    /// Whether coderd is there.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.0.standing.borrow()
    }

    /// Whether coderd answers; never waits.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    /// How long identities are served without coderd.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.0.grace
    }

    /// Whether the providers were read at least once.
    #[must_use]
    pub fn has_providers(&self) -> bool {
        *self.0.loaded.borrow()
    }

    /// Resolves when there is no more use in trying.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.0.ended.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let ended = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// How things are, in one line, while `known` identities are remembered.
    #[must_use]
    pub fn describe(&self, known: u64) -> String {
        let at = |at: OffsetDateTime| {
            let whole = at.replace_nanosecond(0).unwrap_or(at);
            whole.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
        };
        match self.standing() {
            Standing::Connecting { since } => {
                format!("coderd has not answered since {}", at(since))
            }
            Standing::Connected { since } => format!("connected to coderd since {}", at(since)),
            Standing::Away { since } => {
                let until = since
                    .saturating_add(time::Duration::try_from(self.0.grace).unwrap_or_default());
                let since = at(since);
                if self.0.clock.now() < until {
                    let until = at(until);
                    let identities = if known == 1 { "identity" } else { "identities" };
                    format!(
                        "coderd unreachable since {since}, serving {known} known {identities} until {until}"
                    )
                } else {
                    format!("coderd unreachable since {since}, serving nobody any more")
                }
            }
        }
    }

    /// Whether somebody who is known could be served now.
    #[must_use]
    pub fn can_serve(&self) -> bool {
        match self.standing() {
            Standing::Connecting { .. } => false,
            Standing::Connected { .. } => true,
            Standing::Away { since } => self.0.clock.now() - since < self.0.grace,
        }
    }

    /// coderd answers. Returns how it was before, if that is news.
    pub(super) fn up(&self) -> Option<Standing> {
        self.0.connected.store(true, Ordering::Release);
        let since = self.0.clock.now();
        let mut before = None;
        self.0.standing.send_if_modified(|standing| {
            let news = !matches!(standing, Standing::Connected { .. });
            if news {
                before = Some(*standing);
                *standing = Standing::Connected { since };
            }
            news
        });
        before
    }

    /// coderd does not answer. Whether that is news.
    pub(super) fn down(&self) -> bool {
        self.0.connected.store(false, Ordering::Release);
        let since = self.0.clock.now();
        self.0.standing.send_if_modified(|standing| {
            let news = matches!(standing, Standing::Connected { .. });
            if news {
                *standing = Standing::Away { since };
            }
            news
        })
    }

    pub(super) fn loaded(&self) {
        self.0.loaded.send_replace(true);
    }

    /// There is no more use in trying; the first reason counts.
    pub(super) fn end(&self, why: Ended) {
        self.0.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(why);
            }
            first
        });
    }

    /// Something suggests that coderd is back.
    pub(super) fn nudge(&self) {
        self.0.nudge.notify_one();
    }

    /// Waits, but not for longer than until coderd seems to be back.
    pub(super) async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.0.nudge.notified() => {}
        }
    }

    /// Waits, but not for longer than until coderd answers again.
    pub(super) async fn rest_until_up(&self, pause: Duration) {
        let mut standing = self.0.standing.subscribe();
        let up = async {
            loop {
                if standing.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                if matches!(*standing.borrow_and_update(), Standing::Connected { .. }) {
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = up => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use stdx::ManualClock;

    use super::*;

    #[test]
    fn it_says_in_one_line_how_things_are() {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let link = Link::new(Arc::clone(&clock) as _, Duration::from_hours(1));
        assert_eq!(link.describe(0), "coderd has not answered since 1970-01-01T00:00:00Z");
        assert!(!link.can_serve());
        assert!(!link.down(), "a coderd that never answered does not go away");
        clock.advance(Duration::from_secs(1));
        assert_eq!(link.up(), Some(Standing::Connecting { since: OffsetDateTime::UNIX_EPOCH }));
        assert_eq!(link.up(), None);
        assert_eq!(link.describe(3), "connected to coderd since 1970-01-01T00:00:01Z");
        clock.advance(Duration::from_secs(1));
        assert!(link.down());
        assert!(!link.down());
        clock.advance(Duration::from_mins(59));
        assert_eq!(
            link.describe(3),
            "coderd unreachable since 1970-01-01T00:00:02Z, serving 3 known identities until \
             1970-01-01T01:00:02Z"
        );
        assert!(link.describe(1).contains(", serving 1 known identity until "));
        assert!(link.can_serve() && !link.is_connected());
        clock.advance(Duration::from_mins(1));
        assert_eq!(
            link.describe(3),
            "coderd unreachable since 1970-01-01T00:00:02Z, serving nobody any more"
        );
        assert!(!link.can_serve());
    }

    #[tokio::test]
    async fn the_first_reason_for_an_end_counts() {
        let link = Link::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH), Duration::ZERO);
        let first = Ended::Key("first".to_owned());
        link.end(first.clone());
        link.end(Ended::Version("second".to_owned()));
        assert_eq!(link.ended().await, first);
    }
}
