//! Tests of the rule as a whole: the worked cases of the specification, its laws against a literal
//! model, and the role tables against a second, subtractive notation.

mod bad_input;
mod laws;
mod model;
mod role_tables;
mod worked_cases;
