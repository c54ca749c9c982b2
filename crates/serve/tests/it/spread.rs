//! One acceptor, several threads.

use serve::Limits;
use stdx::Lifecycle;

use crate::world::{Kept, listener, says};

/// The numbers of the threads that answer, connection by connection.
async fn threads_of(connections: &mut [Kept]) -> Vec<String> {
    let mut threads = Vec::new();
    for connection in connections {
        threads.push(connection.get("/").await.unwrap());
    }
    threads
}

#[tokio::test]
async fn kept_connections_spread_evenly_and_stay_where_they_are() {
    let lifecycle = Lifecycle::new();
    let listener = listener(Limits::default()).await;
    let address = listener.address();
    serve::start_threads("test", listener, 3, |number| says(number.to_string()), &lifecycle)
        .unwrap();
    let mut connections = Vec::new();
    for _ in 0..9 {
        let mut connection = Kept::open(address).await;
        // Once it has answered, the next one finds it counted.
        connection.get("/").await.unwrap();
        connections.push(connection);
    }
    let first = threads_of(&mut connections).await;
    let mut sorted = first.clone();
    sorted.sort();
    assert_eq!(sorted, ["0", "0", "0", "1", "1", "1", "2", "2", "2"]);
    assert_eq!(threads_of(&mut connections).await, first, "a connection keeps its thread");

    // All leave one thread; the next ones go there.
    let mut threads = first.iter();
    connections.retain(|_| threads.next().unwrap() != "1");
    assert_eq!(connections.len(), 6);
    let mut newcomers = Vec::new();
    for _ in 0..3 {
        newcomers.push(arrives_on(address, "1").await);
    }
    let all = threads_of(&mut newcomers).await;
    assert_eq!(all, ["1", "1", "1"]);
    lifecycle.stop(std::time::Duration::from_secs(5)).await;
}

/// Opens connections until one is served by `thread`: the server learns a moment later than the client that a
/// connection is over.
async fn arrives_on(address: std::net::SocketAddr, thread: &str) -> Kept {
    for _ in 0..1_000 {
        let mut connection = Kept::open(address).await;
        if connection.get("/").await.unwrap() == thread {
            return connection;
        }
    }
    panic!("no connection is given to the thread with the fewest");
}

#[tokio::test]
async fn a_taken_address_is_told_with_its_option() {
    let taken = listener(Limits::default()).await;
    let port = taken.address().port();
    let error = serve::Listener::bind("127.0.0.1", port, "CODER_TEST_ADDRESS").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on 127.0.0.1:{port} (CODER_TEST_ADDRESS): choose another address")
    );
}

#[tokio::test]
async fn an_empty_host_is_every_address_of_both_versions() {
    let listener = serve::Listener::bind("", 0, "TEST").await.unwrap();
    let port = listener.address().port();
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    if listener.address().is_ipv6() {
        tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
    }
    let error = serve::Listener::bind("", port, "CODER_TEST_ADDRESS").await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on :{port} ")), "{error}");
}
