use diesel::PgArrayExpressionMethods as _;
use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;

use super::{User, lower};
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::users;
use crate::{Error, Pk};

/// Most users of a page, and what a limit of 0 stands for.
pub const PAGE_MAX: i64 = 1_000;

/// Which users. Absent fields and empty lists do not narrow. Deleted users are never listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per column; times are inclusive")]
pub struct Filter {
    /// A part of the username, the address or the display name, ignoring case.
    pub search: Option<String>,
    /// A part of the display name, ignoring case.
    pub name: Option<String>,
    /// One of these.
    pub statuses: Vec<String>,
    /// At least one of these roles of the deployment; `member` is everybody's.
    pub roles: Vec<String>,
    /// One of these.
    pub login_types: Vec<String>,
    pub github_com_user_id: Option<i64>,
    /// Those who were never seen included.
    pub last_seen_before: Option<OffsetDateTime>,
    pub last_seen_after: Option<OffsetDateTime>,
    pub created_before: Option<OffsetDateTime>,
    pub created_after: Option<OffsetDateTime>,
    pub is_service_account: Option<bool>,
    /// Users that act for the deployment, too.
    pub include_system: bool,
}

pub(crate) type Condition = crate::rows::Condition<users::table>;

/// A user belongs to himself and to no organization.
const TERMS: Terms<users::table> = Terms {
    id: Some(|ids| Box::new(users::id.eq_any(ids))),
    owner: Some(|user| Box::new(users::id.eq(user))),
    ..Terms::NONE
};

/// A pattern that matches what contains `part`, and nothing for what it means in patterns.
pub(crate) fn containing(part: &str) -> String {
    let literal = part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{literal}%")
}

impl Filter {
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let mut all: Vec<Condition> = vec![Box::new(not(users::deleted))];
        if !self.include_system {
            all.push(Box::new(not(users::is_system)));
        }
        if let Some(is_service_account) = self.is_service_account {
            all.push(Box::new(users::is_service_account.eq(is_service_account)));
        }
        if let Some(github) = self.github_com_user_id {
            all.push(Box::new(users::github_com_user_id.assume_not_null().eq(github)));
        }
        self.by_text(&mut all);
        self.by_time(&mut all);
        all
    }

    fn by_text(&self, all: &mut Vec<Condition>) {
        if let Some(search) = &self.search {
            let part = containing(search);
            all.push(Box::new(
                users::username
                    .ilike(part.clone())
                    .or(users::email.ilike(part.clone()))
                    .or(users::name.ilike(part)),
            ));
        }
        if let Some(name) = &self.name {
            all.push(Box::new(users::name.ilike(containing(name))));
        }
        if !self.statuses.is_empty() {
            all.push(Box::new(users::status.eq_any(self.statuses.clone())));
        }
        if !self.login_types.is_empty() {
            all.push(Box::new(users::login_type.eq_any(self.login_types.clone())));
        }
        if !self.roles.is_empty() && !self.roles.iter().any(|role| role == "member") {
            all.push(Box::new(users::rbac_roles.overlaps_with(self.roles.clone())));
        }
    }

    fn by_time(&self, all: &mut Vec<Condition>) {
        if let Some(before) = self.last_seen_before {
            let seen = users::last_seen_at;
            all.push(Box::new(seen.is_null().or(seen.assume_not_null().le(before))));
        }
        if let Some(after) = self.last_seen_after {
            all.push(Box::new(users::last_seen_at.assume_not_null().ge(after)));
        }
        if let Some(before) = self.created_before {
            all.push(Box::new(users::created_at.le(before)));
        }
        if let Some(after) = self.created_after {
            all.push(Box::new(users::created_at.ge(after)));
        }
    }
}

/// Which part of a list in the order of usernames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Only what comes after this user, who need not be listed.
    pub after: Option<UserId>,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = [`PAGE_MAX`], which is also the most.
    pub limit: i64,
}

