//! One circuit: a pure state machine.

use std::time::Duration;

use tokio::time::Instant;

use super::{BreakerSettings, Verdict};

/// An open circuit that nobody asked about for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Be sent.
    Pass,
    /// Be sent to try the circuit, in this round.
    Probe(u64),
    /// Come back after this time.
    Refuse(Duration),
}

/// The state as operators know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    pub(super) const fn gauge(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 0.5,
            Self::Open => 1.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed { failures: u32, since: Instant },
    Open { until: Instant },
    HalfOpen { since: Instant, trying: u32, succeeded: u32 },
}

/// A circuit that is not, or was not lately, well.
#[derive(Debug)]
pub(super) struct Circuit {
    phase: Phase,
    /// Counts how often it was half-open: what a probe of an earlier round says does not count.
    round: u64,
}

impl Circuit {
    /// Closed, and no failure counted yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self { phase: Phase::Closed { failures: 0, since: now }, round: 0 }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Whether there is nothing to remember.
    pub(super) const fn is_well(&self) -> bool {
        matches!(self.phase, Phase::Closed { failures: 0, .. })
    }

    /// Whether so much time has passed that nothing of it counts any more.
    pub(super) fn is_forgotten(&self, settings: &BreakerSettings, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { since, .. } => now >= later(since, settings.interval),
            Phase::Open { until } => now >= later(until, FORGOTTEN_AFTER),
            Phase::HalfOpen { since, .. } => now >= later(since, FORGOTTEN_AFTER),
        }
    }

    pub(super) fn admit(&mut self, settings: &BreakerSettings, now: Instant) -> Admission {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Admission::Refuse(until - now);
            }
            self.round += 1;
            self.phase = Phase::HalfOpen { since: now, trying: 0, succeeded: 0 };
        }
        match &mut self.phase {
            Phase::Closed { .. } | Phase::Open { .. } => Admission::Pass,
            Phase::HalfOpen { trying, succeeded, .. } => {
                if *trying + *succeeded >= settings.max_requests {
                    return Admission::Refuse(Duration::from_secs(1));
                }
                *trying += 1;
                Admission::Probe(self.round)
            }
        }
    }

    /// A request ended; `probe` is the round in which it tried the circuit.
    pub(super) fn settle(
        &mut self,
        settings: &BreakerSettings,
        probe: Option<u64>,
        verdict: Verdict,
        now: Instant,
    ) {
        let open = Phase::Open { until: later(now, settings.timeout) };
        match (&mut self.phase, verdict) {
            (Phase::Closed { .. }, Verdict::Nothing) | (Phase::Open { .. }, _) => {}
            (Phase::Closed { failures, .. }, Verdict::Well) => *failures = 0,
            (Phase::Closed { failures, since }, Verdict::Ill) => {
                if now >= later(*since, settings.interval) {
                    (*failures, *since) = (0, now);
                }
                *failures += 1;
                if *failures >= settings.failure_threshold {
                    self.phase = open;
                }
            }
            // What began before the circuit opened says nothing about how it is now.
            (Phase::HalfOpen { .. }, _) if probe != Some(self.round) => {}
            (Phase::HalfOpen { .. }, Verdict::Ill) => self.phase = open,
            (Phase::HalfOpen { trying, .. }, Verdict::Nothing) => {
                *trying = trying.saturating_sub(1);
            }
            (Phase::HalfOpen { trying, succeeded, .. }, Verdict::Well) => {
                *trying = trying.saturating_sub(1);
                *succeeded += 1;
                if *succeeded >= settings.max_requests {
                    self.phase = Phase::Closed { failures: 0, since: now };
                }
            }
        }
    }
}

