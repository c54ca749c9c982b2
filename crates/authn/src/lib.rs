//! From a credential to a subject.
