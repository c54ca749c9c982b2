//! The Cedar policy and the engine that evaluates it.
//!
//! Cedar has neither levels nor loops, so the principal carries what compiling a subject leads to: for each
//! level a set of `type:action` that is allowed and one that is forbidden, wildcards expanded, by
//! organization as tags, the best of all organizations as one more. The policy says how a decision follows
//! from them. That is the form of the question which is fastest for Cedar; taking roles and wildcards apart
//! is not measured, nor is looking up the object.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression as Value, Schema, ValidationMode, Validator,
};
use rbac::{Action, ActionSet, Permission, Resource, Role};
use stdx::ids::OrganizationId;

use crate::question::{Catalogs, Ceiling, Held, Lists, Place, Question, agent_scope};

const POLICY: &str = include_str!("policy.cedar");
const SCHEMA: &str = include_str!("policy.cedarschema");

/// The policy, ready to be asked.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    schema: Schema,
}

/// A question as Cedar has it.
pub struct Asked {
    request: Request,
    entities: Entities,
}

/// Allowed and forbidden `type:action` of one level.
#[derive(Clone, Default)]
struct Signs {
    allow: BTreeSet<String>,
    deny: BTreeSet<String>,
}

/// The levels of an organization.
#[derive(Clone, Default)]
struct InOrg {
    org: Signs,
    member: Signs,
}

/// What roles or a scope grant.
#[derive(Default)]
struct Grants {
    site: Signs,
    user: Signs,
    orgs: BTreeMap<OrganizationId, InOrg>,
}

impl Signs {
    fn add(&mut self, permissions: &[Permission]) {
        for permission in permissions {
            let resources = Resource::ALL.into_iter();
            for resource in
                resources.filter(|r| permission.resource.is_none_or(|named| named == *r))
            {
                let named = permission.action.map_or(ActionSet::ALL, ActionSet::from);
                for action in resource.actions().intersection(named).iter() {
                    let set = if permission.negate { &mut self.deny } else { &mut self.allow };
                    set.insert(name(resource, action));
                }
            }
        }
    }

    /// The best of several: allowed if one allows, forbidden if all forbid.
    fn best<'s>(all: impl Iterator<Item = &'s Self> + Clone) -> Self {
        let allow: BTreeSet<String> =
            all.clone().flat_map(|signs| signs.allow.difference(&signs.deny).cloned()).collect();
        let deny = all.map(|signs| signs.deny.clone()).reduce(|a, b| &a & &b).unwrap_or_default();
        Self { deny: &deny - &allow, allow }
    }

    fn value(&self, prefix: &str) -> [(String, Value); 2] {
        [
            (format!("{prefix}_allow"), strings(&self.allow)),
            (format!("{prefix}_deny"), strings(&self.deny)),
        ]
    }
}

impl Grants {
    fn add(&mut self, org: Option<OrganizationId>, lists: &Lists) {
        self.site.add(&lists.site);
        self.user.add(&lists.user);
        if let Some(org) = org {
            let in_org = self.orgs.entry(org).or_default();
            in_org.org.add(&lists.org);
            in_org.member.add(&lists.member);
        }
    }
}

fn name(resource: Resource, action: Action) -> String {
    format!("{resource}:{action}")
}

fn strings<'s>(all: impl IntoIterator<Item = &'s String>) -> Value {
    Value::new_set(all.into_iter().map(|text| Value::new_string(text.clone())))
}

fn uid(kind: &str, id: &str) -> Result<EntityUid> {
    let kind = EntityTypeName::from_str(kind)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn granted(question: &Question, catalogs: &Catalogs) -> Grants {
    let catalog = if question.strict { &catalogs.strict } else { &catalogs.plain };
    let mut grants = Grants::default();
    let mut add = |role: Option<Role>| {
        if let Some(role) = role {
            grants.add(role.name().org(), &Lists::of(&role));
        }
    };
    for held in &question.who.roles {
        match held {
            Held::Site(name) => add(catalog.site_roles().find(|r| r.name().name() == *name)),
            Held::Org(name, org) => {
                add(catalog.org_roles(*org).find(|r| r.name().name() == *name));
            }
            Held::Member(org, sharing, service) => {
                add(Some(catalog.membership(*org, *sharing, *service)));
            }
            Held::Custom(..) | Held::Part(..) => {}
        }
    }
    for held in &question.who.roles {
        match held {
            Held::Custom(org, lists) => grants.add(*org, lists),
            Held::Part(part, org) => {
                grants.add(part.is_in_org().then_some(*org), &part.lists());
            }
            Held::Site(_) | Held::Org(..) | Held::Member(..) => {}
        }
    }
    grants
}

fn ceiling(question: &Question) -> Grants {
    let mut grants = Grants::default();
    match &question.who.scope {
        Ceiling::Names(names) => {
            for name in names {
                grants.site.add(&name.permissions());
            }
        }
        Ceiling::Parts(parts) => {
            for (org, lists) in parts {
                grants.add(*org, lists);
            }
        }
        Ceiling::Agent(agent) => grants.site.add(&agent_scope(*agent).permissions()),
    }
    grants
}

impl Cedar {
    /// Loads the policy and validates it against its schema.
    ///
    /// # Errors
    /// A policy that is none, or does not fit the schema.
    pub fn new() -> Result<Self> {
        let policies = PolicySet::from_str(POLICY).context("the policy")?;
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).context("the schema")?;
        let validated = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !validated.validation_passed() {
            bail!("the policy does not fit its schema: {validated}");
        }
        Ok(Self { authorizer: Authorizer::new(), policies, schema })
    }

    /// The question with its entities.
    ///
    /// # Errors
    /// Entities that do not fit the schema.
    pub fn ask(&self, question: &Question, catalogs: &Catalogs) -> Result<Asked> {
        let (principal, resource) = (uid("Subject", "me")?, uid("Object", "it")?);
        let (roles, scope) = (granted(question, catalogs), ceiling(question));
        let subject = subject(question, &roles, &scope, principal.clone())?;
        let object = object(question, resource.clone())?;
        let context = Context::from_pairs([
            (
                "permission".to_owned(),
                Value::new_string(name(question.what.resource, question.action)),
            ),
            ("action".to_owned(), Value::new_string(question.action.to_string())),
            (
                "declared".to_owned(),
                Value::new_bool(question.what.resource.actions().contains(question.action)),
            ),
        ])?;
        let action = uid("Action", "ask")?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema))?;
        let entities = Entities::from_entities([subject, object], Some(&self.schema))?;
        Ok(Asked { request, entities })
    }

    /// Decides.
    ///
    /// # Errors
    /// A policy that failed on the question.
    pub fn allows(&self, asked: &Asked) -> Result<bool> {
        let answer = self.authorizer.is_authorized(&asked.request, &self.policies, &asked.entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            bail!("{error}");
        }
        Ok(answer.decision() == Decision::Allow)
    }
}

