//! The fake provider over real sockets.

// The attribute tells the linter that all of it is tests.
#[cfg(test)]
mod provider;
