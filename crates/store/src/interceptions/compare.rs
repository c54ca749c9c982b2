use std::sync::Arc;

use diesel::sql_types::{BigInt, Bool};
use diesel_async::RunQueryDsl;
use rbac::Action;

use super::ANY;
use super::columns::{
    Around, Columns, EndColumns, PromptColumns, StartColumns, Table, ThoughtColumns, TokensColumns,
    ToolColumns,
};
use super::rows::Facts;
use crate::Error;
use crate::query::{Access, Db, Fut, Permit, Query, check};

/// Compares facts with what is stored, column by column. Changes nothing. Where an interception hangs in its
/// thread is not compared: that is found out when it is stored.
#[derive(Clone, Debug)]
pub struct CompareFacts(pub Arc<Facts>);

/// A fact that is not stored as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation {
    /// Place in its list.
    pub index: usize,
    /// There is no row. Otherwise there is one that says something else.
    pub missing: bool,
}

/// What [`CompareFacts`] found: one list for each of [`Facts`], in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one list per kind")]
pub struct Deviations {
    pub starts: Vec<Deviation>,
    pub tokens: Vec<Deviation>,
    pub prompts: Vec<Deviation>,
    pub tools: Vec<Deviation>,
    pub thoughts: Vec<Deviation>,
    pub ends: Vec<Deviation>,
}

const STARTS: (&str, &str) = (
    "SELECT w.place, i.id IS NULL FROM ",
    " WITH ORDINALITY AS w (id, initiator_id, api_key_id, provider, provider_name, model, client, started_at,
                            metadata, client_session_id, credential_kind, place)
      LEFT JOIN aibridge_interceptions i ON i.id = w.id
     WHERE i.id IS NULL
        OR (i.initiator_id, i.api_key_id, i.provider, i.provider_name, i.model, i.client, i.started_at,
            i.metadata, i.client_session_id, i.credential_kind)
           IS DISTINCT FROM
           (w.initiator_id, w.api_key_id, w.provider, w.provider_name, w.model, w.client, w.started_at,
            w.metadata, w.client_session_id, w.credential_kind)",
);

/// An interception that is open, or was closed for want of an end, has none.
const ENDS: (&str, &str) = (
    concat!("SELECT w.place, i.id IS NULL OR i.ended_at IS NULL OR ", swept!(), " FROM "),
    concat!(
        " WITH ORDINALITY AS w (id, ended_at, hint, error_type, error_message, place)
          LEFT JOIN aibridge_interceptions i ON i.id = w.id
         WHERE i.id IS NULL OR i.ended_at IS NULL OR ",
        swept!(),
        "
            OR (i.ended_at, i.error_type, i.error_message)
               IS DISTINCT FROM (w.ended_at, w.error_type, w.error_message)
            OR w.hint <> '' AND i.credential_hint <> w.hint"
    ),
);

impl Query for CompareFacts {
    const NAME: &'static str = "interceptions.compare_facts";
    type Out = Deviations;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Deviations> {
        Box::pin(async move {
            let facts = &*self.0;
            Ok(Deviations {
                starts: deviations(db, &facts.starts, STARTS, StartColumns::of).await?,
                tokens: rows(db, &facts.tokens, TokensColumns::of).await?,
                prompts: rows(db, &facts.prompts, PromptColumns::of).await?,
                tools: rows(db, &facts.tools, ToolColumns::of).await?,
                thoughts: rows(db, &facts.thoughts, ThoughtColumns::of).await?,
                ends: deviations(db, &facts.ends, ENDS, EndColumns::of).await?,
            })
        })
    }
}

async fn rows<'a, R, C: Table>(
    db: &mut Db<'_>,
    rows: &'a [R],
    columns: impl Fn(&[&'a R]) -> C,
) -> Result<Vec<Deviation>, Error> {
    deviations(db, rows, C::COMPARE, columns).await
}

async fn deviations<'a, R, C: Columns>(
    db: &mut Db<'_>,
    rows: &'a [R],
    text: (&'static str, &'static str),
    columns: impl Fn(&[&'a R]) -> C,
) -> Result<Vec<Deviation>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<&R> = rows.iter().collect();
    let columns = columns(&rows);
    let found: Vec<(i64, bool)> =
        Around::<_, (BigInt, Bool)>::join(text.0, &columns, text.1).load(db.conn()).await?;
    let mut deviations: Vec<Deviation> = found
        .into_iter()
        .filter_map(|(place, missing)| {
            Some(Deviation { index: usize::try_from(place).ok()?.checked_sub(1)?, missing })
        })
        .collect();
    deviations.sort_unstable();
    Ok(deviations)
}