/// A page of the users that meet the filter and all conditions of `access`, by username. `None`: the user named by
/// the window is deleted, or does not meet `access`.
pub(crate) async fn page(
    db: &mut Db<'_>,
    window: Window,
    filter: &Filter,
    access: impl Fn() -> Vec<Condition> + Send,
) -> Result<Option<Vec<User>>, Error> {
    let mut query = users::table
        .order(lower(users::username))
        .offset(window.offset.max(0))
        .limit(if window.limit <= 0 { PAGE_MAX } else { window.limit.min(PAGE_MAX) })
        .select(User::as_select())
        .into_boxed();
    if let Some(after) = window.after {
        let Some(name) = cursor(db, after, access()).await? else { return Ok(None) };
        query = query.filter(lower(users::username).gt(name));
    }
    for condition in access().into_iter().chain(filter.conditions()) {
        query = query.filter(condition);
    }
    Ok(Some(query.load(db.conn()).await?))
}

async fn cursor(
    db: &mut Db<'_>,
    after: UserId,
    access: Vec<Condition>,
) -> Result<Option<String>, Error> {
    let mut query = users::table
        .filter(users::id.eq(Pk(after)))
        .filter(not(users::deleted))
        .select(lower(users::username))
        .into_boxed();
    for condition in access {
        query = query.filter(condition);
    }
    Ok(query.first(db.conn()).await.optional()?)
}

/// How many users meet the filter and all conditions of `access`.
pub(crate) async fn count(
    db: &mut Db<'_>,
    filter: &Filter,
    access: Vec<Condition>,
) -> Result<i64, Error> {
    let mut query = users::table.count().into_boxed();
    for condition in access.into_iter().chain(filter.conditions()) {
        query = query.filter(condition);
    }
    Ok(query.get_result(db.conn()).await?)
}

/// A page of the users whom the subject may read, by username.
#[derive(Debug)]
pub struct ListUsers {
    /// Which.
    pub filter: Filter,
    /// Which part of the list.
    pub window: Window,
}

impl Query for ListUsers {
    const NAME: &'static str = "users.list_users";
    /// `None`: the user named by the window is deleted, does not exist or may not be read.
    type Out = Option<Vec<User>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::User, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let readable = || rows.condition(&TERMS).into_iter().collect();
            page(db, self.window, &self.filter, readable).await
        })
    }
}

/// How many users the subject may read.
#[derive(Debug)]
pub struct CountUsers {
    /// Which.
    pub filter: Filter,
}

impl Query for CountUsers {
    const NAME: &'static str = "users.count_users";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::User, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let readable = permit.into_rows().condition(&TERMS).into_iter().collect();
            count(db, &self.filter, readable).await
        })
    }
}

/// Users by identifier, deleted ones included, as far as the subject may read them; at most [`PAGE_MAX`], in the
/// order of their identifiers.
#[derive(Debug)]
pub struct ListByIds {
    /// Which.
    pub ids: Vec<UserId>,
}

impl Query for ListByIds {
    const NAME: &'static str = "users.list_by_ids";
    type Out = Vec<User>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::User, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<User>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let ids: Vec<Pk<UserId>> = self.ids.iter().copied().map(Pk).collect();
            let mut query = users::table
                .filter(users::id.eq_any(ids))
                .order(users::id)
                .limit(PAGE_MAX)
                .select(User::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// The identifiers of all users, deleted ones included, in their order and in batches.
#[derive(Debug)]
pub struct ListAllIds {
    /// Only what comes after this one; nil for the first batch.
    pub after: UserId,
    /// Users that act for the deployment, too.
    pub include_system: bool,
    /// At most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListAllIds {
    const NAME: &'static str = "users.list_all_ids";
    type Out = Vec<Pk<UserId>>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(Resource::User))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut query = users::table
                .filter(users::id.gt(Pk(self.after)))
                .order(users::id)
                .limit(self.limit.clamp(0, PAGE_MAX))
                .select(users::id)
                .into_boxed();
            if !self.include_system {
                query = query.filter(not(users::is_system));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Which of these are no live users.
#[derive(Debug)]
pub struct ValidateIds {
    /// To be looked at.
    pub ids: Vec<UserId>,
}

impl Query for ValidateIds {
    const NAME: &'static str = "users.validate_ids";
    type Out = Vec<UserId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(Resource::User))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ids: Vec<Pk<UserId>> = self.ids.iter().copied().map(Pk).collect();
            let live: Vec<Pk<UserId>> = users::table
                .filter(users::id.eq_any(&ids))
                .filter(not(users::deleted))
                .select(users::id)
                .load(db.conn())
                .await?;
            Ok(self.ids.iter().copied().filter(|id| !live.contains(&Pk(*id))).collect())
        })
    }
}
