//! Measures the engine against the Rego and the Cedar policy on the same questions, and against its bars.

mod clock;
mod people;
mod report;
mod sets;

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;
use rbac_proof::cedar::Cedar;
use rbac_proof::dice::Dice;
use rbac_proof::question::Catalogs;
use rbac_proof::random;
use rbac_proof::rego::Rego;
use rbac_proof::tables::tables;

use report::{Held, Report};

#[derive(clap::Parser)]
struct Args {
    /// Random questions that all three engines are asked first.
    #[arg(long, default_value_t = 2_000)]
    agree: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let catalogs = Catalogs::default();
    let mut rego = Rego::new(tables(&catalogs))?;
    let cedar = Cedar::new()?;
    agree(args.agree, &catalogs, &mut rego, &cedar)?;
    println!("{} random questions: the engine, Rego and Cedar agree.\n", args.agree);

    let mut report = Report::default();
    let allocations = allocations()?;
    for orgs in [1, 100] {
        let set = sets::Set::new(orgs, &catalogs, &cedar)?;
        set.agree(&mut rego, &cedar)?;
        let counted =
            allocations.iter().find(|(of, _)| *of == orgs).context("count-rbac told nothing")?.1;
        report.decisions(orgs, &set, &mut rego, &cedar, counted)?;
    }
    people::measure(&mut report, &catalogs)?;
    let missed = report.missed();
    println!(
        "{} bars met, {missed} missed.\n\n{}",
        report.bars() - missed,
        report.table().trim_end()
    );
    Ok(())
}

/// All three engines on random questions.
fn agree(questions: u64, catalogs: &Catalogs, rego: &mut Rego, cedar: &Cedar) -> Result<()> {
    let mut dice = Dice::new(3);
    for number in 0..questions {
        let question = random::question(&mut dice);
        let subject = question.subject(catalogs)?;
        let acl = question.acl();
        let ours = subject.authorize(question.action, &question.object(&acl)).is_ok();
        let regos = rego.allows(Rego::input(question.json()))?;
        let cedars = cedar.allows(&cedar.ask(&question, catalogs)?)?;
        if (regos, cedars) != (ours, ours) {
            bail!(
                "question {number}: engine {ours}, Rego {regos}, Cedar {cedars}\n{:#}",
                question.json()
            );
        }
    }
    Ok(())
}

/// Asks `count-rbac`, which lies beside this program: organizations, allocations of all decisions.
fn allocations() -> Result<Vec<(usize, u64)>> {
    let program = env::current_exe()?.with_file_name("count-rbac");
    let output = Command::new(&program)
        .output()
        .with_context(|| format!("cannot run {}; build it as well", program.display()))?;
    ensure!(output.status.success(), "count-rbac failed");
    String::from_utf8(output.stdout)?
        .lines()
        .map(|line| {
            let (orgs, counted) = line.split_once(' ').context("count-rbac printed no pair")?;
            Ok((orgs.parse()?, counted.parse()?))
        })
        .collect()
}

impl Report {
    fn decisions(
        &mut self,
        orgs: usize,
        set: &sets::Set,
        rego: &mut Rego,
        cedar: &Cedar,
        allocations: u64,
    ) -> Result<()> {
        let ours = set.ours_ns();
        let (slowest, name) = set.slowest_ns();
        let regos = set.rego_ns(rego)?;
        let cedars = set.cedar_ns(cedar)?;
        let bar = Held::AtMost(if orgs == 1 { 100.0 } else { 1_000.0 });
        self.ns("one decision, mean", orgs, ours, bar);
        self.ns(&format!("one decision, slowest ({name})"), orgs, slowest, bar);
        #[expect(clippy::cast_precision_loss, reason = "a count of allocations, which is zero")]
        let allocations = allocations as f64;
        self.count("allocations of all decisions", orgs, allocations, Held::AtMost(0.0));
        self.ns("the same in Rego (regorus), mean", orgs, regos, Held::Shown);
        self.ns("the same in Cedar (cedar-policy), mean", orgs, cedars, Held::Shown);
        // The bars are said of one organization.
        let at_least = |bar| if orgs == 1 { Held::AtLeast(bar) } else { Held::Shown };
        self.times("regorus / engine", orgs, regos / ours, at_least(1_000.0));
        self.times("cedar-policy / engine", orgs, cedars / ours, at_least(100.0));
        Ok(())
    }
}
