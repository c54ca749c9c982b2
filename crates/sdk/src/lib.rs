//! Wire types of API v2.
