//! Who may do what: subjects, objects, roles, scopes and row filters.
