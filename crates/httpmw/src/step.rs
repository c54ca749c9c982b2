use std::convert::Infallible;
use std::mem;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

/// What a layer can be put around: anything that always answers.
pub trait Inner:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Inner for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The rest of the stack, ready for one request.
#[derive(Debug)]
pub struct Next<S>(S);

impl<S: Inner> Next<S> {
    /// Passes the request on.
    pub async fn run(mut self, request: Request) -> Response {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// One layer: what happens around the rest of the stack.
pub trait Step: Clone + Send + Sync + 'static {
    /// Answers the request, usually by passing it on.
    fn run<S: Inner>(
        self,
        request: Request,
        next: Next<S>,
    ) -> impl Future<Output = Response> + Send;
}

/// A [`Step`] as a tower layer.
#[derive(Clone, Copy, Debug)]
pub struct Around<T>(pub(crate) T);

impl<S, T: Clone> Layer<S> for Around<T> {
    type Service = Stepped<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        Stepped { inner, step: self.0.clone() }
    }
}

/// A service with a [`Step`] around it.
#[derive(Clone, Copy, Debug)]
pub struct Stepped<S, T> {
    inner: S,
    step: T,
}

impl<S: Inner, T: Step> Service<Request> for Stepped<S, T> {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that is ready goes with the request; the clone must become ready on its own.
        let clone = self.inner.clone();
        let next = Next(mem::replace(&mut self.inner, clone));
        let step = self.step.clone();
        Box::pin(async move { Ok(step.run(request, next).await) })
    }
}
