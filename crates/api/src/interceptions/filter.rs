use stdx::ids::UserId;
use store::Error;
use store::ai_providers::{GetProvider, ProviderRef};
use store::interceptions::{Filter, ListProviderNames};
use store::users::GetUserByName;

use crate::cx::Cx;
use crate::error::ApiResult;
use crate::search::{self, Bare, Case, Fields, Person};

/// Which list is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests.
    Interceptions,
    /// Sessions.
    Sessions,
}

impl Kind {
    const fn refusal(self) -> &'static str {
        match self {
            Self::Interceptions => "Invalid interceptions search query.",
            Self::Sessions => "Invalid sessions search query.",
        }
    }
}

/// A search as it was typed: the initiator is not looked up yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    filter: Filter,
    initiator: Option<Person>,
}

fn read(q: &str, kind: Kind) -> ApiResult<Asked> {
    let bare = match kind {
        Kind::Interceptions => Bare::Is("initiator"),
        Kind::Sessions => Bare::Refused,
    };
    let mut fields = search::parse(q, Case::Keep, bare);
    let initiator = fields.person("initiator");
    let filter = Filter {
        initiator: None,
        provider: fields.text("provider"),
        provider_name: fields.text("provider_name"),
        model: fields.text("model"),
        client: fields.text("client"),
        session_id: if kind == Kind::Sessions { fields.text("session_id") } else { None },
        started_after: fields.time("started_after"),
        started_before: fields.time("started_before"),
    };
    if let (Some(after), Some(before)) = (filter.started_after, filter.started_before)
        && before <= after
    {
        fields.fault(
            "started_before",
            "Query param \"started_before\" must be later than \"started_after\"",
        );
    }
    fields.finish(kind.refusal())?;
    Ok(Asked { filter, initiator })
}

/// What `q` asks for, with names looked up.
pub(crate) async fn resolve(cx: &Cx, q: &str, kind: Kind) -> ApiResult<Filter> {
    let Asked { mut filter, initiator } = read(q, kind)?;
    let mut faults = Fields::default();
    filter.initiator = match initiator {
        None => None,
        Some(Person::Me) => Some(cx.caller.user.id.0),
        Some(Person::Id(id)) => Some(UserId::new(id)),
        Some(Person::Named(username)) => {
            match cx.run(GetUserByName { username: username.clone() }).await {
                Ok(user) => Some(user.id.0),
                // One text for both: a search must not tell who exists.
                Err(Error::NotFound | Error::Denied(_)) => {
                    faults.fault(
                        "initiator",
                        format!(
                            "Query param \"initiator\" has invalid value: there is no user \
                             {username:?}, or you may not see them"
                        ),
                    );
                    None
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    if let Some(name) = &filter.provider_name
        && !is_provider(cx, name).await?
    {
        faults.fault(
            "provider_name",
            format!(
                "Query param \"provider_name\" has invalid value: there is no provider {name:?}"
            ),
        );
    }
    faults.finish(kind.refusal())?;
    Ok(filter)
}

/// Whether there is such a provider, or there was one when requests were recorded. Who may not read providers
/// is not told.
async fn is_provider(cx: &Cx, name: &str) -> ApiResult<bool> {
    match cx.run(GetProvider(ProviderRef::Name(name.to_owned()))).await {
        Ok(_) | Err(Error::Denied(_)) => Ok(true),
        Err(Error::NotFound) => {
            let list = ListProviderNames { prefix: name.to_owned(), offset: 0, limit: 1 };
            // A name comes before all names that it begins.
            Ok(cx.run(list).await?.first().is_some_and(|first| first == name))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use time::macros::datetime;

    use super::*;
    use crate::error::ApiError;

    fn faults(q: &str, kind: Kind) -> Vec<String> {
        match read(q, kind) {
            Err(ApiError::Answer { status: StatusCode::BAD_REQUEST, body }) => {
                assert_eq!(body.message, kind.refusal());
                body.validations.into_iter().map(|fault| fault.field).collect()
            }
            other => panic!("{q}: {other:?}"),
        }
    }

    #[test]
    fn bad_searches_name_the_bad_keys() {
        for (q, kind, fields) in [
            ("session_id:x", Kind::Interceptions, vec!["session_id"]),
            ("status:x foo:y", Kind::Sessions, vec!["foo", "status"]),
            ("alice", Kind::Sessions, vec!["q"]),
            ("model:a model:b", Kind::Interceptions, vec!["model"]),
            ("started_after:yesterday", Kind::Interceptions, vec!["started_after"]),
            (
                "started_after:\"2026-01-02T00:00:00Z\" started_before:\"2026-01-02T00:00:00Z\"",
                Kind::Interceptions,
                vec!["started_before"],
            ),
        ] {
            assert_eq!(faults(q, kind), fields, "{q}");
        }
    }

    #[test]
    fn every_key_narrows() {
        let q = "initiator:Ann provider:openai provider_name:main model:GPT-5 client:\"Claude Code\" \
                 session_id:S started_after:\"2026-01-02T00:00:00Z\" started_before:\"2026-01-03T00:00:00.5Z\"";
        let expected = Asked {
            filter: Filter {
                initiator: None,
                provider: Some("openai".to_owned()),
                provider_name: Some("main".to_owned()),
                model: Some("GPT-5".to_owned()),
                client: Some("Claude Code".to_owned()),
                session_id: Some("S".to_owned()),
                started_after: Some(datetime!(2026-01-02 0:00 UTC)),
                started_before: Some(datetime!(2026-01-03 0:00:00.5 UTC)),
            },
            initiator: Some(Person::Named("Ann".to_owned())),
        };
        assert_eq!(read(q, Kind::Sessions).unwrap(), expected);
        assert_eq!(read("", Kind::Sessions).unwrap(), Asked::default());
        assert_eq!(read("me", Kind::Interceptions).unwrap().initiator, Some(Person::Me));
    }
}
