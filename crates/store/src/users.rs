//! People, service accounts and system users.

mod account;
mod list;

use std::fmt;
use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource, RoleName};
use stdx::ids::{GroupId, OrganizationId, UserId};
use time::OffsetDateTime;

use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check, check_role};
use crate::schema::{group_members_expanded, organization_members, organizations, users};

pub use account::{
    DeleteUser, FindPasscode, MarkDormant, Passcode, UpdateChatSpendLimit, UpdateGithubId,
    UpdateLoginType, UpdatePasscode, UpdatePassword, UpdateProfile, UpdateQuietHours,
};
pub(crate) use list::{Condition, containing, count, page};
pub use list::{
    CountUsers, Filter, ListAllIds, ListByIds, ListUsers, PAGE_MAX, ValidateIds, Window,
};

diesel::define_sql_function! {
    /// Lower case, as the unique indexes compare names.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

/// A row of `users`, without the password hash.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Identifiable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct User {
    pub id: Pk<UserId>,
    pub email: String,
    pub username: String,
    pub name: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub last_seen_at: Option<OffsetDateTime>,
    pub status: String,
    pub rbac_roles: Vec<String>,
    pub login_type: String,
    pub avatar_url: String,
    pub deleted: bool,
    pub is_system: bool,
    pub is_service_account: bool,
    pub quiet_hours_schedule: String,
    pub github_com_user_id: Option<i64>,
    pub one_time_passcode_expires_at: Option<OffsetDateTime>,
    pub chat_spend_limit_micros: Option<i64>,
}

impl User {
    /// The object that rules speak of.
    #[must_use]
    pub fn object(&self) -> Object<'static> {
        object(self.id.0)
    }
}

/// The object that rules about a user speak of.
#[must_use]
pub const fn object(id: UserId) -> Object<'static> {
    Object::new(Resource::User).id(id.uuid()).owner(id)
}

/// The columns of a user that every list may show beside its rows.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UserName {
    pub id: Pk<UserId>,
    pub username: String,
    pub name: String,
    pub avatar_url: String,
}

/// The names of users who appear in rows that the subject was allowed to list.
pub(crate) async fn names_of(
    db: &mut Db<'_>,
    ids: impl Iterator<Item = UserId>,
) -> Result<Vec<UserName>, crate::Error> {
    let mut ids: Vec<Pk<UserId>> = ids.map(Pk).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(users::table
        .filter(users::id.eq_any(ids))
        .select(UserName::as_select())
        .load(db.conn())
        .await?)
}

/// Whether any user exists: a deployment without one is to be set up.
#[derive(Debug)]
pub struct AnyExists;

impl Query for AnyExists {
    const NAME: &'static str = "users.any_exists";
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Open("the set-up page asks before there is anybody who could be authorized")
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let people = users::table.filter(users::is_system.eq(false));
            Ok(diesel::select(diesel::dsl::exists(people)).get_result(db.conn()).await?)
        })
    }
}

/// A user by id, deleted ones included.
#[derive(Debug)]
pub struct GetUser {
    /// Which.
    pub id: UserId,
}

impl Query for GetUser {
    const NAME: &'static str = "users.get_user";
    type Out = User;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, User> {
        Box::pin(async move {
            let user = users::table.find(Pk(self.id)).select(User::as_select());
            Ok(user.first(db.conn()).await?)
        })
    }
}

/// A live user by address, ignoring case. The empty one belongs to nobody.
#[derive(Debug)]
pub struct GetUserByEmail {
    /// Address.
    pub email: String,
}

impl Query for GetUserByEmail {
    const NAME: &'static str = "users.get_user_by_email";
    type Out = User;

