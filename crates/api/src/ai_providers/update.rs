//! Changing a provider: what a request leaves out stays as it is.

use aibridge::ProviderKind;
use audit::Action;
use axum::extract::Path;
use http::StatusCode;
use sdk::{AiProvider, UpdateAiProviderRequest};
use serde_json::value::RawValue;
use store::ai_providers::{
    GetProvider, ListKeys, NewSettings, Provider, ProviderKey, UpdateProvider,
};
use store::{Error, TxOptions};
use time::OffsetDateTime;

use super::fields::{self, fitting, provider_ref};
use super::keys::Plan;
use super::settings::{Bedrock, Wanted};
use super::{after, decode, publish, to_wire};
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};
use crate::rules::{self, Rules};

/// Changes a provider. Type and name stay; the list of keys, if given, is the full list wanted.
#[utoipa::path(
    patch, path = "/{idOrName}", tag = "AI providers",
    params(("idOrName" = String, Path, description = "UUID or name")),
    request_body = UpdateAiProviderRequest,
    responses(
        (status = 200, body = AiProvider),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update(
    cx: Cx,
    Path(id_or_name): Path<String>,
    Body(body): Body<Box<RawValue>>,
) -> ApiResult<Json<AiProvider>> {
    const STATUS: StatusCode = StatusCode::OK;
    let which = provider_ref(&id_or_name)?;
    let req: UpdateAiProviderRequest = decode(&body)?;
    if is_empty(&req) {
        return Err(ApiError::bad_request("At least one field must be provided.", ""));
    }
    // Serializable: what a request leaves out is what was read, and must be so still at commit.
    let (provider, keys) = cx
        .tx(TxOptions::serializable("update_ai_provider"), async |tx| {
            let old = tx.run(GetProvider(which.clone())).await?;
            let id = old.id;
            let stored = tx.run(ListKeys { provider_id: Some(id) }).await?;
            let (change, plan) = merge(&old, stored, &req, cx.now)?;
            let change = tx.run(change).await?;
            let (keys, fields) = plan.apply(&cx, tx, id, STATUS).await?;
            audit::write_with(tx, &cx.context(STATUS), &change, Action::Write, fields).await?;
            publish(tx, id).await?;
            Ok((after(change)?, keys))
        })
        .await
        .map_err(ApiError::forbidding)?;
    Ok(Json(to_wire(provider, &keys)))
}

const fn is_empty(req: &UpdateAiProviderRequest) -> bool {
    let UpdateAiProviderRequest { display_name, icon, enabled, base_url, api_keys, settings } = req;
    display_name.is_none()
        && icon.is_none()
        && enabled.is_none()
        && base_url.is_none()
        && api_keys.is_none()
        && settings.is_none()
}

/// What a request makes of a provider.
fn merge(
    old: &Provider,
    stored: Vec<ProviderKey>,
    req: &UpdateAiProviderRequest,
    now: OffsetDateTime,
) -> ApiResult<(UpdateProvider, Plan)> {
    let kind = ProviderKind::parse(&old.kind).ok_or_else(|| Error::Corrupt {
        table: "ai_providers",
        column: "type",
        row: old.id.to_string(),
    })?;
    let mut rules = Rules::default();
    let display_name = match &req.display_name {
        None => old.display_name.clone(),
        Some(name) => {
            rules.check("display_name", rules::real_name(name));
            Some(name.clone()).filter(|name| !name.is_empty())
        }
    };
    let icon = req.icon.as_ref().unwrap_or(&old.icon);
    rules.check("icon", fields::icon(icon));
    if let Some(base_url) = &req.base_url {
        rules.check("base_url", fields::base_url(base_url));
    }
    let plan = match &req.api_keys {
        None => Plan::keep(stored),
        Some(wanted) => Plan::towards(kind, stored, wanted, &mut rules)?,
    };
    let known = match &old.fault {
        Some(_) => Err(()),
        None => old.settings.as_ref().map(Bedrock::from_stored).transpose().map_err(|_| ()),
    };
    let mut set = |settings| NewSettings::Set(stored_form(kind, &plan, settings, &mut rules));
    let settings = match (&req.settings, known) {
        // Nothing is said that settings depend on, or they cannot be read: they stay as they are.
        (None, _) if req.api_keys.is_none() => NewSettings::Keep,
        (None, Err(())) => NewSettings::Keep,
        (None, Ok(known)) => set(known),
        (Some(None), _) => set(None),
        (Some(Some(raw)), known) => match Wanted::parse(raw) {
            Ok(wanted) => set(Some(wanted.over(known.ok().flatten().as_ref()))),
            Err(detail) => {
                rules.broken("settings", detail);
                NewSettings::Keep
            }
        },
    };
    rules.finish()?;
    let change = UpdateProvider {
        id: old.id,
        display_name,
        icon: icon.clone(),
        enabled: req.enabled.unwrap_or(old.enabled),
        base_url: req.base_url.as_ref().unwrap_or(&old.base_url).clone(),
        settings,
        now,
    };
    Ok((change, plan))
}

fn stored_form(
    kind: ProviderKind,
    plan: &Plan,
    settings: Option<Bedrock>,
    rules: &mut Rules,
) -> Option<stdx::Secret<String>> {
    fitting(kind, plan.leaves_keys(), settings, rules).map(|bedrock| bedrock.to_stored())
}
