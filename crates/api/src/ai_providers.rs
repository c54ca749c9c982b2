//! AI providers and the deployment's own keys for them.
//!
//! A change, its audit rows and the notice to the gateways are one transaction. Keys and secret settings go in
//! and never come out: answers show masks, and no error holds what was sent.

mod fields;
mod keys;
pub(crate) mod settings;
mod update;

use std::collections::HashMap;

use audit::Action;
use axum::extract::Path;
use http::StatusCode;
use sdk::AiProvider;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stdx::ids::ProviderId;
use stdx::mask;
use store::ai_providers::{
    DeleteProvider, GetProvider, ListKeys, ListProviders, Provider, ProviderKey,
};
use store::pubsub::{Channel, Publish};
use store::{Change, Constraint, Error, Tx, TxOptions};
use utoipa_axum::routes;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Created, Json};
use crate::routes::Routes;
use fields::{Draft, provider_ref};
use keys::Plan;
use settings::Bedrock;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(get, update::update, delete))
}

/// All providers by name, disabled ones included.
#[utoipa::path(
    get, path = "/", tag = "AI providers",
    responses((status = 200, body = Vec<AiProvider>), (status = 403, body = sdk::Response))
)]
async fn list(cx: Cx) -> ApiResult<Json<Vec<AiProvider>>> {
    let (providers, keys) = cx
        .tx(TxOptions::snapshot("list_ai_providers"), async |tx| {
            let providers = tx.run(ListProviders { include_deleted: false }).await?;
            let keys = tx.run(ListKeys { provider_id: None }).await?;
            Ok((providers, keys))
        })
        .await
        .map_err(ApiError::forbidding)?;
    let mut keys_of: HashMap<ProviderId, Vec<ProviderKey>> = HashMap::new();
    for key in keys {
        keys_of.entry(key.provider_id).or_default().push(key);
    }
    let shown = providers.into_iter().map(|provider| {
        let keys = keys_of.remove(&provider.id).unwrap_or_default();
        to_wire(provider, &keys)
    });
    Ok(Json(shown.collect()))
}

