//! What names rights: scopes, allow lists, names of roles.

use std::collections::BTreeSet;

use rbac::{
    Action, AllowEntry, AllowList, Catalog, CompileError, Object, Permission, PermissionLists,
    Resource, Role, RoleName, Scope, ScopeName, Subject, SubjectBuilder, check_role_name,
    is_public, is_reserved, public_names,
};
use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

const ME: UserId = UserId::new(Uuid::from_u128(1));

/// A person with one role, under a scope.
fn holder(role: &str, scope: Scope) -> Option<Subject> {
    SubjectBuilder::user(ME).site_role(role).scope(scope).compile(&Catalog::default()).ok()
}

/// The names of a stored credential's scopes, one a line.
///
/// A name is one of the listed texts or an alias, and nothing else; reading it and printing it settles on one
/// form. What can be asked for is what the catalogue lists. A credential may do what its names say one by one
/// and nothing more, what is unknown narrows it, and no name at all is an error.
///
/// # Panics
/// When a check fails.
pub fn scopes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().take(64).collect();
    let every: BTreeSet<String> = ScopeName::all().map(|name| name.to_string()).collect();
    let public: BTreeSet<String> = public_names().collect();
    let mut known = Vec::new();
    for line in &lines {
        let alias = matches!(*line, "all" | "application_connect");
        let parsed = line.parse::<ScopeName>();
        assert_eq!(parsed.is_ok(), alias || every.contains(*line), "{line:?}");
        assert_eq!(is_public(line), alias || public.contains(*line), "{line:?}");
        match parsed {
            Ok(name) => {
                let canonical = name.to_string();
                assert_eq!(canonical.parse(), Ok(name), "{line:?}");
                assert!(canonical == *line || alias, "{line:?} became {canonical:?}");
                known.push(name);
            }
            Err(error) => assert!(error.name().len() <= 64, "a long excerpt of {line:?}"),
        }
    }
    assert_eq!(Scope::parse_names(&lines).is_ok(), !lines.is_empty() && known.len() == lines.len());
    let Ok((scope, unknown)) = Scope::from_stored(&lines) else {
        assert!(lines.is_empty(), "a scope was refused");
        return;
    };
    assert_eq!(known.len() + unknown.len(), lines.len());
    let permissions: Vec<Permission> = known.iter().flat_map(|name| name.permissions()).collect();
    assert!(permissions.iter().all(|permission| !permission.negate));
    for name in &known {
        assert!(Scope::covers(&known, *name), "{name} is beyond itself");
    }
    let Some(owner) = holder("owner", scope) else { unreachable!("a scope makes a subject") };
    let Some(whole) = holder("owner", Scope::all()) else { unreachable!("so does the whole") };
    for resource in Resource::ALL {
        for action in Action::ALL {
            let object = Object::new(resource);
            let asked = Permission::allow(resource, action);
            let listed = permissions.iter().any(|permission| permission.subsumes(asked));
            let allowed = whole.authorize(action, &object).is_ok() && listed;
            assert_eq!(owner.authorize(action, &object).is_ok(), allowed, "{asked} of {lines:?}");
        }
    }
}

/// Two allow lists, entries one a line, with a blank line between the lists.
///
/// An entry is what a slow reader says it is; a list is refused if an entry is. Reading and printing settles on one form. Being listed means that an
/// entry says so, for the union that one of both does, for the intersection that both do.
///
/// # Panics
/// When a check fails.
pub fn allowlist(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (one, other) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (Some((one, one_entries)), Some((other, other_entries))) = (read(one), read(other)) else {
        return;
    };
    let (both, either) = (one.intersect(&other), one.union(&other));
    assert_eq!(both, other.intersect(&one));
    assert_eq!(either, other.union(&one));
    let entries = || one_entries.iter().chain(&other_entries);
    let ids: BTreeSet<Option<Uuid>> =
        entries().map(|entry| entry.id).chain([None, Some(Uuid::from_u128(7))]).collect();
    let kinds: BTreeSet<Resource> =
        entries().filter_map(|entry| entry.resource).chain([Resource::File]).collect();
    for kind in kinds {
        for id in &ids {
            let says = |entries: &[AllowEntry]| {
                entries.iter().any(|entry| {
                    entry.resource.is_none_or(|named| named == kind)
                        && entry.id.is_none_or(|named| Some(named) == *id)
                })
            };
            let (a, b) = (says(&one_entries), says(&other_entries));
            assert_eq!(one.contains(kind, *id), a, "{kind} {id:?} of {one}");
            assert_eq!(both.contains(kind, *id), a && b, "{kind} {id:?} of {both}");
            assert_eq!(either.contains(kind, *id), a || b, "{kind} {id:?} of {either}");
        }
    }
}

/// An entry, read slowly.
fn entry(line: &str) -> Option<AllowEntry> {
    let lower: String = line.trim().chars().map(|c| c.to_ascii_lowercase()).collect();
    let colon = lower.find(':')?;
    let (kind, id) = (lower.get(..colon)?, lower.get(colon + 1..)?);
    let resource = match kind {
        "*" => None,
        name => Some(Resource::ALL.into_iter().find(|kind| kind.as_str() == name)?),
    };
    let id = if id == "*" { None } else { Some(uuid(id)?) };
    Some(AllowEntry { resource, id })
}

