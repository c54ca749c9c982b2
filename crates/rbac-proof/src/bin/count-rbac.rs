//! Counts what the engine allocates on its way to a decision. A program of its own, so that counting does
//! not slow down what is measured.

use std::hint::black_box;

use allocation_counter::measure;
use anyhow::Result;
use rbac_proof::everyday;
use rbac_proof::question::Catalogs;

fn main() -> Result<()> {
    let catalogs = Catalogs::default();
    for orgs in [1, 100] {
        let mut decisions = 0;
        for question in everyday::questions(orgs) {
            let subject = question.subject(&catalogs)?;
            let acl = question.acl();
            let object = question.object(&acl);
            let counted = measure(|| {
                let _ = black_box(subject.authorize(question.action, black_box(&object)));
            });
            decisions += counted.count_total;
        }
        println!("{orgs} {decisions}");
    }
    Ok(())
}
