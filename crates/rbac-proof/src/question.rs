//! One question in plain terms, and what each engine is handed of it.

use std::sync::Arc;

use rbac::{
    Acl, Action, ActionSet, AllowEntry, AllowList, Catalog, Object, Permission, PermissionLists,
    Resource, Role, RoleName, RoleOptions, Scope, ScopeName, Sharing, Subject, SubjectBuilder,
    SubjectKind, WorkspaceAgent,
};
use serde_json::{Map, Value, json};
use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::parts::Part;

/// May this subject do this to that?
#[derive(Clone, Debug)]
pub struct Question {
    /// Whether all deployment switches are thrown.
    pub strict: bool,
    /// Who asks.
    pub who: Who,
    /// To do what.
    pub action: Action,
    /// To what.
    pub what: What,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Who {
    /// The subject's id; nil makes it a part of the deployment.
    pub id: UserId,
    /// What it holds.
    pub roles: Vec<Held>,
    /// Its groups.
    pub groups: Vec<GroupId>,
    /// The scope of its credential.
    pub scope: Ceiling,
    /// What the credential is limited to.
    pub allow: Vec<AllowEntry>,
}

/// A role that is held.
#[derive(Clone, Debug)]
pub enum Held {
    /// A built-in role of the deployment.
    Site(&'static str),
    /// A built-in role of an organization.
    Org(&'static str, OrganizationId),
    /// The role that a membership implies; true for a service account.
    Member(OrganizationId, Sharing, bool),
    /// A custom role, of an organization or not.
    Custom(Option<OrganizationId>, Lists),
    /// The role of a part of the deployment; such a subject holds no other, and acts in this organization
    /// if anywhere.
    Part(Part, OrganizationId),
}

/// What a scope is made of.
#[derive(Clone, Debug)]
pub enum Ceiling {
    /// Names.
    Names(Vec<ScopeName>),
    /// Permissions at all levels, of an organization or not.
    Parts(Vec<(Option<OrganizationId>, Lists)>),
    /// The agent of a workspace, which brings its own allow list: [`Who::allow`] says the same again.
    Agent(WorkspaceAgent),
}

/// Permissions by level.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// On every object.
    pub site: Vec<Permission>,
    /// On the subject's objects outside organizations.
    pub user: Vec<Permission>,
    /// On every object of the organization.
    pub org: Vec<Permission>,
    /// On the subject's objects in the organization.
    pub member: Vec<Permission>,
}

/// To what.
#[derive(Clone, Debug)]
pub struct What {
    /// The kind.
    pub resource: Resource,
    /// Which one.
    pub id: Option<Uuid>,
    /// Whose.
    pub owner: Option<UserId>,
    /// Where.
    pub place: Place,
    /// Users that it is shared with.
    pub users: Vec<(UserId, ActionSet)>,
    /// Groups that it is shared with.
    pub groups: Vec<(GroupId, ActionSet)>,
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no organization.
    Outside,
    /// In this one.
    In(OrganizationId),
    /// In any of the subject's.
    Any,
}

/// The built-in roles, without and with all deployment switches thrown.
#[derive(Clone, Debug)]
pub struct Catalogs {
    /// Nothing is switched off.
    pub plain: Catalog,
    /// Everything is.
    pub strict: Catalog,
}

impl Default for Catalogs {
    fn default() -> Self {
        let options = RoleOptions {
            disable_owner_workspace_access: true,
            disable_workspace_sharing: true,
            disable_chat_sharing: true,
        };
        Self { plain: Catalog::default(), strict: Catalog::new(options) }
    }
}

impl Lists {
    pub(crate) fn lists(&self) -> PermissionLists<'_> {
        PermissionLists { site: &self.site, user: &self.user, org: &self.org, member: &self.member }
    }