/// A UUID, read slowly: 32 hexadecimal digits, perhaps in groups, which may be in braces or a URN.
fn uuid(text: &str) -> Option<Uuid> {
    let braced = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = braced.or_else(|| text.strip_prefix("urn:uuid:"));
    let grouped = inner.unwrap_or(text);
    let digits = match grouped.split('-').collect::<Vec<_>>().as_slice() {
        [whole] if inner.is_none() => (*whole).to_owned(),
        groups if groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) => groups.concat(),
        _ => return None,
    };
    if digits.chars().count() != 32 {
        return None;
    }
    let value = digits
        .chars()
        .try_fold(0_u128, |value, digit| Some(value * 16 + u128::from(digit.to_digit(16)?)))?;
    Some(Uuid::from_u128(value))
}

/// A list with its entries as they stand; none if it is refused, for a reason that is short.
fn read(text: &str) -> Option<(AllowList, Vec<AllowEntry>)> {
    let lines: Vec<&str> = text.lines().take(200).collect();
    for line in &lines {
        assert_eq!(line.parse().ok(), entry(line), "{line:?}");
    }
    let entries: Option<Vec<AllowEntry>> = lines.iter().map(|line| entry(line)).collect();
    let fits = lines.len() <= AllowList::ENTRIES_MAX;
    match AllowList::parse(&lines) {
        Ok(list) => {
            assert!(fits, "{} entries", lines.len());
            let Some(entries) = entries else { unreachable!("{list} of a bad entry") };
            let printed: Vec<String> = list.entries().iter().map(ToString::to_string).collect();
            assert_eq!(AllowList::parse(&printed).as_ref(), Ok(&list));
            assert!(list.entries().is_sorted_by(|a, b| a < b), "{list}");
            Some((list, entries))
        }
        Err(error) => {
            assert!(!fits || entries.is_none(), "{error}");
            // Excerpts are cut to 100 bytes, and quoting lengthens a byte to six at most.
            assert!(error.to_string().len() < 800, "a long reason");
            None
        }
    }
}

/// The name of a role, as it is stored, sent and chosen by people.
///
/// A name is not empty, has at most one colon and an organization behind it, as a slow reader sees it;
/// printing and reading it gives the same. What is not built in makes nobody's subject, gives nothing by itself, and cannot be mistaken for
/// what is.
///
/// # Panics
/// When a check fails.
pub fn rolename(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let chosen = check_role_name(&text).is_ok();
    let form = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    assert_eq!(chosen, form && !is_reserved(&text), "{text:?}");

    let parts: Vec<&str> = text.split(':').collect();
    let plain = match parts.as_slice() {
        [name] if !name.is_empty() => Some(RoleName::site((*name).to_owned())),
        [name, org] if !name.is_empty() => uuid(org)
            .filter(|org| !org.is_nil())
            .map(|org| RoleName::in_org((*name).to_owned(), OrganizationId::new(org))),
        _ => None,
    };
    let parsed = text.parse::<RoleName>();
    assert_eq!(parsed.as_ref().ok(), plain.as_ref(), "{text:?}");
    let Ok(name) = parsed else {
        assert!(!chosen, "{text:?} can be chosen and not be read");
        return;
    };
    assert_eq!(name.to_string().parse(), Ok(name.clone()));
    assert!(!name.name().is_empty() && !name.name().contains(':'));
    assert_eq!(name.org().is_some(), text.contains(':'));

    let catalog = Catalog::default();
    let built_in = catalog.built_in(&name);
    if let Some(role) = &built_in {
        assert_eq!(role.name(), &name);
        assert!(is_reserved(name.name()));
    }
    let made =
        SubjectBuilder::user(ME).role_name(name.clone()).scope(Scope::all()).compile(&catalog);
    match made {
        Ok(subject) => assert!(built_in.is_some() || subject.roles().next().is_none(), "{name}"),
        Err(error) => {
            let told = matches!(error, CompileError::UnknownRole(_) | CompileError::ImpliedRole(_));
            assert!(built_in.is_none() && told, "{name}: {error}");
        }
    }
    let custom = Role::custom(name.clone(), "", &PermissionLists::default());
    assert!(custom.is_err() || !is_reserved(name.name()), "{name} was taken");
    if let Ok(custom) = custom {
        let subject = SubjectBuilder::user(ME).role(custom).scope(Scope::all()).compile(&catalog);
        let Ok(subject) = subject else { unreachable!("an empty role makes a subject") };
        assert!(!subject.can_assign(&RoleName::site("member")), "{name} assigns");
        assert_eq!(name.org().is_some_and(|org| subject.is_member_of(org)), name.org().is_some());
        for resource in Resource::ALL {
            for action in Action::ALL {
                let object = Object::new(resource).owner(ME);
                assert!(subject.authorize(action, &object).is_err(), "{name} grants");
            }
        }
    }
}
