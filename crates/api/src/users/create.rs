//! New accounts, made by administrators.

use http::StatusCode;
use rbac::{Action, Object, Resource, RoleName};
use stdx::ids::{OrganizationId, UserId};
use store::organizations::{GetDefault, GetOrganization, InsertMember};
use store::users::InsertUser;
use store::{Constraint, Error, TxOptions};

use super::to_wire;
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Created};
use crate::organizations::not_allowed;
use crate::rules::{self, Rules};

/// Creates an account and makes it a member of organizations.
#[utoipa::path(
    post, path = "/users", tag = "Users", request_body = sdk::CreateUserRequest,
    responses(
        (status = 201, body = sdk::User),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
pub(super) async fn create(
    cx: Cx,
    Body(req): Body<sdk::CreateUserRequest>,
) -> ApiResult<Created<sdk::User>> {
    // Before anything else, so that nobody learns from a refusal which names are taken.
    if !cx.allows(Action::Create, &Object::new(Resource::User)) {
        return Err(not_allowed(Action::Create, Resource::User));
    }
    let account = Account::read(&cx, &req)?;
    let organizations = organizations(&cx, &req).await?;
    let mut roles = req.roles;
    roles.retain(|role| role != "member");
    roles.sort_unstable();
    roles.dedup();
    let named: Vec<RoleName> = roles.iter().cloned().map(RoleName::site).collect();
    if let Err(error) = cx.subject().check_role_change(None, &[], &named, |_| false) {
        return Err(ApiError::bad_field("The roles cannot be given.", "roles", error.to_string()));
    }
    let hashed_password = match account.login_type {
        "password" => cx.app.passwords.hash(req.password).await?,
        _ => String::new(),
    };
    let (now, id) = (cx.now, UserId::new(cx.app.rng.uuid_v4()));
    let user = cx
        .tx(TxOptions::write("create_user"), async |tx| {
            let insert = InsertUser {
                id,
                email: req.email.clone(),
                username: req.username.clone(),
                name: req.name.clone(),
                hashed_password: hashed_password.clone(),
                status: account.status,
                rbac_roles: roles.clone(),
                login_type: account.login_type,
                is_service_account: req.service_account,
                now,
            };
            let change = tx.run(insert).await?;
            for organization_id in organizations.iter().copied() {
                tx.run(InsertMember { organization_id, user_id: id, now }).await?;
            }
            cx.audit(tx, StatusCode::CREATED, &change).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await
        .map_err(worded)?;
    let ids = organizations.into_iter().map(Into::into).collect();
    Ok(Created(to_wire(user, ids)))
}

fn worded(error: ApiError) -> ApiError {
    let field = match error.constraint() {
        Some(Constraint::UsersEmailLowerKey) => "email",
        Some(Constraint::UsersUsernameLowerKey) => "username",
        _ => return error.forbidding(),
    };
    ApiError::conflict(
        "User already exists.",
        field,
        "this value is already in use and should be unique",
    )
}

/// What a request for an account amounts to.
struct Account {
    login_type: &'static str,
    status: &'static str,
}

impl Account {
    fn read(cx: &Cx, req: &sdk::CreateUserRequest) -> ApiResult<Self> {
        let mut broken = Rules::default();
        let login_type = if req.service_account {
            for (field, given) in [
                ("login_type", !matches!(req.login_type.as_str(), "" | "none")),
                ("password", !req.password.expose().is_empty()),
                ("email", !req.email.is_empty()),
            ] {
                if given {
                    broken.broken(field, "must be left out for a service account");
                }
            }
            "none"
        } else {
            broken.check("email", rules::email(&req.email));
            login_type(req, &mut broken)
        };
        broken.check("username", rules::name(&req.username));
        broken.check("name", rules::real_name(&req.name));
        let status = match req.user_status.as_deref() {
            None | Some("" | "dormant") => "dormant",
            Some("active") => "active",
            Some("suspended") => "suspended",
            Some(other) => {
                broken.broken(
                    "user_status",
                    format!("{other:?} is not active, dormant or suspended"),
                );
                "dormant"
            }
        };
        if req.organization_ids.is_empty() && req.organization_id.is_none() {
            broken.broken("organization_ids", "Missing values, this cannot be empty");
        }
        broken.finish()?;
        if login_type == "password" && cx.app.settings.disable_password_auth {
            let message = "Password based authentication is disabled! Unable to provision new users with password authentication.";
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        Ok(Self { login_type, status })
    }
}

fn login_type(req: &sdk::CreateUserRequest, broken: &mut Rules) -> &'static str {
    match req.login_type.as_str() {
        "" | "password" => {
            broken.check("password", crypt::password::check_strength(req.password.expose()));
            return "password";
        }
        "none" => {}
        "oidc" | "github" => broken.broken(
            "login_type",
            format!("{:?} cannot be used: the deployment has no such provider", req.login_type),
        ),
        other => broken.broken(
            "login_type",
            format!("{other:?} is not a way to sign in: use password, oidc, github or none"),
        ),
    }
    if !req.password.expose().is_empty() {
        broken.broken("password", "must be left out unless the login type is password");
    }
    "none"
}

/// The organizations that are asked for, each once. One that the caller cannot see does not exist.
async fn organizations(cx: &Cx, req: &sdk::CreateUserRequest) -> ApiResult<Vec<OrganizationId>> {
    let mut found = Vec::new();
    for id in req.organization_ids.iter().copied().chain(req.organization_id) {
        let id = OrganizationId::new(id);
        let organization = if id.is_nil() {
            cx.run(GetDefault).await
        } else {
            cx.run(GetOrganization { id }).await
        };
        let id = match organization {
            Ok(organization) => organization.id.0,
            Err(Error::NotFound | Error::Denied(_)) => {
                let message = format!("Organization does not exist with the provided id \"{id}\".");
                return Err(ApiError::new(StatusCode::NOT_FOUND, message));
            }
            Err(error) => return Err(error.into()),
        };
        if !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found)
}
