use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, header};
use serde_json::Value;
use stdx::cut;
use stdx::ids::InterceptionId;

use super::{Body, ClientBody, Gateway, intake};
use crate::client::{self, Client};
use crate::dialect::Fault;
use crate::driver::{Credential, Exchange, Failure, Job, Keys, Ledger, refuse, run};
use crate::facts::Start;
use crate::headers::for_upstream;
use crate::limits::{Held, LARGE_BYTES};
use crate::ports::Identity;
use crate::provider::{Api, Provider};
use crate::token::{Credentials, own_credential};
use crate::wire::{BadRequest, BadRequestKind, Interceptor, chat, messages, responses};

/// Most bytes of the recorded User-Agent.
const USER_AGENT_BYTES_MAX: usize = 512;

/// An admitted request of an intercepted route.
pub(super) struct Call<'a> {
    pub(super) provider: Arc<Provider>,
    pub(super) api: Api,
    pub(super) route: &'static str,
    /// Path to append to the provider's base URL.
    pub(super) rest: &'a str,
    pub(super) identity: Identity,
    pub(super) credentials: Credentials,
}

impl Gateway {
    /// Reads the request, opens its record and runs it. A failure here was not recorded.
    pub(super) async fn intercept(
        &self,
        call: Call<'_>,
        parts: Parts,
        body: ClientBody,
    ) -> Result<Response<Body>, Failure> {
        let Call { provider, api, route, rest, identity, credentials } = call;
        let patience = self.settings.timeouts.request_body;
        let mut held = self.limits.memory.guard();
        let body = intake::read(&parts.headers, body, patience, &mut held).await?;
        let (parts, read) = self.read(api, parts, body, &mut held).await?;
        let Read { program, client_session_id, interceptor } = read;
        let own = own_credential(&parts.headers, provider.kind, &credentials);
        let credential = Credential::choose(own, &provider)?;
        let uri = provider.base.join(rest, parts.uri.query()).map_err(|_| {
            Failure::new(Fault::BadRequest, "the query has characters that no URL can carry")
        })?;

        let books = &self.books;
        let started_at = books.clock.now();
        let asked = interceptor.asked();
        let start = Start {
            id: InterceptionId::new(books.rng.uuid_v7(started_at)),
            initiator: identity.user,
            api_key_id: identity.api_key_id.to_string(),
            provider: provider.kind.as_str().to_owned(),
            provider_name: provider.name.clone(),
            model: asked.model.clone(),
            client: program.as_str().to_owned(),
            client_session_id,
            correlating_tool_call_id: asked.correlating_tool_call_id.clone(),
            credential_kind: credential.kind(),
            credential_hint: credential.hint().to_owned(),
            started_at,
            metadata: user_agent(&parts),
        };
        tracing::debug!(
            interception_id = %start.id,
            provider = provider.name,
            route,
            streaming = asked.stream,
            credential_kind = credential.kind().as_str(),
            "interception started"
        );
        let subject = books.metrics.subject(
            &provider.name,
            &asked.model,
            route,
            program.as_str(),
            identity.user,
        );
        let (ledger, recorded) =
            Ledger::open(books, start, Arc::clone(&subject)).map_err(|_| {
                Failure::new(
                    Fault::NotRecorded,
                    "the request could not be recorded, so it was not sent; try again shortly",
                )
            })?;
        let terms = self.terms(Arc::clone(&subject.provider));
        let ticket = match self.breakers.as_ref().map(|breakers| breakers.admit(&subject)) {
            None => None,
            Some(Ok(ticket)) => Some(ticket),
            Some(Err(wait)) => {
                let mut failure = Failure::new(Fault::CircuitOpen, "circuit breaker is open");
                failure.retry_after = Some(wait);
                let exchange = Exchange::new(interceptor, ledger, held, None);
                return Ok(refuse(exchange, failure, recorded, &terms).await);
            }
        };
        let actor = self.settings.send_actor_headers.then_some(&identity);
        let job = Job {
            keys: Keys {
                provider: &provider,
                upstream: &self.upstream,
                metrics: &books.metrics,
                clock: &*books.clock,
                replay: true,
            },
            credential,
            uri,
            headers: for_upstream(&parts.headers, actor),
            terms,
        };
        Ok(run(job, Exchange::new(interceptor, ledger, held, ticket), recorded).await)
    }

    /// Finds out what the request says; not on this thread if that takes long.
    async fn read(
        &self,
        api: Api,
        parts: Parts,
        body: Bytes,
        held: &mut Held,
    ) -> Result<(Parts, Read), Failure> {
        if body.len() < LARGE_BYTES {
            let read = Read::new(api, &parts.headers, &body)?;
            return Ok((parts, read));
        }
        // Editing a body takes a second one for a moment.
        held.resize(2 * body.len()).map_err(|_| intake::no_room())?;
        let Some(place) = self.limits.workers.place(self.settings.timeouts.request_body).await
        else {
            return Err(intake::no_room());
        };
        let length = body.len();
        let work = move || {
            let read = Read::new(api, &parts.headers, &body);
            (parts, read)
        };
        let Some((parts, read)) = place.run(work).await else {
            let message = "the gateway is shutting down; try again shortly";
            return Err(Failure::new(Fault::Stopping, message));
        };
        // Smaller than before, so there is room.
        let _ = held.resize(length);
        Ok((parts, read?))
    }
}

/// What a request says.
struct Read {
    program: Client,
    client_session_id: Option<String>,
    interceptor: Box<dyn Interceptor>,
}

impl Read {
    fn new(api: Api, headers: &HeaderMap, body: &Bytes) -> Result<Self, Failure> {
        let program = client::detect(headers);
        let interceptor = open(api, body.clone()).map_err(|error| {
            let fault = match error.kind {
                BadRequestKind::Malformed => Fault::BadRequest,
                BadRequestKind::NotSupported => Fault::NotImplemented,
            };
            Failure::new(fault, error.message)
        })?;
        let client_session_id = client::session_id(program, headers, body);
        Ok(Self { program, client_session_id, interceptor })
    }
}

fn open(api: Api, body: Bytes) -> Result<Box<dyn Interceptor>, BadRequest> {
    Ok(match api {
        Api::Messages => Box::new(messages::Messages::new(body)?),
        Api::Chat => Box::new(chat::Chat::new(body)?),
        Api::Responses => Box::new(responses::Responses::new(body)?),
    })
}

fn user_agent(parts: &Parts) -> BTreeMap<String, Value> {
    let agent = parts.headers.get(header::USER_AGENT);
    let agent = agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    agent
        .map(|agent| {
            let agent = Value::from(cut(&agent, USER_AGENT_BYTES_MAX));
            ("request_user_agent".to_owned(), agent)
        })
        .into_iter()
        .collect()
}
