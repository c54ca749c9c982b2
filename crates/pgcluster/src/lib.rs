//! Runs a private PostgreSQL server under supervision.