/// A provider.
#[utoipa::path(
    get, path = "/{idOrName}", tag = "AI providers",
    params(("idOrName" = String, Path, description = "UUID or name")),
    responses(
        (status = 200, body = AiProvider),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
async fn get(cx: Cx, Path(id_or_name): Path<String>) -> ApiResult<Json<AiProvider>> {
    let which = provider_ref(&id_or_name)?;
    let (provider, keys) = cx
        .tx(TxOptions::snapshot("get_ai_provider"), async |tx| {
            let provider = tx.run(GetProvider(which.clone())).await?;
            let keys = tx.run(ListKeys { provider_id: Some(provider.id) }).await?;
            Ok((provider, keys))
        })
        .await
        .map_err(ApiError::forbidding)?;
    Ok(Json(to_wire(provider, &keys)))
}

/// Creates a provider. It serves as soon as the gateways have heard of it.
#[utoipa::path(
    post, path = "/", tag = "AI providers", request_body = sdk::CreateAiProviderRequest,
    responses(
        (status = 201, body = AiProvider),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
async fn create(cx: Cx, Body(body): Body<Box<RawValue>>) -> ApiResult<Created<AiProvider>> {
    const STATUS: StatusCode = StatusCode::CREATED;
    let mut draft = Draft::check(decode(&body)?)?;
    let plan = Plan { added: std::mem::take(&mut draft.keys), ..Plan::default() };
    let id = ProviderId::new(cx.app.rng.uuid_v4());
    let created = cx
        .tx(TxOptions::write("create_ai_provider"), async |tx| {
            let change = tx.run(draft.insert(id, cx.now)).await?;
            let (keys, fields) = plan.apply(&cx, tx, id, STATUS).await?;
            audit::write_with(tx, &cx.context(STATUS), &change, Action::Create, fields).await?;
            publish(tx, id).await?;
            Ok((after(change)?, keys))
        })
        .await;
    match created {
        Ok((provider, keys)) => Ok(Created(to_wire(provider, &keys))),
        Err(error) if error.constraint() == Some(Constraint::AiProvidersNameUnique) => {
            let message = format!("AI provider \"{}\" already exists.", draft.name);
            let detail = "This value is already in use and should be unique.";
            Err(ApiError::conflict(message, "name", detail))
        }
        Err(error) => Err(error.forbidding()),
    }
}

/// Deletes a provider, and its keys for good. Its name may be used again.
#[utoipa::path(
    delete, path = "/{idOrName}", tag = "AI providers",
    params(("idOrName" = String, Path, description = "UUID or name")),
    responses(
        (status = 204),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
async fn delete(cx: Cx, Path(id_or_name): Path<String>) -> ApiResult<StatusCode> {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    let which = provider_ref(&id_or_name)?;
    cx.tx(TxOptions::write("delete_ai_provider"), async |tx| {
        let id = tx.run(GetProvider(which.clone())).await?.id;
        let (change, gone) = tx.run(DeleteProvider { id, now: cx.now }).await?;
        for key in &gone {
            keys::record(&cx, tx, STATUS, key).await?;
        }
        let removed: Vec<ProviderKey> = gone.into_iter().filter_map(|key| key.old).collect();
        let fields = keys::told(&[], &removed, 0);
        // The row stays for history; for people it is gone.
        let change = Change { old: change.old, new: None };
        audit::write_with(tx, &cx.context(STATUS), &change, Action::Delete, fields).await?;
        publish(tx, id).await?;
        Ok(())
    })
    .await
    .map_err(ApiError::forbidding)?;
    Ok(STATUS)
}

/// Reads a body that holds secrets: what is wrong is told by its place, never by its content.
fn decode<T: DeserializeOwned>(body: &RawValue) -> ApiResult<T> {
    serde_json::from_str(body.get()).map_err(|error| {
        let detail = format!(
            "A field has the wrong type, at line {} column {}.",
            error.line(),
            error.column()
        );
        ApiError::bad_request("Request body must be valid JSON.", detail)
    })
}

/// Tells the gateways, at commit.
async fn publish(tx: &mut Tx, id: ProviderId) -> Result<(), Error> {
    tx.run(Publish { channel: Channel::AiProviders, payload: id.to_string() }).await
}

/// The row as a change left it.
fn after(change: Change<Provider>) -> Result<Provider, Error> {
    change.new.ok_or(Error::NotFound)
}

fn to_wire(provider: Provider, keys: &[ProviderKey]) -> AiProvider {
    let settings = provider.settings.as_ref().and_then(|text| {
        let read = Bedrock::from_stored(text);
        if let Err(reason) = &read {
            let name = &provider.name;
            tracing::warn!(provider = name, reason, "stored settings cannot be read");
        }
        read.ok().map(|bedrock| bedrock.to_wire())
    });
    let mut faults = provider.fault.iter().chain(keys.iter().filter_map(|key| key.fault.as_ref()));
    let fault = faults.next().cloned();
    if let Some(fault) = &fault {
        tracing::warn!(provider = provider.name, fault, "a stored secret cannot be opened");
    }
    AiProvider {
        id: provider.id.uuid(),
        kind: provider.kind,
        display_name: provider.display_name.unwrap_or_else(|| provider.name.clone()),
        name: provider.name,
        icon: provider.icon,
        enabled: provider.enabled,
        base_url: provider.base_url,
        api_keys: keys
            .iter()
            .map(|key| sdk::AiProviderKey {
                id: key.id.uuid(),
                masked: mask(key.api_key.expose()),
                created_at: key.created_at.into(),
            })
            .collect(),
        settings,
        fault,
        created_at: provider.created_at.into(),
        updated_at: provider.updated_at.into(),
    }
}
