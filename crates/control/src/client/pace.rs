use std::time::Duration;

use stdx::{Backoff, SharedRng};

use super::call::CallError;

const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(10);

/// Pauses between tries that fail.
#[derive(Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    rng: SharedRng,
}

impl Pace {
    pub(super) fn new(rng: SharedRng) -> Self {
        Self { backoff: Backoff::new(FIRST, MAX), rng }
    }

    /// How long to wait after `error`: between half of the growing pause and all of it, so that the daemons of
    /// a deployment do not all come back at once; and never less than coderd asks for.
    pub(super) fn pause(&mut self, error: &CallError) -> Duration {
        let full = self.backoff.pause();
        let mut byte = [0];
        self.rng.fill_id(&mut byte);
        let [chance] = byte;
        let pause = full / 2 + full * u32::from(chance) / 510;
        pause.max(error.retry_after().unwrap_or_default())
    }

    pub(super) const fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use stdx::SeededRng;

    use super::*;

    #[test]
    fn pauses_grow_are_spread_and_honour_what_is_asked() {
        let mut pace = Pace::new(SeededRng::shared(1));
        let away = CallError::Away(String::new());
        let mut pauses = Vec::new();
        for full in [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000] {
            let pause = pace.pause(&away).as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
            pauses.push(pause * 1_000 / full);
        }
        pauses.dedup();
        assert!(pauses.len() > 5, "{pauses:?}");
        let minute = Duration::from_mins(1);
        let busy = CallError::Busy { reason: String::new(), retry_after: Some(minute) };
        assert_eq!(pace.pause(&busy), minute);
        pace.reset();
        assert!(pace.pause(&away) <= FIRST);
    }
}