/// Spans come from options and may be centuries.
fn later(from: Instant, by: Duration) -> Instant {
    const LONG: Duration = Duration::from_hours(24 * 365);
    from + by.min(LONG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        failure_threshold: 3,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(30),
        max_requests: 2,
    };

    /// A circuit with a clock.
    struct Play {
        circuit: Circuit,
        now: Instant,
    }

    impl Play {
        fn new() -> Self {
            let now = Instant::now();
            Self { circuit: Circuit::new(now), now }
        }

        fn wait(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn settle(&mut self, probe: Option<u64>, verdict: Verdict) -> &mut Self {
            self.circuit.settle(&SETTINGS, probe, verdict, self.now);
            self
        }

        fn admit(&mut self) -> Admission {
            self.circuit.admit(&SETTINGS, self.now)
        }

        /// Opens it.
        fn opened() -> Self {
            let mut play = Self::new();
            play.settle(None, Verdict::Ill).settle(None, Verdict::Ill).settle(None, Verdict::Ill);
            assert_eq!(play.circuit.state(), State::Open);
            play
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not_let_them() {
        let mut play = Play::new();
        play.settle(None, Verdict::Ill).settle(None, Verdict::Ill).settle(None, Verdict::Well);
        assert!(play.circuit.is_well());
        play.settle(None, Verdict::Ill).settle(None, Verdict::Nothing).settle(None, Verdict::Ill);
        assert_eq!(play.circuit.state(), State::Closed);
        play.settle(None, Verdict::Ill);
        assert_eq!(play.circuit.state(), State::Open);
    }

    #[test]
    fn failures_that_lie_apart_do_not_add_up() {
        let mut play = Play::new();
        play.settle(None, Verdict::Ill).settle(None, Verdict::Ill).wait(10);
        play.settle(None, Verdict::Ill).settle(None, Verdict::Ill);
        assert_eq!(play.circuit.state(), State::Closed);
        play.settle(None, Verdict::Ill);
        assert_eq!(play.circuit.state(), State::Open);
    }

    #[test]
    fn an_open_one_refuses_until_its_time_has_passed_then_lets_a_few_try() {
        let mut play = Play::opened();
        assert_eq!(play.wait(10).admit(), Admission::Refuse(Duration::from_secs(20)));
        assert_eq!(play.wait(20).admit(), Admission::Probe(1));
        assert_eq!(play.circuit.state(), State::HalfOpen);
        assert_eq!(play.admit(), Admission::Probe(1));
        assert_eq!(play.admit(), Admission::Refuse(Duration::from_secs(1)));
        play.settle(Some(1), Verdict::Well);
        assert_eq!(play.admit(), Admission::Refuse(Duration::from_secs(1)));
        play.settle(Some(1), Verdict::Well);
        assert!(play.circuit.is_well());
        assert_eq!(play.admit(), Admission::Pass);
    }

    #[test]
    fn one_failed_try_opens_it_again_and_late_news_do_not_count() {
        let mut play = Play::opened();
        play.wait(30);
        assert_eq!((play.admit(), play.admit()), (Admission::Probe(1), Admission::Probe(1)));
        play.settle(None, Verdict::Ill);
        assert_eq!(play.circuit.state(), State::HalfOpen, "that one began before");
        play.settle(Some(1), Verdict::Ill);
        assert_eq!(play.circuit.state(), State::Open);
        assert_eq!(play.wait(30).admit(), Admission::Probe(2));
        play.settle(Some(1), Verdict::Well).settle(Some(1), Verdict::Ill);
        assert_eq!(play.circuit.state(), State::HalfOpen, "those were of the round before");
    }

    #[test]
    fn a_try_that_said_nothing_makes_room_for_another() {
        let mut play = Play::opened();
        play.wait(30);
        for _ in 0..10 {
            assert_eq!(play.admit(), Admission::Probe(1));
            play.settle(Some(1), Verdict::Nothing);
        }
        assert_eq!(play.circuit.state(), State::HalfOpen);
    }

    #[test]
    fn circuits_are_forgotten_when_they_do_not_matter_any_more() {
        let mut play = Play::new();
        play.settle(None, Verdict::Ill);
        assert!(!play.circuit.is_forgotten(&SETTINGS, play.now));
        assert!(play.circuit.is_forgotten(&SETTINGS, play.now + SETTINGS.interval));
        let play = Play::opened();
        assert!(!play.circuit.is_forgotten(&SETTINGS, play.now + SETTINGS.timeout));
        let long = SETTINGS.timeout + FORGOTTEN_AFTER;
        assert!(play.circuit.is_forgotten(&SETTINGS, play.now + long));
    }

    proptest! {
        #[test]
        fn whatever_happens_no_more_than_the_allowed_number_try_at_once(
            steps in prop::collection::vec((0_u8..5, 0_u64..20), 0..200)
        ) {
            let mut play = Play::new();
            let mut trying = Vec::new();
            for (step, seconds) in steps {
                play.wait(seconds);
                let verdict = [Verdict::Well, Verdict::Ill, Verdict::Nothing];
                match (step, trying.pop()) {
                    (3.., round) => {
                        trying.extend(round);
                        if let Admission::Probe(round) = play.admit() {
                            trying.push(round);
                        }
                    }
                    (step, Some(round)) => {
                        play.settle(Some(round), verdict[usize::from(step)]);
                    }
                    (step, None) => {
                        play.settle(None, verdict[usize::from(step)]);
                    }
                }
                let round = play.circuit.round;
                let now = trying.iter().filter(|of| **of == round).count();
                if play.circuit.state() == State::HalfOpen {
                    prop_assert!(now <= SETTINGS.max_requests as usize);
                }
            }
        }
    }
}
