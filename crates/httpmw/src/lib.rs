//! Tower layers that need no database.