    fn access(&self) -> Access<Self> {
        Access::After(|user: &User| vec![check(Action::Read, user.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, User> {
        Box::pin(async move {
            Ok(users::table
                .filter(lower(users::email).eq(self.email.to_lowercase()))
                .filter(users::email.ne(""))
                .filter(users::deleted.eq(false))
                .select(User::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// A live user by name, ignoring case.
#[derive(Debug)]
pub struct GetUserByName {
    /// Username.
    pub username: String,
}

impl Query for GetUserByName {
    const NAME: &'static str = "users.get_user_by_name";
    type Out = User;

    fn access(&self) -> Access<Self> {
        Access::After(|user: &User| vec![check(Action::Read, user.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, User> {
        Box::pin(async move {
            Ok(users::table
                .filter(lower(users::username).eq(self.username.to_lowercase()))
                .filter(users::deleted.eq(false))
                .select(User::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// What logging in needs to know about an account.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginUser {
    /// The account.
    pub user: User,
    /// PHC text; empty when the account has no password.
    pub hashed_password: String,
}

impl fmt::Debug for LoginUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginUser").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A live account by address, with its password hash. For the authenticator alone.
#[derive(Debug)]
pub struct FindLogin {
    /// Address, compared ignoring case. The empty one belongs to nobody.
    pub email: String,
}

impl Query for FindLogin {
    const NAME: &'static str = "users.find_login";
    type Out = Option<LoginUser>;

    fn access(&self) -> Access<Self> {
        // Update, which users do not have on each other: reading a hash is not reading a profile.
        Access::Before(vec![check(Action::Update, Object::new(Resource::User))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Option<LoginUser>> {
        Box::pin(async move {
            // The database would refuse to even compare a text with U+0000.
            if self.email.is_empty() || self.email.contains('\0') {
                return Ok(None);
            }
            let found: Option<(User, String)> = users::table
                .filter(lower(users::email).eq(self.email.to_lowercase()))
                .filter(users::deleted.eq(false))
                .filter(users::is_system.eq(false))
                .select((User::as_select(), users::hashed_password))
                .first(db.conn())
                .await
                .optional()?;
            Ok(found.map(|(user, hashed_password)| LoginUser { user, hashed_password }))
        })
    }
}

/// A user to be created.
#[derive(Debug)]
pub struct InsertUser {
    /// Identifier.
    pub id: UserId,
    /// Address; empty only for service accounts.
    pub email: String,
    /// Username.
    pub username: String,
    /// Display name.
    pub name: String,
    /// PHC text, or empty.
    pub hashed_password: String,
    /// `active`, `dormant`, `suspended`.
    pub status: &'static str,
    /// Site roles without the implied `member`.
    pub rbac_roles: Vec<String>,
    /// `password`, `none`, ...
    pub login_type: &'static str,
    /// Whether it is an account of a service, which has neither an address nor a login.
    pub is_service_account: bool,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertUser {
    const NAME: &'static str = "users.insert_user";
    type Out = Change<User>;

    fn access(&self) -> Access<Self> {
        let given = self.rbac_roles.iter().cloned();
        let given = given.map(|role| check_role(Action::Assign, RoleName::site(role)));
        let create = check(Action::Create, Object::new(Resource::User));
        Access::Before(std::iter::once(create).chain(given).collect())
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
        Box::pin(async move {
            let user = diesel::insert_into(users::table)
                .values((
                    users::id.eq(Pk(self.id)),
                    users::email.eq(&self.email),
                    users::username.eq(&self.username),
                    users::name.eq(&self.name),
                    users::hashed_password.eq(&self.hashed_password),
                    users::created_at.eq(self.now),
                    users::updated_at.eq(self.now),
                    users::status.eq(self.status),
                    users::rbac_roles.eq(&self.rbac_roles),
                    users::login_type.eq(self.login_type),
                    users::is_service_account.eq(self.is_service_account),
                ))
                .returning(User::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(user))
        })
    }
}

/// Sets the status of an account.
#[derive(Debug)]
pub struct UpdateStatus {
    /// Which.
    pub id: UserId,
    /// `active`, `dormant`, `suspended`.
    pub status: &'static str,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateStatus {
    const NAME: &'static str = "users.update_status";
    type Out = Change<User>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
        Box::pin(async move {
            let old = users::table
                .find(Pk(self.id))
                .select(User::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            let new = diesel::update(users::table.find(Pk(self.id)))
                .set((users::status.eq(self.status), users::updated_at.eq(self.now)))
                .returning(User::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Replaces the roles that a user holds in the deployment. The last owner stays one
/// ([`Constraint::UsersLastOwner`](crate::Constraint::UsersLastOwner)).
#[derive(Debug)]
pub struct UpdateRoles {
    /// Whose.
    pub id: UserId,
    /// All that the user holds from now on, without the implied `member`.
    pub roles: Vec<String>,
    /// When.
    pub now: OffsetDateTime,
}

impl UpdateRoles {
    async fn lock(&self, db: &mut Db<'_>) -> Result<User, crate::Error> {
        Ok(users::table
            .find(Pk(self.id))
            .filter(users::deleted.eq(false))
            .select(User::as_select())
            .for_update()
            .first(db.conn())
            .await?)
    }
}

impl Query for UpdateRoles {
    const NAME: &'static str = "users.update_roles";
    type Out = Change<User>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let user = query.lock(db).await?;
                let mut checks = crate::members::changes(&user.rbac_roles, &query.roles, None);
                // Who changes nothing must still be one who might.
                if checks.is_empty() {
                    checks.push(check(Action::Assign, Object::new(Resource::AssignRole)));
                }
                Ok(checks)
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<User>> {
        Box::pin(async move {
            let old = self.lock(db).await?;
            let new = diesel::update(users::table.find(Pk(self.id)))
                .set((users::rbac_roles.eq(&self.roles), users::updated_at.eq(self.now)))
                .returning(User::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Replaces a password hash that was made with outdated parameters. The password stays the same. Whether it did:
/// `false` when the hash is no longer the known one, because the password was changed since.
pub struct UpdatePasswordHash {
    /// Which.
    pub id: UserId,
    /// The hash that the password was compared with.
    pub known: String,
    /// PHC text.
    pub new: String,
}

impl fmt::Debug for UpdatePasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdatePasswordHash").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Query for UpdatePasswordHash {
    const NAME: &'static str = "users.update_password_hash";
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let replaced = diesel::update(users::table.find(Pk(self.id)))
                .filter(users::hashed_password.eq(&self.known))
                .set(users::hashed_password.eq(&self.new))
                .execute(db.conn())
                .await?;
            Ok(replaced > 0)
        })
    }
}

/// Notes that a user was seen.
#[derive(Debug)]
pub struct UpdateLastSeen {
    /// Who.
    pub id: UserId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateLastSeen {
    const NAME: &'static str = "users.update_last_seen";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::update(users::table.find(Pk(self.id)))
                .set(users::last_seen_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// One membership of a user, as far as roles follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The organization.
    pub organization: OrganizationId,
    /// Roles given to the member, without the organization's suffix.
    pub roles: Vec<String>,
    /// Roles that the organization gives to all its members.
    pub default_roles: Vec<String>,
    /// Who may share workspaces: decides what the implied roles hold.
    pub shareable_workspace_owners: String,
    /// Which state of the organization's custom roles this is.
    pub roles_revision: i64,
}

type MembershipRow = (Pk<OrganizationId>, Vec<String>, Vec<String>, String, i64);

/// All that a subject is made of.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The account.
    pub user: Arc<User>,
    /// Live organizations.
    pub memberships: Vec<Membership>,
    /// Groups over all organizations.
    pub groups: Vec<GroupId>,
}

/// Loads what a user's subject is made of. For the authenticator alone.
#[derive(Debug)]
pub struct GetAuthorization {
    /// Whose.
    pub id: UserId,
}

impl Query for GetAuthorization {
    const NAME: &'static str = "users.get_authorization";
    type Out = Authorization;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![
            check(Action::Read, object(self.id)),
            check(Action::Read, Object::new(Resource::Organization)),
            check(Action::Read, Object::new(Resource::Group)),
        ])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Authorization> {
        Box::pin(async move {
            let user =
                users::table.find(Pk(self.id)).select(User::as_select()).first(db.conn()).await?;
            let memberships: Vec<MembershipRow> = organization_members::table
                .inner_join(
                    organizations::table
                        .on(organizations::id.eq(organization_members::organization_id)),
                )
                .filter(organization_members::user_id.eq(Pk(self.id)))
                .filter(organizations::deleted.eq(false))
                .order(organizations::id)
                .select((
                    organizations::id,
                    organization_members::roles,
                    organizations::default_org_member_roles,
                    organizations::shareable_workspace_owners,
                    organizations::roles_revision,
                ))
                .load(db.conn())
                .await?;
            let groups: Vec<Option<Pk<GroupId>>> = group_members_expanded::table
                .filter(group_members_expanded::user_id.eq(Pk(self.id)))
                .select(group_members_expanded::group_id)
                .load(db.conn())
                .await?;
            Ok(Authorization {
                user: Arc::new(user),
                memberships: memberships
                    .into_iter()
                    .map(|(organization, roles, default_roles, sharing, roles_revision)| {
                        Membership {
                            organization: organization.0,
                            roles,
                            default_roles,
                            shareable_workspace_owners: sharing,
                            roles_revision,
                        }
                    })
                    .collect(),
                groups: groups.into_iter().flatten().map(|group| group.0).collect(),
            })
        })
    }
}

crate::queries![
    AnyExists,
    GetUser,
    GetUserByName,
    GetUserByEmail,
    FindLogin,
    InsertUser,
    UpdateStatus,
    UpdateRoles,
    UpdatePasswordHash,
    UpdateLastSeen,
    GetAuthorization,
    ListUsers,
    CountUsers,
    ListByIds,
    ListAllIds,
    ValidateIds,
    UpdateProfile,
    UpdateQuietHours,
    UpdateGithubId,
    UpdateChatSpendLimit,
    UpdateLoginType,
    UpdatePassword,
    UpdatePasscode,
    FindPasscode,
    DeleteUser,
    MarkDormant,
];
