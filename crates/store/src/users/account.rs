use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;

use super::{LoginUser, User, object};
use crate::locks::{Lock, take};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{api_keys, users, workspaces};
use crate::{Constraint, Error, Pk};

/// Most accounts that one run of [`MarkDormant`] looks at.
const DORMANT_MAX: i64 = 1_000;

/// What a query changes of a user; the rest stays.
#[derive(AsChangeset, Default)]
#[diesel(table_name = users)]
#[expect(clippy::option_option, reason = "how diesel tells NULL from no change")]
struct Changes<'a> {
    email: Option<&'a str>,
    username: Option<&'a str>,
    name: Option<&'a str>,
    avatar_url: Option<&'a str>,
    quiet_hours_schedule: Option<&'a str>,
    github_com_user_id: Option<Option<i64>>,
    login_type: Option<&'a str>,
    hashed_password: Option<&'a str>,
    hashed_one_time_passcode: Option<Option<String>>,
    one_time_passcode_expires_at: Option<Option<OffsetDateTime>>,
    chat_spend_limit_micros: Option<Option<i64>>,
    deleted: Option<bool>,
    updated_at: Option<OffsetDateTime>,
}

type WithPassword = (User, String);

/// Reads a live user, and keeps others from changing him.
async fn lock(db: &mut Db<'_>, id: UserId) -> Result<WithPassword, Error> {
    Ok(users::table
        .find(Pk(id))
        .filter(users::deleted.eq(false))
        .select((User::as_select(), users::hashed_password))
        .for_update()
        .first(db.conn())
        .await?)
}

async fn apply(
    db: &mut Db<'_>,
    id: UserId,
    changes: Changes<'_>,
) -> Result<(WithPassword, WithPassword), Error> {
    let old = lock(db, id).await?;
    let new = diesel::update(users::table.find(Pk(id)))
        .set(changes)
        .returning((User::as_returning(), users::hashed_password))
        .get_result(db.conn())
        .await?;
    Ok((old, new))
}

async fn change(db: &mut Db<'_>, id: UserId, changes: Changes<'_>) -> Result<Change<User>, Error> {
    let ((old, _), (new, _)) = apply(db, id, changes).await?;
    Ok(Change::updated(old, new))
}

