//! The Rego policy and the interpreter that evaluates it.

use anyhow::{Context as _, Result, bail};
use regorus::{Engine, Value};
use serde_json::Value as Json;

const POLICY: &str = include_str!("policy.rego");
const RULE: &str = "data.authz.allow";

/// The policy with its tables, ready to be asked.
#[derive(Clone)]
pub struct Rego(Engine);

impl Rego {
    /// Loads the policy and the tables.
    ///
    /// # Errors
    /// A policy or tables that the interpreter refuses.
    pub fn new(tables: Json) -> Result<Self> {
        let mut engine = Engine::new();
        engine.add_policy("policy.rego".to_owned(), POLICY.to_owned()).context("the policy")?;
        engine.add_data(Value::from(tables)).context("the tables")?;
        Ok(Self(engine))
    }

    /// A question as the interpreter has it.
    #[must_use]
    pub fn input(question: Json) -> Value {
        Value::from(question)
    }

    /// Decides.
    ///
    /// # Errors
    /// An evaluation that fails or answers with something else than yes or no.
    pub fn allows(&mut self, input: Value) -> Result<bool> {
        self.0.set_input(input);
        match self.0.eval_rule(RULE.to_owned())? {
            Value::Bool(allowed) => Ok(allowed),
            other => bail!("the policy answered {other}"),
        }
    }
}
