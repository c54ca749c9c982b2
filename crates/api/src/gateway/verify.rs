//! Whether facts are stored as they were recorded.

use std::sync::Arc;

use aibridge::facts::Fact;
use control::wire::Verified;
use rbac::system;
use store::interceptions::{CompareFacts, Deviation};
use store::{Call, Error, Store as _};

use super::records::StoreSink;
use super::rows;

impl StoreSink {
    /// Which of these facts have no row, and which have one that says something else.
    ///
    /// # Errors
    /// What the store returns.
    pub async fn verify(&self, facts: &[Fact]) -> Result<Verified, Error> {
        let query = CompareFacts(Arc::new(rows::of(facts)));
        let found = self.parts().store.run(Call::by(system::gateway()), query).await?;
        let mut verified = Verified::default();
        let mut note = |of_kind: fn(&Fact) -> bool, deviations: &[Deviation]| {
            if deviations.is_empty() {
                return;
            }
            let places = facts.iter().enumerate().filter(|(_, fact)| of_kind(fact));
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            for deviation in deviations {
                let Some(place) = places.get(deviation.index) else { continue };
                let list =
                    if deviation.missing { &mut verified.missing } else { &mut verified.different };
                list.push(*place);
            }
        };
        note(|fact| matches!(fact, Fact::Start(_)), &found.starts);
        note(|fact| matches!(fact, Fact::Tokens(_)), &found.tokens);
        note(|fact| matches!(fact, Fact::Prompt(_)), &found.prompts);
        note(|fact| matches!(fact, Fact::Tool(_)), &found.tools);
        note(|fact| matches!(fact, Fact::Thought(_)), &found.thoughts);
        note(|fact| matches!(fact, Fact::End(_)), &found.ends);
        verified.missing.sort_unstable();
        verified.different.sort_unstable();
        Ok(verified)
    }
}
