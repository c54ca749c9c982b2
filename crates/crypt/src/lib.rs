//! Secrets at rest and in transit: keyring, sealed values, passwords, tokens.
