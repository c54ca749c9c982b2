use std::collections::HashMap;

use diesel::dsl::{count_star, exists};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{Oauth2AppId, UserId};
use time::OffsetDateTime;

use super::{App, TERMS};
use crate::Pk;
use crate::oauth2_grants::of;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::{Condition, Rows};
use crate::schema::{oauth2_provider_app_tokens as tokens, oauth2_provider_apps as apps};
use crate::users::{containing, lower};

/// Most clients of a page, and what a limit of 0 stands for.
pub const PAGE_MAX: i64 = 1_000;

fn conditions(rows: &Rows, search: Option<&str>) -> Vec<Condition<apps::table>> {
    let mut all: Vec<Condition<apps::table>> = rows.condition(&TERMS).into_iter().collect();
    if let Some(search) = search {
        let part = containing(search);
        all.push(Box::new(apps::name.ilike(part.clone()).or(apps::callback_url.ilike(part))));
    }
    all
}

/// A page of the clients that the subject may read, by name and identifier.
#[derive(Debug)]
pub struct ListApps {
    /// A part of the name or of the callback, ignoring case.
    pub search: Option<String>,
    /// Only what comes after this client, which need not meet the search.
    pub after: Option<Oauth2AppId>,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = [`PAGE_MAX`], which is also the most.
    pub limit: i64,
}

impl Query for ListApps {
    const NAME: &'static str = "oauth2_apps.list_apps";
    /// `None`: the client that the page should come after does not exist or may not be read.
    type Out = Option<Vec<App>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Oauth2App, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = apps::table
                .order((lower(apps::name), apps::id))
                .offset(self.offset.max(0))
                .limit(if self.limit <= 0 { PAGE_MAX } else { self.limit.min(PAGE_MAX) })
                .select(App::as_select())
                .into_boxed();
            if let Some(after) = self.after {
                let mut cursor = apps::table
                    .filter(apps::id.eq(Pk(after)))
                    .select(lower(apps::name))
                    .into_boxed();
                for condition in conditions(&rows, None) {
                    cursor = cursor.filter(condition);
                }
                let Some(name) = cursor.first::<String>(db.conn()).await.optional()? else {
                    return Ok(None);
                };
                // The first condition is what the index goes by.
                query = query
                    .filter(lower(apps::name).ge(name.clone()))
                    .filter(lower(apps::name).gt(name).or(apps::id.gt(Pk(after))));
            }
            for condition in conditions(&rows, self.search.as_deref()) {
                query = query.filter(condition);
            }
            Ok(Some(query.load(db.conn()).await?))
        })
    }
}

/// How many clients the subject may read.
#[derive(Debug)]
pub struct CountApps {
    /// A part of the name or of the callback, ignoring case.
    pub search: Option<String>,
}

impl Query for CountApps {
    const NAME: &'static str = "oauth2_apps.count_apps";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Oauth2App, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let mut query = apps::table.count().into_boxed();
            for condition in conditions(&permit.into_rows(), self.search.as_deref()) {
                query = query.filter(condition);
            }
            Ok(query.get_result(db.conn()).await?)
        })
    }
}

/// Clients that may act for a user now, each with how many refresh tokens it could use; by name and identifier, at
/// most [`PAGE_MAX`].
#[derive(Debug)]
pub struct ListAppsOfUser {
    /// Whose tokens they are.
    pub user_id: UserId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for ListAppsOfUser {
    const NAME: &'static str = "oauth2_apps.list_apps_of_user";
    type Out = Vec<(App, i64)>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let live = || {
                tokens::table
                    .filter(tokens::user_id.eq(Pk(self.user_id)))
                    .filter(tokens::rotated_at.is_null())
                    .filter(tokens::expires_at.gt(self.now))
            };
            let found: Vec<App> = apps::table
                .filter(exists(live().filter(tokens::app_id.eq(apps::id))))
                .order((lower(apps::name), apps::id))
                .limit(PAGE_MAX)
                .select(App::as_select())
                .load(db.conn())
                .await?;
            let ids: Vec<Pk<Oauth2AppId>> = found.iter().map(|app| app.id).collect();
            let counts: Vec<(Pk<Oauth2AppId>, i64)> = live()
                .filter(tokens::app_id.eq_any(ids))
                .group_by(tokens::app_id)
                .select((tokens::app_id, count_star()))
                .load(db.conn())
                .await?;
            let counts: HashMap<_, _> = counts.into_iter().collect();
            // One that lost its last token between the statements is left out.
            let counted = |app: App| counts.get(&app.id).map(|count| (app, *count));
            Ok(found.into_iter().filter_map(counted).collect())
        })
    }
}