fn subject(
    question: &Question,
    roles: &Grants,
    scope: &Grants,
    principal: EntityUid,
) -> Result<Entity> {
    let nothing = InOrg::default();
    let ceilings = |org: &OrganizationId| scope.orgs.get(org).unwrap_or(&nothing);
    let record = |org: [&Signs; 4]| {
        let [role_org, role_member, scope_org, scope_member] = org;
        let fields = role_org
            .value("org")
            .into_iter()
            .chain(role_member.value("member"))
            .chain(scope_org.value("scope_org"))
            .chain(scope_member.value("scope_member"));
        Value::new_record(fields)
    };
    let mut tags = Vec::new();
    for (org, granted) in &roles.orgs {
        let ceiling = ceilings(org);
        let value = record([&granted.org, &granted.member, &ceiling.org, &ceiling.member])?;
        tags.push((org.to_string(), value));
    }
    let limits = roles.orgs.keys().map(ceilings);
    let anywhere = record([
        &Signs::best(roles.orgs.values().map(|granted| &granted.org)),
        &Signs::best(roles.orgs.values().map(|granted| &granted.member)),
        &Signs::best(limits.clone().map(|ceiling| &ceiling.org)),
        &Signs::best(limits.map(|ceiling| &ceiling.member)),
    ])?;
    let allow = &question.who.allow;
    let (mut kinds, mut ones) = (BTreeSet::new(), BTreeSet::new());
    for entry in allow {
        let kind = entry.resource.map_or("*", Resource::as_str);
        match entry.id {
            None => kinds.insert(kind.to_owned()),
            Some(id) => ones.insert(format!("{kind}:{id}")),
        };
    }
    let groups: BTreeSet<String> = question.who.groups.iter().map(ToString::to_string).collect();
    let attributes = roles
        .site
        .value("site")
        .into_iter()
        .chain(roles.user.value("user"))
        .chain(scope.site.value("scope_site"))
        .chain(scope.user.value("scope_user"))
        .chain([
            ("id".to_owned(), Value::new_string(question.who.id.to_string())),
            ("is_member".to_owned(), Value::new_bool(!roles.orgs.is_empty())),
            ("anywhere".to_owned(), anywhere),
            ("groups".to_owned(), strings(&groups)),
            ("allow_kinds".to_owned(), strings(&kinds)),
            ("allow_ones".to_owned(), strings(&ones)),
        ]);
    Ok(Entity::new_with_tags(principal, attributes, HashSet::new(), tags)?)
}

fn object(question: &Question, resource: EntityUid) -> Result<Entity> {
    let what = &question.what;
    let kind = what.resource.as_str();
    let mut attributes = vec![
        ("kind".to_owned(), Value::new_string(kind.to_owned())),
        ("any_org".to_owned(), Value::new_bool(what.place == Place::Any)),
    ];
    if let Some(id) = what.id {
        attributes.push(("as_typed".to_owned(), Value::new_string(format!("{kind}:{id}"))));
        attributes.push(("as_any".to_owned(), Value::new_string(format!("*:{id}"))));
    }
    if let Some(owner) = what.owner.filter(|owner| !owner.is_nil()) {
        attributes.push(("owner".to_owned(), Value::new_string(owner.to_string())));
    }
    if let Place::In(org) = what.place {
        attributes.push(("org".to_owned(), Value::new_string(org.to_string())));
    }
    let mut by_action: BTreeMap<Action, BTreeSet<String>> = BTreeMap::new();
    let users = what.users.iter().map(|(user, actions)| (format!("user:{user}"), *actions));
    let groups = what.groups.iter().map(|(group, actions)| (group.to_string(), *actions));
    for (holder, actions) in users.chain(groups) {
        for action in actions.iter() {
            by_action.entry(action).or_default().insert(holder.clone());
        }
    }
    let mine = format!("user:{}", question.who.id);
    let tags: Vec<(String, Value)> = by_action
        .into_iter()
        .map(|(action, holders)| {
            // Cedar cannot put "user:" before an id.
            let holders: BTreeSet<String> = holders
                .into_iter()
                .map(|holder| if holder == mine { "me".to_owned() } else { holder })
                .collect();
            (action.to_string(), strings(&holders))
        })
        .collect();
    Ok(Entity::new_with_tags(resource, attributes, HashSet::new(), tags)?)
}