    pub(crate) fn of(role: &Role) -> Self {
        Self {
            site: role.site_permissions(),
            user: role.user_permissions(),
            org: role.org_permissions(),
            member: role.member_permissions(),
        }
    }
}

impl Question {
    /// The subject, compiled.
    ///
    /// # Errors
    /// A question that was put together wrongly.
    pub fn subject(&self, catalogs: &Catalogs) -> anyhow::Result<Arc<Subject>> {
        let catalog = if self.strict { &catalogs.strict } else { &catalogs.plain };
        let who = &self.who;
        if let [Held::Part(part, org)] = who.roles.as_slice() {
            return Ok(part.subject(*org, who.id)?);
        }
        let kind = if who.id.is_nil() { SubjectKind::Autostart } else { SubjectKind::User };
        let mut builder = SubjectBuilder::new(kind, who.id)
            .no_roles()
            .groups(who.groups.iter().copied())
            .scope(who.scope()?);
        for (position, held) in who.roles.iter().enumerate() {
            builder = match held {
                Held::Site(name) => builder.site_role(name),
                Held::Org(name, org) => builder.org_role(*org, name),
                Held::Member(org, sharing, service) => builder.membership(*org, *sharing, *service),
                Held::Custom(org, lists) => {
                    let name = format!("custom-{position}");
                    let name = match org {
                        Some(org) => RoleName::in_org(name, *org),
                        None => RoleName::site(name),
                    };
                    builder.role(Role::custom(name, "", &lists.lists())?)
                }
                Held::Part(part, _) => anyhow::bail!("{} beside another role", part.role()),
            };
        }
        Ok(Arc::new(builder.compile(catalog)?))
    }

    /// The object's access control list.
    #[must_use]
    pub fn acl(&self) -> Acl {
        Acl::new(self.what.users.iter().copied(), self.what.groups.iter().copied())
    }

    /// The object, with its access control list.
    #[must_use]
    pub fn object<'a>(&self, acl: &'a Acl) -> Object<'a> {
        let What { resource, id, owner, place, .. } = &self.what;
        let mut object = Object::new(*resource);
        if let Some(id) = id {
            object = object.id(*id);
        }
        if let Some(owner) = owner {
            object = object.owner(*owner);
        }
        match place {
            Place::Outside => object,
            Place::In(org) => object.in_org(*org),
            Place::Any => object.any_org(),
        }
        .acl(acl)
    }

    /// The question in plain JSON, in which policies of other engines are written.
    #[must_use]
    pub fn json(&self) -> Value {
        let roles: Vec<Value> = self.who.roles.iter().map(Held::json).collect();
        let scope: Vec<Value> = match &self.who.scope {
            Ceiling::Names(names) => {
                names.iter().map(|name| json!({ "table": name.to_string() })).collect()
            }
            Ceiling::Parts(parts) => {
                parts.iter().map(|(org, lists)| held_json(*org, None, Some(lists))).collect()
            }
            Ceiling::Agent(agent) => vec![json!({ "table": agent_scope(*agent).to_string() })],
        };
        let allow: Vec<Value> = self
            .who
            .allow
            .iter()
            .map(|entry| {
                json!({
                    "type": entry.resource.map_or("*", Resource::as_str),
                    "id": entry.id.map_or("*".to_owned(), |id| id.to_string()),
                })
            })
            .collect();
        let groups: Vec<String> = self.who.groups.iter().map(ToString::to_string).collect();
        let What { resource, id, owner, place, users, groups: acl_groups } = &self.what;
        let org = match place {
            Place::In(org) => org.to_string(),
            Place::Outside | Place::Any => String::new(),
        };
        json!({
            "catalog": if self.strict { "strict" } else { "plain" },
            "subject": {
                "id": self.who.id.to_string(),
                "roles": roles,
                "groups": groups,
                "scope": scope,
                "allow": allow,
            },
            "action": self.action.as_str(),
            "object": {
                "type": resource.as_str(),
                "id": id.map_or_else(String::new, |id| id.to_string()),
                "owner": owner.map_or_else(String::new, |owner| owner.to_string()),
                "org": org,
                "any_org": *place == Place::Any,
                "acl_users": acl_json(users),
                "acl_groups": acl_json(acl_groups),
            },
        })
    }
}

