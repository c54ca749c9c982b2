//! Whether the caller may do something, for those who show or hide what can be done.

mod questions;

use axum::extract::RawQuery;
use rbac::{Acl, Action, Because, Explanation, Object};
use sdk::{AuthorizationExplanation, AuthorizationResponse, ExplainedAuthorizationResponse};
use stdx::ids::{GroupId, UserId};
use store::Error;
use store::groups::GetGroup;
use store::users::GetUser;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::cx::Cx;
use crate::error::ApiResult;
use crate::json::{Body, Json};
use crate::paging;
use crate::routes::Routes;
use questions::{Kind, Target};

/// Said alike of what does not exist and of what the caller cannot see.
const UNSEEN: &str = "there is no such object, or the caller has no access to it";

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(check))
}

/// Tells which of some things the caller may do with the credential at hand: a boolean for each, or with
/// `explain=true` an object that holds the reason.
#[utoipa::path(
    post, path = "/authcheck", tag = "Authorization",
    params(("explain" = Option<bool>, Query, description = "Whether to answer with reasons")),
    request_body = sdk::AuthorizationRequest,
    responses((status = 200, body = sdk::AuthorizationAnswers), (status = 400, body = sdk::Response))
)]
async fn check(
    cx: Cx,
    RawQuery(query): RawQuery,
    Body(req): Body<sdk::AuthorizationRequest>,
) -> ApiResult<Json<sdk::AuthorizationAnswers>> {
    let mut query = paging::params(query.as_deref());
    let explains = query.flag("explain");
    query.finish_lenient(paging::INVALID)?;
    let questions = questions::read(req, cx.caller.user.id.0)?;
    let mut asked = Vec::with_capacity(questions.len());
    for question in questions {
        let seen = Seen::of(&cx, question.target).await?;
        asked.push((question.name, question.action, seen));
    }
    Ok(Json(if explains {
        let answers = asked.into_iter().map(|(name, action, seen)| {
            let allowed = seen.as_ref().is_some_and(|seen| seen.allows(&cx, action));
            (name, explained(&cx, action, seen.as_ref(), allowed))
        });
        sdk::AuthorizationAnswers::Explained(ExplainedAuthorizationResponse(answers.collect()))
    } else {
        let answers = asked
            .into_iter()
            .map(|(name, action, seen)| (name, seen.is_some_and(|seen| seen.allows(&cx, action))));
        sdk::AuthorizationAnswers::Plain(AuthorizationResponse(answers.collect()))
    }))
}

/// An object that the caller may know of.
struct Seen {
    object: Object<'static>,
    acl: Acl,
}

impl Seen {
    /// `None` for a row that does not exist or that the caller may not read.
    async fn of(cx: &Cx, target: Target) -> Result<Option<Self>, Error> {
        let (kind, id) = match target {
            Target::Described(object) => return Ok(Some(Self { object, acl: Acl::default() })),
            Target::Row(kind, id) => (kind, id),
        };
        match Self::find(cx, kind, id).await {
            Ok(seen) => Ok(seen),
            Err(Error::NotFound | Error::Denied(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(cx: &Cx, kind: Kind, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(match kind {
            Kind::User => {
                let user = cx.run(GetUser { id: UserId::new(id) }).await?;
                (!user.deleted).then(|| Self { object: user.object(), acl: Acl::default() })
            }
            Kind::Group => {
                let group = cx.run(GetGroup { id: GroupId::new(id) }).await?;
                Some(Self { object: group.object(), acl: group.acl() })
            }
            // The deployment has none, so none has this id.
            Kind::Workspace | Kind::Template => None,
        })
    }

    const fn object(&self) -> Object<'_> {
        self.object.acl(&self.acl)
    }

    fn allows(&self, cx: &Cx, action: Action) -> bool {
        cx.app.store.allows(cx.call(), action, &self.object())
    }
}

fn explained(
    cx: &Cx,
    action: Action,
    seen: Option<&Seen>,
    allowed: bool,
) -> AuthorizationExplanation {
    let Some(explanation) = seen.map(|seen| cx.subject().explain(action, &seen.object())) else {
        return AuthorizationExplanation {
            allowed,
            level: String::new(),
            role: String::new(),
            permission: String::new(),
            reason: UNSEEN.to_owned(),
        };
    };
    let (level, role, permission) = decisive(&explanation);
    AuthorizationExplanation { allowed, level, role, permission, reason: explanation.to_string() }
}

/// Level, role and permission that decided, empty if it was something else.
fn decisive(explanation: &Explanation) -> (String, String, String) {
    match &explanation.because {
        Because::Granted(ground) | Because::Forbidden(ground) => (
            ground.level.as_str().to_owned(),
            ground.role.to_string(),
            ground.permission.to_string(),
        ),
        _ => Default::default(),
    }
}
