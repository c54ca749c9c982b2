//! Asks the engine and the policy the same random questions and compares their answers.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use rbac::Because;

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
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.questions += other.questions;
        self.allowed += other.allowed;
        self.filtered += other.filtered;
        for (reason, times) in other.reasons {
            *self.reasons.entry(reason).or_default() += times;
        }
        self
    }
}

/// Asks `questions` questions of the stream `seed`. `progress` is told how many are done, now and then.
///
/// Three answers of the engine are compared with the policy's: the decision, its explanation, and (but for
/// questions about any organization) the row filter.
///
/// # Errors
/// The first difference, with the question in full.
pub fn run(seed: u64, questions: u64, progress: impl Fn(u64)) -> Result<Tally> {
    let catalogs = Catalogs::default();
    let mut rego = Rego::new(tables(&catalogs))?;
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    for number in 0..questions {
        let question = random::question(&mut dice);
        let expected = rego.allows(Rego::input(question.json()))?;
        if let Err(error) = compare(&question, &catalogs, expected, &mut tally) {
            bail!("question {number} of seed {seed}: {error:#}\n{:#}", question.json());
        }
        if (number + 1) % 10_000 == 0 {
            progress(number + 1);
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
    tally.questions += 1;
    tally.allowed += u64::from(decided);
    *tally.reasons.entry(reason(&explained.because)).or_default() += 1;
    if question.what.place != Place::Any {
        tally.filtered += 1;
        let filter = subject.row_filter(question.action, question.what.resource);
        if filter.matches(&object) != expected
            || (filter.is_nothing() && expected)
            || (filter.is_everything() && !expected)
        {
            bail!("decided {expected}, but filtered by {filter:?}");
        }
    }
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
