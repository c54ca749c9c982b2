use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;
use diesel::sql_types::Bool;

use super::Condition;

/// Conditions of which any or all must hold, in parentheses.
pub(super) struct Joined<T> {
    first: Condition<T>,
    word: &'static str,
    others: Vec<Condition<T>>,
}

impl<T: 'static> Joined<T> {
    /// One of these; `None` of none.
    pub(super) fn any(terms: Vec<Condition<T>>) -> Option<Condition<T>> {
        Self::by(" OR ", terms)
    }

    /// Each of these; `None` of none.
    pub(super) fn all(terms: Vec<Condition<T>>) -> Option<Condition<T>> {
        Self::by(" AND ", terms)
    }

    fn by(word: &'static str, terms: Vec<Condition<T>>) -> Option<Condition<T>> {
        let mut terms = terms.into_iter();
        let first = terms.next()?;
        let others: Vec<_> = terms.collect();
        Some(if others.is_empty() { first } else { Box::new(Self { first, word, others }) })
    }
}

impl<T> Expression for Joined<T> {
    type SqlType = Bool;
}

impl<T> AppearsOnTable<T> for Joined<T> {}
impl<T> SelectableExpression<T> for Joined<T> {}

impl<T> ValidGrouping<()> for Joined<T> {
    type IsAggregate = is_aggregate::No;
}

impl<T> QueryFragment<Pg> for Joined<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        self.first.walk_ast(out.reborrow())?;
        for term in &self.others {
            out.push_sql(self.word);
            term.walk_ast(out.reborrow())?;
        }
        out.push_sql(")");
        Ok(())
    }
}
