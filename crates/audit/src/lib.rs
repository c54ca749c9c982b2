//! What is auditable, how a change is shown, and the row that goes with it.
