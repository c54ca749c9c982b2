//! Databases, applications and providers for tests.
