//! The fake provider over real sockets.

// The attributes tell the linter that all of it is tests.
#[cfg(test)]
mod faults;
#[cfg(test)]
mod provider;
