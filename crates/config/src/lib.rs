//! The option table: flags, environment, YAML, files, defaults.
