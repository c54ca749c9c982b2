//! Proves and measures `rbac` against other engines. Never part of a product, so that `rbac` stays as small
//! as those who embed it need it.
//!
//! [`differ`] asks random questions ([`random`]) of the engine and of a policy that says the same rules in
//! Rego (`policy.rego`), and finds no difference. The policy is a second implementation, written from the
//! rules over plain JSON; it shares with the engine what built-in roles and scopes list ([`tables`]), which
//! other tests check, and not how a decision follows.
//!
//! `bench-rbac` measures the engine, the Rego policy and a Cedar policy on the same questions, see
//! `cargo xtask bench rbac`.

#[cfg(feature = "cedar")]
pub mod cedar;
pub mod coverage;
pub mod dice;
pub mod differ;
pub mod everyday;
pub mod parts;
pub mod question;
pub mod random;
pub mod rego;
pub mod tables;
