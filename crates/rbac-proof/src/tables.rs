//! The tables that policies of other engines are handed as data: what exists, and what built-in roles and
//! named scopes list. How a decision follows from them is theirs to say.

use rbac::{Catalog, Resource, ScopeName, Sharing};
use serde_json::{Map, Value, json};
use stdx::ids::OrganizationId;
use uuid::Uuid;

use crate::parts;
use crate::question::{Catalogs, Lists, levels_json, list_json, membership_key, part_key};

/// Everything as one document.
#[must_use]
pub fn tables(catalogs: &Catalogs) -> Value {
    let actions: Map<String, Value> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let names: Vec<&str> = resource.actions().iter().map(rbac::Action::as_str).collect();
            (resource.as_str().to_owned(), json!(names))
        })
        .collect();
    let scopes: Map<String, Value> = ScopeName::all()
        .map(|name| (name.to_string(), json!({ "site": list_json(&name.permissions()) })))
        .collect();
    json!({
        "actions": actions,
        "scopes": scopes,
        "catalogs": { "plain": roles(&catalogs.plain), "strict": roles(&catalogs.strict) },
    })
}

fn roles(catalog: &Catalog) -> Value {
    // Only the lists are read: which organization it is makes no difference.
    let org = OrganizationId::new(Uuid::from_u128(1));
    let mut tables: Map<String, Value> = catalog
        .site_roles()
        .chain(catalog.org_roles(org))
        .map(|role| (role.name().name().to_owned(), levels_json(&Lists::of(&role))))
        .collect();
    for sharing in Sharing::ALL {
        for service_account in [false, true] {
            let role = catalog.membership(org, sharing, service_account);
            let key = membership_key(sharing, service_account);
            tables.insert(key, levels_json(&Lists::of(&role)));
        }
    }
    for part in parts::ALONE.iter().chain(parts::PERSONAL) {
        tables.insert(part_key(part), levels_json(&part.lists()));
    }
    Value::Object(tables)
}
