//! First pages and their counts, of tables with many rows.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{OrganizationId, UserId};
use stdx::{Clock as _, SystemClock};
use store::audit_logs::{self, CountAuditLogs, ListAuditLogs};
use store::interceptions::{
    self, CountInterceptions, CountSessions, ListClients, ListInterceptions, ListModels,
    ListSessions,
};
use store::{Call, Full, Store as _};
use testkit::volume;

use super::Args;
use super::table::{Bar, Table, millis};

/// Where pages and counts end that people see.
const CAP: i64 = 2_000;
const PAGE: i64 = 100;
/// Of a page with its count, in milliseconds.
const BAR: Bar = Bar::AtMost(20.0);

/// Who asks.
struct People {
    /// Sees everything.
    owner: Arc<Subject>,
    /// Reads the audit log of one organization.
    auditor: Arc<Subject>,
    /// Sees what is his.
    member: Arc<Subject>,
}

impl People {
    fn new() -> Result<Self> {
        let catalog = Catalog::default();
        let user = |number| Ok::<_, anyhow::Error>(UserId::new(volume::user(number).parse()?));
        let org = OrganizationId::new(volume::organization(3).parse()?);
        let of = |number| {
            Ok::<_, anyhow::Error>(SubjectBuilder::user(user(number)?).site_role("member"))
        };
        let member = of(43)?.membership(org, Sharing::Everyone, false);
        let auditor =
            of(23)?.membership(org, Sharing::Everyone, false).org_role(org, "organization-auditor");
        let compile =
            |builder: SubjectBuilder| builder.scope(Scope::all()).compile(&catalog).map(Arc::new);
        Ok(Self {
            owner: compile(of(0)?.site_role("owner"))?,
            auditor: compile(auditor)?,
            member: compile(member)?,
        })
    }
}

pub(crate) async fn measure(store: &Full, args: &Args, table: &mut Table) -> Result<()> {
    let people = People::new()?;
    let rows = format!("of {} rows", args.rows);
    audit(store, args, &people, &rows, table).await?;
    recorded(store, args, &people, &rows, table).await
}

async fn audit(
    store: &Full,
    args: &Args,
    people: &People,
    rows: &str,
    table: &mut Table,
) -> Result<()> {
    let user = UserId::new(volume::user(17).parse()?);
    let day = time::Duration::days(1);
    let now = SystemClock.now();
    let none = audit_logs::Filter::default;
    let cases = [
        ("all", &people.owner, none(), 0),
        ("all, the last page before the cap", &people.owner, none(), CAP - PAGE),
        ("of one user", &people.owner, audit_logs::Filter { user_id: Some(user), ..none() }, 0),
        (
            "of one kind on one day",
            &people.owner,
            audit_logs::Filter {
                resource_type: Some("kind-3".to_owned()),
                date_from: Some(now - 59 * day),
                date_to: Some(now - 58 * day),
                ..none()
            },
            0,
        ),
        (
            "of a name",
            &people.owner,
            audit_logs::Filter { username: Some("Person17".to_owned()), ..none() },
            0,
        ),
        ("as auditor of one organization", &people.auditor, none(), 0),
    ];
    for (name, who, filter, offset) in cases {
        let page = || async {
            let by = Call::by(who);
            black_box(store.run(by, CountAuditLogs { filter: filter.clone(), cap: CAP }).await?);
            let list = ListAuditLogs { filter: filter.clone(), after: None, offset, limit: PAGE };
            Ok(store.run(by, list).await?.map_or(0, |page| page.len()))
        };
        tell(table, args, &format!("audit log {rows}: {name}"), BAR, page).await?;
    }
    Ok(())
}

async fn recorded(
    store: &Full,
    args: &Args,
    people: &People,
    rows: &str,
    table: &mut Table,
) -> Result<()> {
    let none = interceptions::Filter::default;
    let user = UserId::new(volume::user(17).parse()?);
    let cases = [
        ("all", &people.owner, none()),
        ("of one user", &people.owner, interceptions::Filter { initiator: Some(user), ..none() }),
        (
            "of one model",
            &people.owner,
            interceptions::Filter { model: Some("model-3".to_owned()), ..none() },
        ),
        (
            "of a model that nobody used",
            &people.owner,
            interceptions::Filter { model: Some("model-x".to_owned()), ..none() },
        ),
        ("as somebody who sees his own", &people.member, none()),
    ];
    for (name, who, filter) in cases {
        let page = || async {
            let by = Call::by(who);
            black_box(
                store.run(by, CountInterceptions { filter: filter.clone(), cap: CAP }).await?,
            );
            let list =
                ListInterceptions { filter: filter.clone(), after: None, offset: 0, limit: PAGE };
            let page = store.run(by, list).await?.context("no page")?;
            Ok(page.interceptions.len())
        };
        tell(table, args, &format!("interceptions {rows}: {name}"), BAR, page).await?;
        let page = || async {
            let by = Call::by(who);
            black_box(store.run(by, CountSessions { filter: filter.clone(), cap: CAP }).await?);
            let list = ListSessions { filter: filter.clone(), after: None, offset: 0, limit: PAGE };
            Ok(store.run(by, list).await?.0.len())
        };
        tell(table, args, &format!("sessions {rows}: {name}"), Bar::None, page).await?;
    }
    let by = Call::by(&people.owner);
    let (prefix, offset, limit) = (String::new, 0, PAGE);
    let models =
        || async { Ok(store.run(by, ListModels { prefix: prefix(), offset, limit }).await?.len()) };
    tell(table, args, &format!("models {rows}"), Bar::None, models).await?;
    let clients = || async {
        Ok(store.run(by, ListClients { prefix: prefix(), offset, limit }).await?.len())
    };
    tell(table, args, &format!("clients {rows}"), Bar::None, clients).await
}

/// Runs a page again and again, and tells its median time and the longest. Slow ones have fewer turns.
async fn tell<F: Future<Output = Result<usize>>>(
    table: &mut Table,
    args: &Args,
    what: &str,
    bar: Bar,
    page: impl Fn() -> F,
) -> Result<()> {
    let mut found = page().await?;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5
        || times.len() < args.rounds as usize && began.elapsed() < Duration::from_secs(10)
    {
        let began = Instant::now();
        found = page().await?;
        times.push(began.elapsed());
    }
    let (median, longest) = millis(times);
    table.add(what, (median, "ms"), format!("{found} rows, longest {longest:.1} ms"), bar);
    Ok(())
}
