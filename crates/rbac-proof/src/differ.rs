//! Asks the engine and the policy the same random questions and compares their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail};
use rbac::{Action, Because, Resource};

use crate::coverage;
use crate::dice::Dice;
use crate::question::{Catalogs, Place, Question};
use crate::random;
use crate::rego::Rego;
use crate::tables::tables;

/// What the questions of a run turned on: how often each reason decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were asked.
    pub questions: u64,
    /// How many were answered with yes.
    pub allowed: u64,
    /// How many were also asked through a row filter.
    pub filtered: u64,
    /// Reasons by name.
    pub reasons: BTreeMap<&'static str, u64>,
    /// How often a role granted; custom ones count as one.
    pub granted_by: BTreeMap<String, u64>,
    /// How often a role forbade what nothing above it allowed; custom ones count as one.
    pub forbidden_by: BTreeMap<String, u64>,
    /// How many questions had each of [`coverage::FEATURES`].
    pub features: BTreeMap<&'static str, u64>,
    /// Which declared actions were asked about.
    pub actions: BTreeSet<(Resource, Action)>,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.questions += other.questions;
        self.allowed += other.allowed;
        self.filtered += other.filtered;
        add(&mut self.reasons, other.reasons);
        add(&mut self.granted_by, other.granted_by);
        add(&mut self.forbidden_by, other.forbidden_by);
        add(&mut self.features, other.features);
        self.actions.extend(other.actions);
        self
    }

    fn count(&mut self, question: &Question, allowed: bool, because: &Because) {
        self.questions += 1;
        self.allowed += u64::from(allowed);
        self.filtered += u64::from(question.what.place != Place::Any);
        *self.reasons.entry(reason(because)).or_default() += 1;
        for feature in coverage::features(question) {
            *self.features.entry(feature).or_default() += 1;
        }
        let by = match because {
            Because::Granted(ground) => Some((&mut self.granted_by, ground)),
            Because::Forbidden(ground) => Some((&mut self.forbidden_by, ground)),
            _ => None,
        };
        if let Some((roles, ground)) = by {
            let name = ground.role.name();
            let name = if name.starts_with("custom-") { "custom" } else { name };
            *roles.entry(name.to_owned()).or_default() += 1;
        }
        if question.what.resource.actions().contains(question.action) {
            self.actions.insert((question.what.resource, question.action));
        }
    }
}

fn add<K: Ord>(mine: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, times) in other {
        *mine.entry(key).or_default() += times;
    }
}

/// Questions of one stream.
const STREAM: u64 = 10_000;

/// Asks `questions` questions: of the streams `seed`, `seed + 1` and so on, each as long as [`run`] has it, on
/// that many threads. The same whatever the number of threads. `progress` is told how many are done.
///
/// # Errors
/// A difference, with the question in full.
pub fn run_all(
    seed: u64,
    questions: u64,
    threads: usize,
    progress: impl Fn(u64) + Sync,
) -> Result<Tally> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut tally = Tally::default();
        loop {
            let stream = next.fetch_add(1, Ordering::Relaxed);
            let length = questions.saturating_sub(stream.saturating_mul(STREAM)).min(STREAM);
            if length == 0 {
                return anyhow::Ok(tally);
            }
            // Who finds a difference ends; the others may finish what they began.
            let asked = run(seed.wrapping_add(stream), length).inspect_err(|_| {
                next.store(u64::MAX / 2, Ordering::Relaxed);
            })?;
            tally = tally.with(asked);
            progress(done.fetch_add(length, Ordering::Relaxed) + length);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_fold(Tally::default(), |tally, worker| {
            let asked = worker.join().map_err(|_| anyhow!("a worker panicked"))??;
            Ok(tally.with(asked))
        })
    })
}

/// Asks `questions` questions of the stream `seed`.
///
/// Three answers of the engine are compared with the policy's: the decision, its explanation, and (but for
/// questions about any organization) the row filter.
///
/// # Errors
/// The first difference, with the question in full.
pub fn run(seed: u64, questions: u64) -> Result<Tally> {
    let catalogs = Catalogs::default();
    let mut rego = Rego::new(tables(&catalogs))?;
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    for number in 0..questions {
        let question = random::question(&mut dice);
        let expected = rego.allows(Rego::input(question.json()))?;
        if let Err(error) = compare(&question, &catalogs, expected, &mut tally) {
            bail!("question {number} of stream {seed}: {error:#}\n{:#}", question.json());
        }
    }
    Ok(tally)
}

fn compare(
    question: &Question,
    catalogs: &Catalogs,
    expected: bool,
    tally: &mut Tally,
) -> Result<()> {
    let subject = question.subject(catalogs)?;
    let acl = question.acl();
    let object = question.object(&acl);
    let explained = subject.explain(question.action, &object);
    let decided = subject.authorize(question.action, &object).is_ok();
    if decided != expected {
        bail!("the policy says {expected}, the engine {decided}: {explained}");
    }
    if explained.allowed != expected {
        bail!("decided {expected}, but explained: {explained}");
    }
    if question.what.place != Place::Any {
        let filter = subject.row_filter(question.action, question.what.resource);
        if filter.matches(&object) != expected
            || (filter.is_nothing() && expected)
            || (filter.is_everything() && !expected)
        {
            bail!("decided {expected}, but filtered by {filter:?}");
        }
    }
    tally.count(question, decided, &explained.because);
    Ok(())
}

const fn reason(because: &Because) -> &'static str {
    match because {
        Because::Granted(ground) => match ground.level {
            rbac::Level::Site => "granted at site level",
            rbac::Level::User => "granted at user level",
            rbac::Level::Org => "granted at org level",
            rbac::Level::Member => "granted at member level",
        },
        Because::SharedWithUser => "shared with the user",
        Because::SharedWithGroup(_) => "shared with a group",
        Because::SharedWithEveryone => "shared with everyone",
        Because::Undeclared => "undeclared",
        Because::Forbidden(ground) => match ground.level {
            rbac::Level::Site => "forbidden at site level",
            rbac::Level::User => "forbidden at user level",
            rbac::Level::Org => "forbidden at org level",
            rbac::Level::Member => "forbidden at member level",
        },
        Because::NotMember(_) => "not a member",
        Because::NotOwner(_) => "not the owner",
        Because::NoGrant => "not granted",
        Because::Scope(_) => "beyond the scope",
        Because::AllowList => "not on the allow list",
        _ => "another reason",
    }
}
