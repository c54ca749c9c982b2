//! How many requests per second one user may make.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use stdx::ids::UserId;
use tokio::time::Instant;

/// Users who were idle long enough to have their full allowance back are forgotten after so many checks.
const SWEEP_EVERY: u32 = 8192;

/// Time since the limiter was made: never goes back, as the wall clock may.
#[derive(Clone, Debug)]
pub(super) struct Since(Instant);

impl Clock for Since {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One allowance per user.
pub(super) struct Rate<C: Clock = Since> {
    limiter: RateLimiter<UserId, HashMapStateStore<UserId>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    checks: AtomicU32,
}

impl<C: Clock> fmt::Debug for Rate<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").finish_non_exhaustive()
    }
}

impl Rate {
    /// Nothing when there is no limit.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        Some(Self::with(NonZeroU32::new(per_second)?, Since(Instant::now())))
    }
}

impl<C: Clock + Clone> Rate<C> {
    fn with(per_second: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_second(per_second);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, checks: AtomicU32::new(0) }
    }

    /// Counts one request, or says how long to wait.
    pub(super) fn check(&self, user: UserId) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        let checked = self.limiter.check_key(&user);
        checked.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    #[test]
    fn a_burst_of_one_second_is_allowed_then_each_request_waits_for_its_share() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::with(NonZeroU32::new(4).unwrap(), clock.clone());
        for _ in 0..4 {
            assert_eq!(rate.check(user(1)), Ok(()));
        }
        assert_eq!(rate.check(user(1)), Err(Duration::from_millis(250)));
        assert_eq!(rate.check(user(2)), Ok(()), "another user has an allowance of his own");
        clock.advance(Duration::from_millis(250));
        assert_eq!(rate.check(user(1)), Ok(()));
        assert!(rate.check(user(1)).is_err());
        assert!(Rate::new(0).is_none());
    }

    #[test]
    fn users_who_are_idle_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::with(NonZeroU32::MIN, clock.clone());
        for number in 0..u128::from(SWEEP_EVERY) - 1 {
            assert_eq!(rate.check(user(number)), Ok(()));
        }
        clock.advance(Duration::from_secs(2));
        assert_eq!(rate.check(user(0)), Ok(()));
        assert_eq!(rate.limiter.len(), 1);
    }
}
