//! The end of the process: what is open is finished, what is idle is closed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serve::{Client, Limits, Make};
use stdx::Lifecycle;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::world::{Kept, listener, within};

/// Answers `/slow` once the gate opens; each answer leaves a task behind that takes a while.
fn gated(
    gate: &Arc<Semaphore>,
    entered: &Arc<Semaphore>,
    afterwards: &Arc<AtomicBool>,
    lifecycle: &Lifecycle,
) -> impl Make + Send + Sync + use<> {
    let (gate, entered) = (Arc::clone(gate), Arc::clone(entered));
    let (afterwards, lifecycle) = (Arc::clone(afterwards), lifecycle.clone());
    move |_: Client| {
        let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
        let (afterwards, lifecycle) = (Arc::clone(&afterwards), lifecycle.clone());
        service_fn(move |request: Request<Incoming>| {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            let (afterwards, tasks) = (Arc::clone(&afterwards), lifecycle.clone());
            async move {
                if request.uri().path() == "/slow" {
                    entered.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                    tasks.spawn("afterwards", async move {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        afterwards.store(true, Ordering::SeqCst);
                    });
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        })
    }
}

#[tokio::test]
async fn an_open_answer_is_finished_an_idle_connection_closed_a_new_one_refused() {
    for threads in [0, 2] {
        let lifecycle = Lifecycle::new();
        let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let afterwards = Arc::new(AtomicBool::new(false));
        let listener = listener(Limits::default()).await;
        let address = listener.address();
        if threads == 0 {
            let make = gated(&gate, &entered, &afterwards, &lifecycle);
            serve::start("test", listener, make, &lifecycle);
        } else {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            let (after, tasks) = (Arc::clone(&afterwards), lifecycle.clone());
            let factory = move |_| gated(&gate, &entered, &after, &tasks);
            serve::start_threads("test", listener, threads, factory, &lifecycle).unwrap();
        }
        let (mut idle, mut busy) = (Kept::open(address).await, Kept::open(address).await);
        assert_eq!(idle.get("/").await.as_deref(), Some("done"));
        let answer = busy.begin("/slow");
        let stop = async {
            entered.acquire().await.unwrap().forget();
            let stopping = lifecycle.stop(Duration::from_secs(10));
            let meanwhile = async {
                idle.closed().await;
                let refused = async {
                    while TcpStream::connect(address).await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                };
                within(refused).await;
                gate.add_permits(1);
            };
            tokio::join!(stopping, meanwhile);
        };
        let (answer, ()) = tokio::join!(answer, within(stop));
        let body = within(answer.unwrap().into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(&body[..], b"done", "{threads} threads");
        assert!(afterwards.load(Ordering::SeqCst), "what a request leaves behind is finished");
    }
}
