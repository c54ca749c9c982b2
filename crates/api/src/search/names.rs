use stdx::ids::OrganizationId;
use store::Error;
use store::organizations::{GetByName, GetDefault, ListByIds};
use uuid::Uuid;

use super::Fields;
use crate::cx::Cx;
use crate::error::ApiResult;

/// The organization that a search names by its UUID, its name or `default`. One that the caller may not see is
/// refused like one that does not exist: a search must not tell what exists.
pub(crate) async fn organization(cx: &Cx, name: &str, refusal: &str) -> ApiResult<OrganizationId> {
    if let Some(id) = find(cx, name).await? {
        return Ok(id);
    }
    let mut faults = Fields::default();
    faults.fault(
        "organization",
        format!(
            "Query param \"organization\" has invalid value: there is no organization {name:?}, or you may not see it"
        ),
    );
    faults.finish(refusal)?;
    Ok(OrganizationId::nil())
}

async fn find(cx: &Cx, name: &str) -> ApiResult<Option<OrganizationId>> {
    if let Ok(id) = Uuid::parse_str(name) {
        let found = cx.run(ListByIds { ids: vec![OrganizationId::new(id)] }).await?;
        return Ok(found.first().map(|organization| organization.id.0));
    }
    let found = if name == "default" {
        cx.run(GetDefault).await
    } else {
        cx.run(GetByName { name: name.to_owned() }).await
    };
    match found {
        Ok(organization) => Ok(Some(organization.id.0)),
        Err(Error::NotFound | Error::Denied(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