impl Who {
    fn scope(&self) -> anyhow::Result<Scope> {
        let whole = match &self.scope {
            Ceiling::Names(names) => Scope::of(names.clone())?,
            Ceiling::Agent(agent) => return Ok(agent.scope()?),
            Ceiling::Parts(parts) => {
                let mut whole: Option<Scope> = None;
                for (org, lists) in parts {
                    let part = Scope::internal("part", *org, &lists.lists())?;
                    whole = Some(match whole {
                        Some(whole) => whole.union(part),
                        None => part,
                    });
                }
                whole.ok_or_else(|| anyhow::anyhow!("a scope without parts"))?
            }
        };
        Ok(whole.narrowed_to(&AllowList::new(self.allow.iter().copied())))
    }
}

impl Held {
    fn json(&self) -> Value {
        match self {
            Self::Site(name) => held_json(None, Some(name), None),
            Self::Org(name, org) => held_json(Some(*org), Some(name), None),
            Self::Member(org, sharing, service) => {
                held_json(Some(*org), Some(&membership_key(*sharing, *service)), None)
            }
            Self::Custom(org, lists) => held_json(*org, None, Some(lists)),
            Self::Part(part, org) => {
                let org = part.is_in_org().then_some(*org);
                held_json(org, Some(&part_key(part)), None)
            }
        }
    }
}

/// Under which name the data of policies has the role of a part of the deployment.
pub(crate) fn part_key(part: &Part) -> String {
    format!("part/{}", part.role())
}

/// The scope whose permissions an agent has.
pub(crate) const fn agent_scope(agent: WorkspaceAgent) -> ScopeName {
    if agent.block_user_data { ScopeName::NoUserData } else { ScopeName::All }
}

/// Under which name the data of policies has the role that a membership implies.
pub(crate) fn membership_key(sharing: Sharing, service_account: bool) -> String {
    let kind = if service_account { "service-account" } else { "member" };
    format!("{kind}/{}", sharing.as_str())
}

fn held_json(org: Option<OrganizationId>, table: Option<&str>, lists: Option<&Lists>) -> Value {
    let mut held = Map::new();
    if let Some(org) = org {
        held.insert("org".to_owned(), json!(org.to_string()));
    }
    if let Some(table) = table {
        held.insert("table".to_owned(), json!(table));
    }
    if let Some(lists) = lists {
        held.insert("levels".to_owned(), levels_json(lists));
    }
    Value::Object(held)
}

/// `{level: {type: [{action, negate}]}}`, with `*` for wildcards.
pub(crate) fn levels_json(lists: &Lists) -> Value {
    let levels = [
        ("site", &lists.site),
        ("user", &lists.user),
        ("org", &lists.org),
        ("member", &lists.member),
    ];
    Value::Object(
        levels.into_iter().map(|(level, list)| (level.to_owned(), list_json(list))).collect(),
    )
}

pub(crate) fn list_json(list: &[Permission]) -> Value {
    let mut by_type: Map<String, Value> = Map::new();
    for permission in list {
        let resource = permission.resource.map_or("*", Resource::as_str);
        let action = permission.action.map_or("*", Action::as_str);
        let one = json!({ "action": action, "negate": permission.negate });
        if let Value::Array(list) = by_type.entry(resource).or_insert_with(|| json!([])) {
            list.push(one);
        }
    }
    Value::Object(by_type)
}

fn acl_json<K: ToString + Copy>(entries: &[(K, ActionSet)]) -> Value {
    let mut list: Map<String, Value> = Map::new();
    for (key, actions) in entries {
        let names: Vec<Value> = if *actions == ActionSet::ALL {
            vec![json!("*")]
        } else {
            actions.iter().map(|action| json!(action.as_str())).collect()
        };
        if let Value::Array(listed) = list.entry(key.to_string()).or_insert_with(|| json!([])) {
            listed.extend(names);
        }
    }
    Value::Object(list)
}