/// Declares queries that change columns of one live user, in one statement.
macro_rules! changes {
    ($(
        $(#[$doc:meta])*
        $query:ident = $name:literal by $action:ident {
            $($(#[$field_doc:meta])* $field:ident: $kind:ty,)*
        }
        sets |$this:ident| { $($column:ident: $value:expr,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $query {
            /// Which.
            pub id: UserId,
            $($(#[$field_doc])* pub $field: $kind,)*
            /// When.
            pub now: OffsetDateTime,
        }

        impl Query for $query {
            const NAME: &'static str = $name;
            type Out = Change<User>;
            const ATOMIC: bool = true;

            fn access(&self) -> Access<Self> {
                Access::Before(vec![check(Action::$action, object(self.id))])
            }

            fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
                let $this = self;
                let changes = Changes {
                    $($column: Some($value),)*
                    updated_at: Some(self.now),
                    ..Changes::default()
                };
                Box::pin(change(db, self.id, changes))
            }
        }
    )*};
}

changes! {
    /// Replaces what a user is called and looks like.
    UpdateProfile = "users.update_profile" by UpdatePersonal {
        /// Address; empty only for service accounts.
        email: String,
        /// Unique among live users, whatever the case.
        username: String,
        /// Display name, at most 128 characters.
        name: String,
        /// Picture.
        avatar_url: String,
    }
    sets |query| {
        email: &query.email, username: &query.username, name: &query.name,
        avatar_url: &query.avatar_url,
    }

    /// Sets when a user is not to be disturbed.
    UpdateQuietHours = "users.update_quiet_hours" by UpdatePersonal {
        /// A daily schedule in cron form with an optional zone; empty = the default of the deployment.
        schedule: String,
    }
    sets |query| { quiet_hours_schedule: &query.schedule, }

    /// Notes which account of github.com is the user's.
    UpdateGithubId = "users.update_github_id" by Update {
        /// GitHub's number for the account.
        github_com_user_id: Option<i64>,
    }
    sets |query| { github_com_user_id: query.github_com_user_id, }

    /// Sets how much a user may spend on chats.
    UpdateChatSpendLimit = "users.update_chat_spend_limit" by Update {
        /// Millionths of the currency, more than 0; `None` = the limit of the deployment.
        micros: Option<i64>,
    }
    sets |query| { chat_spend_limit_micros: query.micros, }
}

/// Changes how a user logs in. A password is forgotten when it is no longer the way.
#[derive(Debug)]
pub struct UpdateLoginType {
    /// Whose.
    pub id: UserId,
    /// `password`, `oidc`, `github`, `none`.
    pub login_type: &'static str,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateLoginType {
    const NAME: &'static str = "users.update_login_type";
    type Out = Change<LoginUser>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        let without = self.login_type != "password";
        let changes = Changes {
            login_type: Some(self.login_type),
            hashed_password: without.then_some(""),
            hashed_one_time_passcode: without.then_some(None),
            one_time_passcode_expires_at: without.then_some(None),
            updated_at: Some(self.now),
            ..Changes::default()
        };
        Box::pin(credentials(db, self.id, changes))
    }
}

/// Sets a password. A code that was sent to reset it is no longer good for anything, and all keys of the user end:
/// whoever had the old password may have made some.
#[derive(Debug)]
pub struct UpdatePassword {
    /// Whose.
    pub id: UserId,
    /// PHC text.
    pub hashed_password: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdatePassword {
    const NAME: &'static str = "users.update_password";
    type Out = Change<LoginUser>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        let changes = Changes {
            hashed_password: Some(&self.hashed_password),
            hashed_one_time_passcode: Some(None),
            one_time_passcode_expires_at: Some(None),
            updated_at: Some(self.now),
            ..Changes::default()
        };
        Box::pin(async move {
            let change = credentials(db, self.id, changes).await?;
            diesel::delete(api_keys::table.filter(api_keys::user_id.eq(Pk(self.id))))
                .execute(db.conn())
                .await?;
            Ok(change)
        })
    }
}

async fn credentials(
    db: &mut Db<'_>,
    id: UserId,
    changes: Changes<'_>,
) -> Result<Change<LoginUser>, Error> {
    let login = |(user, hashed_password)| LoginUser { user, hashed_password };
    let (old, new) = apply(db, id, changes).await?;
    Ok(Change::updated(login(old), login(new)))
}

/// A code that resets a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passcode {
    /// PHC text.
    pub hashed: String,
    /// When it is no longer accepted.
    pub expires_at: OffsetDateTime,
}

/// Replaces the code that resets a user's password.
#[derive(Debug)]
pub struct UpdatePasscode {
    /// Whose.
    pub id: UserId,
    /// `None` = there is none from now on.
    pub passcode: Option<Passcode>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdatePasscode {
    const NAME: &'static str = "users.update_passcode";
    type Out = Change<User>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
        let passcode = self.passcode.as_ref();
        let changes = Changes {
            hashed_one_time_passcode: Some(passcode.map(|passcode| passcode.hashed.clone())),
            one_time_passcode_expires_at: Some(passcode.map(|passcode| passcode.expires_at)),
            updated_at: Some(self.now),
            ..Changes::default()
        };
        Box::pin(change(db, self.id, changes))
    }
}

/// The code that resets a live user's password, if one was made. For the authenticator alone.
#[derive(Debug)]
pub struct FindPasscode {
    /// Whose.
    pub id: UserId,
}

impl Query for FindPasscode {
    const NAME: &'static str = "users.find_passcode";
    type Out = Option<Passcode>;

    fn access(&self) -> Access<Self> {
        // As for the hash of a password: reading it is not reading a profile.
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let found: Option<(Option<String>, Option<OffsetDateTime>)> = users::table
                .find(Pk(self.id))
                .filter(users::deleted.eq(false))
                .select((users::hashed_one_time_passcode, users::one_time_passcode_expires_at))
                .first(db.conn())
                .await
                .optional()?;
            Ok(found.and_then(|(hashed, expires_at)| {
                Some(Passcode { hashed: hashed?, expires_at: expires_at? })
            }))
        })
    }
}

/// Deletes a user, who stays for history under a name and address that are free again. What must not outlive the
/// account goes with it: keys, links, secrets, memberships. The last owner stays
/// ([`Constraint::UsersLastOwner`]), so does who has workspaces ([`Constraint::WorkspacesOwnerFk`]), and so do users that
/// act for the deployment ([`Error::NotFound`]).
#[derive(Debug)]
pub struct DeleteUser {
    /// Which.
    pub id: UserId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for DeleteUser {
    const NAME: &'static str = "users.delete_user";
    type Out = Change<User>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
        Box::pin(async move {
            // Before any row is locked, as those do who take the role away.
            take(db, Lock::Owners).await?;
            let (user, _) = lock(db, self.id).await?;
            if user.is_system {
                return Err(Error::NotFound);
            }
            let owner = |roles: &[String]| roles.iter().any(|role| role == "owner");
            if owner(&user.rbac_roles) && !another_owner(db, self.id).await? {
                return Err(Error::Check(Constraint::UsersLastOwner));
            }
            // A workspace that is being made holds its owner's row, and waits for it here.
            let works = workspaces::table
                .filter(workspaces::owner_id.eq(Pk(self.id)))
                .filter(workspaces::deleted.eq(false));
            if diesel::select(exists(works)).get_result(db.conn()).await? {
                return Err(Error::Missing(Constraint::WorkspacesOwnerFk));
            }
            let changes =
                Changes { deleted: Some(true), updated_at: Some(self.now), ..Changes::default() };
            change(db, self.id, changes).await
        })
    }
}

/// Whether somebody else could administrate the deployment.
async fn another_owner(db: &mut Db<'_>, than: UserId) -> Result<bool, Error> {
    let others = users::table
        .filter(users::rbac_roles.contains(vec!["owner"]))
        .filter(users::deleted.eq(false))
        .filter(users::status.ne("suspended"))
        .filter(users::id.ne(Pk(than)));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(db.conn()).await?)
}

/// Makes accounts dormant that were not seen for long, some at a time. Service accounts and users that act for the
/// deployment have no need to be seen.
#[derive(Debug)]
pub struct MarkDormant {
    /// Last seen before this; who was never seen counts from the creation of the account.
    pub not_seen_since: OffsetDateTime,
    /// When.
    pub now: OffsetDateTime,
    /// At most 1,000 at a time; fewer than asked for means that all are done.
    pub limit: i64,
}

impl Query for MarkDormant {
    const NAME: &'static str = "users.mark_dormant";
    type Out = Vec<Change<User>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, Object::new(Resource::User))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let seen = users::last_seen_at;
            let never = seen.is_null().and(users::created_at.lt(self.not_seen_since));
            let stale: Vec<User> = users::table
                .filter(users::status.eq("active"))
                .filter(diesel::dsl::not(users::deleted))
                .filter(diesel::dsl::not(users::is_system))
                .filter(diesel::dsl::not(users::is_service_account))
                .filter(never.or(seen.assume_not_null().lt(self.not_seen_since)))
                .order(users::id)
                .limit(self.limit.clamp(0, DORMANT_MAX))
                .select(User::as_select())
                .for_update()
                .skip_locked()
                .load(db.conn())
                .await?;
            let ids: Vec<Pk<UserId>> = stale.iter().map(|user| user.id).collect();
            diesel::update(users::table.filter(users::id.eq_any(ids)))
                .set((users::status.eq("dormant"), users::updated_at.eq(self.now)))
                .execute(db.conn())
                .await?;
            let dormant = |old: User| {
                let new =
                    User { status: "dormant".to_owned(), updated_at: self.now, ..old.clone() };
                Change::updated(old, new)
            };
            Ok(stale.into_iter().map(dormant).collect())
        })
    }
}
