//! Queries that others put on the stack.

use crate::example;

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_others_are_decided_and_committed_like_ours() {
    let told = example::story().await.unwrap();
    assert_eq!(
        told,
        [
            "Ann reads hello",
            "Ann lists 1",
            "Bob reads: not authorized to read file",
            "Bob lists 0",
            "twice the same: conflicts with an existing row (Unknown)",
            "Ann lists 1",
        ]
    );
}
