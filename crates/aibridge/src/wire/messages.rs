//! To be written with its tests.
