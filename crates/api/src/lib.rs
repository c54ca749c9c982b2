//! API v2: routes and handlers by noun.
