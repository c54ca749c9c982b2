//! The daemon as a process beside coderd as a process, with a real database behind it and a provider that
//! speaks the vendors' wire formats.
#![cfg(test)]

mod away;
mod certificates;
mod daemon;
mod exchange;
mod kills;
mod options;
mod place;
mod providers;
mod records;
mod revoked;
