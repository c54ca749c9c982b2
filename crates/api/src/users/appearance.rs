//! How pages look to a user.

use axum::extract::Path;
use rbac::Action;
use stdx::ids::UserId;
use store::user_configs::{ListUserConfigs, SetUserConfig};
use store::{Error, TxOptions};

use crate::cx::Cx;
use crate::error::ApiResult;
use crate::json::{Body, Json};
use crate::rules::Rules;

const THEME: &str = "theme_preference";
const FONT: &str = "terminal_font";
/// Longest name of a theme, in bytes.
const THEME_BYTES_MAX: usize = 64;
const FONTS: [&str; 6] =
    ["", "geist-mono", "ibm-plex-mono", "fira-code", "source-code-pro", "jetbrains-mono"];

/// What a user chose.
#[utoipa::path(
    get, path = "/users/{user}/appearance", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::UserAppearance),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn get(cx: Cx, Path(user): Path<String>) -> ApiResult<Json<sdk::UserAppearance>> {
    let user_id = cx.user(&user).await?.id.0;
    let mut shown = sdk::UserAppearance::default();
    for (key, value) in cx.run(ListUserConfigs { user_id }).await? {
        match key.as_str() {
            THEME => shown.theme_preference = value,
            FONT => shown.terminal_font = value,
            _ => {}
        }
    }
    Ok(Json(shown))
}

/// Sets both.
#[utoipa::path(
    put, path = "/users/{user}/appearance", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    request_body = sdk::UserAppearance,
    responses(
        (status = 200, body = sdk::UserAppearance),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update(
    cx: Cx,
    Path(user): Path<String>,
    Body(req): Body<sdk::UserAppearance>,
) -> ApiResult<Json<sdk::UserAppearance>> {
    let mut broken = Rules::default();
    if !FONTS.contains(&req.terminal_font.as_str()) {
        let known = FONTS.into_iter().filter(|font| !font.is_empty());
        let known: Vec<&str> = known.collect();
        broken.broken("terminal_font", format!("must be one of {}", known.join(", ")));
    }
    if req.theme_preference.len() > THEME_BYTES_MAX || req.theme_preference.contains('\0') {
        broken.broken("theme_preference", "must be the name of a theme, at most 64 bytes");
    }
    broken.finish()?;
    let user = cx.user(&user).await?;
    if !cx.allows(Action::UpdatePersonal, &user.object()) {
        return Err(Error::NotFound.into());
    }
    let user_id: UserId = user.id.0;
    cx.tx(TxOptions::write("update_user_appearance"), async |tx| {
        for (key, value) in [(THEME, &req.theme_preference), (FONT, &req.terminal_font)] {
            let (key, value) = (key.to_owned(), value.clone());
            tx.run(SetUserConfig { user_id, key, value }).await?;
        }
        Ok(())
    })
    .await?;
    Ok(Json(req))
}
