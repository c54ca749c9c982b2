//! Tower layers that need no database.
//!
//! [`apply`] puts the layers that every request passes around a router, in their one right order:
//! request id, panic guard, client address, request log, metrics, fixed headers, load shedding, body limit,
//! single slashes. Layers for some routes only are made by [`site_headers`], [`body_limit`] and
//! [`in_flight`]. A layer is a [`Step`]: an async function around the rest of the stack.
//!
//! It refuses to know who calls, what a route does, and what is stored. Handlers and authentication tell
//! the log what they learnt through [`LogContext`].
//!
//! Invariants: refusing is an answer, never an error (`Infallible`); what is counted or held for a request
//! ends when its response body has ended or was dropped; no log line or metric contains a query string, a
//! header or a value that a client may choose without bound; forwarding headers are believed only from
//! trusted peers and are gone from the request otherwise.
//!
//! Start with [`apply`].

mod answer;
mod body_limit;
mod client_addr;
mod headers;
mod in_flight;
mod log_context;
mod metrics;
mod recover;
mod request_id;
mod request_log;
mod single_slash;
mod stack;
mod step;
mod watched;

pub use body_limit::{BODY_BYTES_MAX, BodyLimit, body_limit};
pub use client_addr::{ClientAddr, EffectiveHost, TrustedProxies, TrustedProxiesError};
pub use headers::{Hsts, HstsError, SiteHeaders, site_headers};
pub use in_flight::{InFlight, in_flight, refuse_at_capacity};
pub use log_context::LogContext;
pub use metrics::{HttpMetrics, MethodLabel, RouteLabel};
pub use request_id::{REQUEST_ID, RequestId};
pub use stack::{Settings, apply};
pub use step::{Around, Inner, Next, Step, Stepped};
