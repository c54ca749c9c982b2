use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::query_source::Column;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};
use rbac::RowFilter;
use uuid::Uuid;

use super::Condition;

/// How access control lists are stored: an object in JSON with the id of a user or group as key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclShape {
    /// `{"<id>": ["read", ..]}`
    Actions,
    /// `{"<id>": {"permissions": ["read", ..]}}`
    Permissions,
}

/// Whom an access control list must name, and for what.
#[derive(Debug)]
pub struct Sharing {
    user: String,
    groups: Vec<String>,
    group_ids: Vec<Uuid>,
    /// The action, and the one that stands for all.
    actions: Vec<&'static str>,
}

impl Sharing {
    pub(super) fn of(filter: &RowFilter) -> Self {
        Self {
            user: filter.user().to_string(),
            groups: filter.acl().groups().iter().map(ToString::to_string).collect(),
            group_ids: filter.acl().groups().iter().map(|group| group.uuid()).collect(),
            actions: vec![filter.action().as_str(), "*"],
        }
    }

    /// The groups that the subject is in: for rows that are shared with a group without a list that says so.
    #[must_use]
    pub fn groups(self) -> Vec<Uuid> {
        self.group_ids
    }

    /// The condition over a table's two lists and its organization, whose id is the id of its group of everyone.
    #[must_use]
    pub fn by<T, U, G, O>(self, shape: AclShape, users: U, groups: G, org: O) -> Condition<T>
    where
        U: Column + SelectableExpression<T> + QueryFragment<Pg> + Send + 'static,
        G: Column + SelectableExpression<T> + QueryFragment<Pg> + Send + 'static,
        O: Column + SelectableExpression<T> + QueryFragment<Pg> + Send + 'static,
    {
        Box::new(Shared { users, groups, org, shape, with: self })
    }
}

struct Shared<U, G, O> {
    users: U,
    groups: G,
    org: O,
    shape: AclShape,
    with: Sharing,
}

impl<U, G, O> Expression for Shared<U, G, O> {
    type SqlType = Bool;
}

impl<T, U, G, O> AppearsOnTable<T> for Shared<U, G, O>
where
    U: AppearsOnTable<T>,
    G: AppearsOnTable<T>,
    O: AppearsOnTable<T>,
{
}

impl<T, U, G, O> SelectableExpression<T> for Shared<U, G, O>
where
    U: SelectableExpression<T>,
    G: SelectableExpression<T>,
    O: SelectableExpression<T>,
{
}

impl<U: Column, G: Column, O: Column> ValidGrouping<()> for Shared<U, G, O> {
    type IsAggregate = is_aggregate::No;
}

impl<U, G, O> Shared<U, G, O> {
    /// Ends a term that began with a list and a key: the key's actions contain one of those wanted. A key that
    /// is missing gives null, which is no yes.
    fn has_action<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(match self.shape {
            AclShape::Actions => ") ?| ",
            AclShape::Permissions => " -> 'permissions') ?| ",
        });
        out.push_bind_param::<Array<Text>, _>(&self.with.actions)
    }
}

impl<U, G, O> QueryFragment<Pg> for Shared<U, G, O>
where
    U: QueryFragment<Pg>,
    G: QueryFragment<Pg>,
    O: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("((");
        self.users.walk_ast(out.reborrow())?;
        out.push_sql(" -> ");
        out.push_bind_param::<Text, _>(&self.with.user)?;
        self.has_action(out.reborrow())?;
        // The one place where an id is cast: it is a key inside of a document here, which no index of the
        // column could find.
        out.push_sql(" OR (");
        self.groups.walk_ast(out.reborrow())?;
        out.push_sql(" -> (");
        self.org.walk_ast(out.reborrow())?;
        out.push_sql(")::text");
        self.has_action(out.reborrow())?;
        if !self.with.groups.is_empty() {
            // Most rows are shared with none of the groups, which the first half tells at once.
            out.push_sql(" OR (");
            self.groups.walk_ast(out.reborrow())?;
            out.push_sql(" ?| ");
            out.push_bind_param::<Array<Text>, _>(&self.with.groups)?;
            out.push_sql(" AND EXISTS (SELECT FROM unnest(");
            out.push_bind_param::<Array<Text>, _>(&self.with.groups)?;
            out.push_sql(") AS mine (id) WHERE (");
            self.groups.walk_ast(out.reborrow())?;
            out.push_sql(" -> mine.id");
            self.has_action(out.reborrow())?;
            out.push_sql("))");
        }
        out.push_sql(")");
        Ok(())
    }
}
