//! Whether requests would be served now, and if not, why.

use std::sync::Arc;

use aibridge::Gateway;
use control::client::{Identities, Link};
use ledger::Ledger;
use sdk::{Readiness, ReadinessCheck};

/// What the answer is made of. Anybody may ask, so neither names nor causes are told; those are in the log.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) link: Link,
    pub(crate) identities: Arc<Identities>,
    pub(crate) ledger: Ledger,
    pub(crate) gateway: Arc<Gateway>,
}

impl Ready {
    pub(crate) fn report(&self) -> Readiness {
        let checks = vec![self.coderd(), self.providers(), self.spool()];
        Readiness { ready: checks.iter().all(|check| check.ok), checks }
    }

    fn coderd(&self) -> ReadinessCheck {
        let detail = self.link.describe(self.identities.count());
        check("coderd", self.link.can_serve(), detail)
    }

    fn providers(&self) -> ReadinessCheck {
        let statuses = self.gateway.statuses();
        let count = |state: &str| statuses.iter().filter(|row| row.state.as_str() == state).count();
        let detail = if self.link.has_providers() {
            format!(
                "{} enabled, {} disabled, {} misconfigured",
                count("enabled"),
                count("disabled"),
                count("error")
            )
        } else {
            "not loaded yet: they are kept in memory only, so coderd has to answer once after a start"
                .to_owned()
        };
        check("ai_providers", self.link.has_providers(), detail)
    }

    fn spool(&self) -> ReadinessCheck {
        let status = self.ledger.status();
        let age = status.oldest_age.unwrap_or_default().as_secs();
        let remedy = status.shipping.remedy();
        let detail = format!(
            "{}; {} facts ({} bytes) wait for coderd, the oldest for {age} s; shipping: {}{}{}",
            status.health.as_str(),
            status.waiting_facts,
            status.waiting_bytes,
            status.shipping.as_str(),
            if remedy.is_some() { ", " } else { "" },
            remedy.unwrap_or_default(),
        );
        check("spool", status.writable(), detail)
    }
}

fn check(name: &str, ok: bool, detail: String) -> ReadinessCheck {
    ReadinessCheck { name: name.to_owned(), ok, detail }
}
