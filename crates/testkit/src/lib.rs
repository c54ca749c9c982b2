//! Databases, applications and providers for tests.

pub mod provider;
