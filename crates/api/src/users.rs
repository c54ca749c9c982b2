//! People: the first one, lists, accounts from beginning to end, signing in and out.

mod account;
mod appearance;
mod create;
mod list;
mod roles;
mod session;
mod status;

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use rbac::{Action, system};
use stdx::ids::UserId;
use stdx::to_micros;
use store::locks::{Acquire, Lock};
use store::organizations::{GetDefault, InsertMember};
use store::users::{AnyExists, InsertUser, User};
use store::{Call, Error, Store as _, TxOptions};
use time::OffsetDateTime;
use utoipa_axum::routes;

use crate::app::App;
use crate::cx::{Cx, Origin};
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Created, Json, answer};
use crate::routes::Routes;
use crate::rules::{self, Rules};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(has_first_user, create_first_user))
        .routes(routes!(list::list, create::create))
        .routes(routes!(get_user, account::delete))
        .routes(routes!(account::update_profile))
        .routes(routes!(account::update_password))
        .routes(routes!(account::login_type))
        .routes(routes!(appearance::get, appearance::update))
        .routes(routes!(roles::list))
        .routes(routes!(roles::get, roles::update))
        .routes(routes!(status::suspend))
        .routes(routes!(status::activate))
        .routes(routes!(session::auth_methods))
        .routes(routes!(session::login))
        .routes(routes!(session::logout))
}

/// Whether the deployment has been set up: 200 when there is a user, 404 when there is none.
#[utoipa::path(
    get, path = "/users/first", tag = "Users",
    responses((status = 200, body = sdk::Response), (status = 404, body = sdk::Response))
)]
async fn has_first_user(State(app): State<App>) -> ApiResult<Response> {
    let exists = app.store.run(Call::by(system::bootstrap()), AnyExists).await?;
    let (status, message) = if exists {
        (StatusCode::OK, "The initial user has already been created!")
    } else {
        (StatusCode::NOT_FOUND, "The initial user has not been created!")
    };
    Ok(answer(status, &sdk::Response::message(message)))
}

/// Creates the first user, as owner. Open to everybody while there is none.
#[utoipa::path(
    post, path = "/users/first", tag = "Users", request_body = sdk::CreateFirstUserRequest,
    responses(
        (status = 201, body = sdk::CreateFirstUserResponse),
        (status = 400, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
async fn create_first_user(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: http::Extensions,
    Body(req): Body<sdk::CreateFirstUserRequest>,
) -> ApiResult<Created<sdk::CreateFirstUserResponse>> {
    let by = Call::by(system::bootstrap());
    if app.store.run(by, AnyExists).await? {
        return Err(already_set_up());
    }
    let mut broken = Rules::default();
    broken.check("email", rules::email(&req.email));
    broken.check("username", rules::name(&req.username));
    broken.check("name", rules::real_name(&req.name));
    broken.check("password", crypt::password::check_strength(req.password.expose()));
    broken.finish()?;

    let hashed_password = app.passwords.hash(req.password).await?;
    let origin = Origin::of(&headers, &extensions);
    let (now, id) = (app.clock.now(), UserId::new(app.rng.uuid_v4()));
    let organization = app
        .store
        .tx(by, TxOptions::write("create_first_user"), async |tx| {
            tx.run(Acquire(Lock::FirstUser)).await?;
            // Asked again under the lock: of two callers one wins.
            if tx.run(AnyExists).await? {
                return Err(already_set_up());
            }
            let organization = tx.run(GetDefault).await?;
            let insert = InsertUser {
                id,
                email: req.email.clone(),
                username: req.username.clone(),
                name: req.name.clone(),
                hashed_password: hashed_password.clone(),
                status: "active",
                rbac_roles: vec!["owner".to_owned()],
                login_type: "password",
                is_service_account: false,
                now,
            };
            let change = tx.run(insert).await?;
            let member = InsertMember { organization_id: organization.id.0, user_id: id, now };
            tx.run(member).await?;
            let context = origin.context(&app, id, StatusCode::CREATED, now);
            audit::write(tx, &context, &change).await?;
            Ok::<_, ApiError>(organization)
        })
        .await?;
    tracing::info!(user_id = %id, "the first user was created");
    Ok(Created(sdk::CreateFirstUserResponse {
        user_id: id.uuid(),
        organization_id: organization.id.0.uuid(),
    }))
}

fn already_set_up() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "The initial user has already been created.")
}

/// A user by id, name or `me`.
#[utoipa::path(
    get, path = "/users/{user}", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses((status = 200, body = sdk::User), (status = 400, body = sdk::Response))
)]
async fn get_user(cx: Cx, Path(user): Path<String>) -> ApiResult<Json<sdk::User>> {
    let user = cx.user(&user).await?;
    // `me` is resolved without asking: a narrow key acts for its user and does not read the profile.
    if !cx.allows(Action::Read, &user.object()) {
        return Err(Error::NotFound.into());
    }
    list::one(&cx, user).await.map(Json)
}

/// A user as the wire has it, but for the seat.
pub(crate) fn to_wire(user: User, organization_ids: Vec<uuid::Uuid>) -> sdk::User {
    sdk::User {
        id: user.id.0.uuid(),
        roles: slim_roles(&user.rbac_roles),
        username: user.username,
        avatar_url: user.avatar_url,
        name: user.name,
        email: user.email,
        created_at: user.created_at.into(),
        updated_at: user.updated_at.into(),
        last_seen_at: to_micros(user.last_seen_at.unwrap_or(OffsetDateTime::UNIX_EPOCH)).into(),
        status: user.status,
        login_type: user.login_type,
        is_service_account: user.is_service_account,
        theme_preference: String::new(),
        organization_ids,
        // Asked for where users are shown, not where they are named.
        has_ai_seat: false,
    }
}

fn slim_roles(names: &[String]) -> Vec<sdk::SlimRole> {
    // The names that people see do not depend on the deployment's switches.
    static CATALOG: LazyLock<rbac::Catalog> = LazyLock::new(rbac::Catalog::default);
    let shown = |name: &String| {
        let role = CATALOG.built_in(&rbac::RoleName::site(name.clone()));
        let display_name = role.map_or_else(String::new, |role| role.display_name().to_owned());
        sdk::SlimRole { name: name.clone(), display_name, organization_id: String::new() }
    };
    names.iter().map(shown).collect()
}
