//! Instructions that users keep for agents. The schema limits names, sizes and how many there are of one user.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{UserId, UserSkillId};
use time::OffsetDateTime;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::user_skills;
use crate::{Constraint, Error, Pk};

/// Most skills of one user, and of a list.
pub const SKILLS_MAX: i64 = 100;

/// The rules that triggers of the schema enforce, by the names they are refused under: a user has at most
/// [`SKILLS_MAX`], and none once deleted.
pub const TRIGGER_RULES: [Constraint; 2] =
    [Constraint::UserSkillsPerUserLimit, Constraint::UserSkillUserDeleted];

/// A row of `user_skills`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = user_skills, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UserSkill {
    pub id: Pk<UserSkillId>,
    pub user_id: Pk<UserId>,
    pub name: String,
    pub description: String,
    pub content: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A row of `user_skills`, without the content.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = user_skills, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct SkillInfo {
    pub id: Pk<UserSkillId>,
    pub user_id: Pk<UserId>,
    pub name: String,
    pub description: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

const fn object(owner: UserId) -> Object<'static> {
    Object::new(Resource::UserSkill).owner(owner)
}

/// A skill by its name.
#[derive(Debug)]
pub struct GetUserSkill {
    /// Whose.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
}

impl Query for GetUserSkill {
    const NAME: &'static str = "user_skills.get_user_skill";
    type Out = UserSkill;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserSkill> {
        Box::pin(async move {
            Ok(user_skills::table
                .filter(user_skills::user_id.eq(Pk(self.user_id)))
                .filter(user_skills::name.eq(&self.name))
                .select(UserSkill::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// What a user's skills are called and for, by name; at most [`SKILLS_MAX`].
#[derive(Debug)]
pub struct ListUserSkills {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListUserSkills {
    const NAME: &'static str = "user_skills.list_user_skills";
    type Out = Vec<SkillInfo>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(user_skills::table
                .filter(user_skills::user_id.eq(Pk(self.user_id)))
                .order((user_skills::name, user_skills::id))
                .limit(SKILLS_MAX)
                .select(SkillInfo::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// A skill to be kept for a user.
#[derive(Debug)]
pub struct InsertUserSkill {
    /// Identifier.
    pub id: UserSkillId,
    /// Whose.
    pub user_id: UserId,
    /// Words of lower-case letters and digits joined by hyphens, at most 256 bytes; unique among the user's.
    pub name: String,
    /// At most 4,096 bytes.
    pub description: String,
    /// At most 65,536 bytes.
    pub content: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertUserSkill {
    const NAME: &'static str = "user_skills.insert_user_skill";
    type Out = Change<UserSkill>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let skill = diesel::insert_into(user_skills::table)
                .values((
                    user_skills::id.eq(Pk(self.id)),
                    user_skills::user_id.eq(Pk(self.user_id)),
                    user_skills::name.eq(&self.name),
                    user_skills::description.eq(&self.description),
                    user_skills::content.eq(&self.content),
                    user_skills::created_at.eq(self.now),
                    user_skills::updated_at.eq(self.now),
                ))
                .returning(UserSkill::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(skill))
        })
    }
}

/// Replaces what a skill is for and says.
#[derive(Debug)]
pub struct UpdateUserSkill {
    /// Whose.
    pub user_id: UserId,
    /// Its name. It is not changed.
    pub name: String,
    /// At most 4,096 bytes.
    pub description: String,
    /// At most 65,536 bytes.
    pub content: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateUserSkill {
    const NAME: &'static str = "user_skills.update_user_skill";
    type Out = Change<UserSkill>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock(db, self.user_id, &self.name).await?;
            let new = diesel::update(user_skills::table.find(old.id))
                .set((
                    user_skills::description.eq(&self.description),
                    user_skills::content.eq(&self.content),
                    user_skills::updated_at.eq(self.now),
                ))
                .returning(UserSkill::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

async fn lock(db: &mut Db<'_>, user: UserId, name: &str) -> Result<UserSkill, Error> {
    Ok(user_skills::table
        .filter(user_skills::user_id.eq(Pk(user)))
        .filter(user_skills::name.eq(name))
        .select(UserSkill::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// Deletes a skill for good.
#[derive(Debug)]
pub struct DeleteUserSkill {
    /// Whose.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
}

impl Query for DeleteUserSkill {
    const NAME: &'static str = "user_skills.delete_user_skill";
    type Out = Change<UserSkill>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let skill = diesel::delete(user_skills::table)
                .filter(user_skills::user_id.eq(Pk(self.user_id)))
                .filter(user_skills::name.eq(&self.name))
                .returning(UserSkill::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(skill))
        })
    }
}

crate::queries![GetUserSkill, ListUserSkills, InsertUserSkill, UpdateUserSkill, DeleteUserSkill];
