//! Whose workspaces may be shared with others.

use axum::extract::Path;
use http::StatusCode;
use rbac::{Sharing, system};
use store::organizations::UpdateSharing;
use store::pubsub::{Publish, Voided};
use store::system_roles::ReconcileSystemRoles;
use store::{Call, Error, TxOptions};

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};

/// Whose workspaces may be shared.
#[utoipa::path(
    get, path = "/organizations/{organization}/settings/workspace-sharing", tag = "Organizations",
    params(("organization" = String, Path, description = "UUID, name or `default`")),
    responses(
        (status = 200, body = sdk::WorkspaceSharingSettings),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn get(
    cx: Cx,
    Path(organization): Path<String>,
) -> ApiResult<Json<sdk::WorkspaceSharingSettings>> {
    let organization = cx.organization_or_forbidden(&organization).await?;
    Ok(Json(to_wire(&cx, &organization.shareable_workspace_owners)))
}

/// Decides whose workspaces may be shared. What members may do follows at once.
#[utoipa::path(
    patch, path = "/organizations/{organization}/settings/workspace-sharing", tag = "Organizations",
    params(("organization" = String, Path, description = "UUID, name or `default`")),
    request_body = sdk::UpdateWorkspaceSharingSettings,
    responses(
        (status = 200, body = sdk::WorkspaceSharingSettings),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update(
    cx: Cx,
    Path(organization): Path<String>,
    Body(req): Body<sdk::UpdateWorkspaceSharingSettings>,
) -> ApiResult<Json<sdk::WorkspaceSharingSettings>> {
    let id = cx.organization_or_forbidden(&organization).await?.id.0;
    let sharing = match req.shareable_workspace_owners.as_str() {
        "" if req.sharing_disabled => Sharing::None,
        "" => Sharing::Everyone,
        mode => mode.parse().map_err(|_| {
            let detail = "must be one of: none, everyone, service_accounts".to_owned();
            let field = "shareable_workspace_owners".to_owned();
            let validations = vec![sdk::Validation { field, detail }];
            ApiError::invalid_as("Invalid shareable workspace owners value.", validations)
        })?,
    };
    let organization = cx
        .tx(TxOptions::write("update_workspace_sharing"), async |tx| {
            let change = tx.run(UpdateSharing { id, sharing, now: cx.now }).await?;
            let reconcile = ReconcileSystemRoles {
                organization_id: Some(id),
                options: cx.app.catalog.options(),
                now: cx.now,
            };
            tx.run_by(Call::by(system::role_reconciler()), reconcile).await?;
            cx.audit(tx, StatusCode::OK, &change).await?;
            tx.run(Publish::from(Voided::All)).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await
        .map_err(ApiError::forbidding)?;
    Ok(Json(to_wire(&cx, &organization.shareable_workspace_owners)))
}

fn to_wire(cx: &Cx, stored: &str) -> sdk::WorkspaceSharingSettings {
    let sharing_globally_disabled = cx.app.catalog.options().disable_workspace_sharing;
    let mode = if sharing_globally_disabled { Sharing::None.as_str() } else { stored };
    sdk::WorkspaceSharingSettings {
        sharing_globally_disabled,
        sharing_disabled: mode == Sharing::None.as_str(),
        shareable_workspace_owners: mode.to_owned(),
    }
}
