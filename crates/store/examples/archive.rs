//! A service that keeps files in a table of its own, beside the schema of this crate: `cargo run -p store --example
//! archive`. It starts a PostgreSQL of its own and removes it again.

use std::sync::Arc;

use rbac::{Action, Catalog, Object, Resource, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{OrganizationId, UserId};
use store::embed::{self, Terms};
use store::{Access, Call, Db, Error, Fut, Permit, Pk, Query, Store as _, Tx, TxOptions, check};
use testkit::TestDb;
use uuid::Uuid;

use embed::diesel::prelude::*;
use embed::diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};

mod schema {
    store::embed::diesel::table! {
        archive.files (id) {
            id -> Uuid,
            owner_id -> Uuid,
            organization_id -> Uuid,
            text -> Text,
        }
    }
}
use schema::files;

/// A row of the table.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = files, check_for_backend(embed::diesel::pg::Pg))]
struct File {
    id: Uuid,
    owner_id: Pk<UserId>,
    organization_id: Pk<OrganizationId>,
    text: String,
}

impl File {
    /// What rules speak of.
    fn object(&self) -> Object<'static> {
        Object::new(Resource::File)
            .id(self.id)
            .owner(self.owner_id.0)
            .in_org(self.organization_id.0)
    }
}

/// How the table's columns are compared with what a subject may see.
const TERMS: Terms<files::table> = Terms {
    id: Some(|ids| Box::new(files::id.eq_any(ids))),
    org: Some(|orgs| Box::new(files::organization_id.eq_any(orgs))),
    owner: Some(|user| Box::new(files::owner_id.eq(user))),
    ..Terms::NONE
};

struct InsertFile(File);

impl Query for InsertFile {
    const NAME: &'static str = "files.insert_file";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, self.0.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let insert = embed::diesel::insert_into(files::table).values(self.0.clone());
            insert.execute(embed::connection(db)).await?;
            Ok(())
        })
    }
}

/// A file, of which only those may learn who may read it.
struct GetFile(Uuid);

impl Query for GetFile {
    const NAME: &'static str = "files.get_file";
    type Out = File;

    fn access(&self) -> Access<Self> {
        Access::After(|file: &File| vec![check(Action::Read, file.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, File> {
        Box::pin(async move {
            let file = files::table.find(self.0).select(File::as_select());
            Ok(file.first(embed::connection(db)).await?)
        })
    }
}

/// The first hundred by name.
struct ListFiles;

impl Query for ListFiles {
    const NAME: &'static str = "files.list_files";
    type Out = Vec<File>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::File, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<File>> {
        Box::pin(async move {
            let mut list =
                files::table.order(files::id).limit(100).select(File::as_select()).into_boxed();
            if let Some(visible) = embed::rows(permit).condition(&TERMS) {
                list = list.filter(visible);
            }
            Ok(list.load(embed::connection(db)).await?)
        })
    }
}

/// What a migration tool would do.
async fn migrate(db: &TestDb) -> Result<(), Box<dyn std::error::Error>> {
    let mut conn =
        <embed::diesel_async::AsyncPgConnection as embed::diesel_async::AsyncConnection>::establish(
            db.url().expose(),
        )
        .await?;
    conn.batch_execute(
        "CREATE SCHEMA archive;
         CREATE TABLE archive.files (
             id              uuid PRIMARY KEY,
             owner_id        uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
             organization_id uuid NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
             text            text NOT NULL
         );
         INSERT INTO organizations (id, name, created_at, updated_at)
         VALUES ('20000000-0000-4000-8000-00000000000a', 'archivists', now(), now());
         INSERT INTO users (id, email, username, created_at, updated_at)
         VALUES ('10000000-0000-4000-8000-00000000000a', 'ann@example.com', 'ann', now(), now()),
                ('10000000-0000-4000-8000-00000000000b', 'bob@example.com', 'bob', now(), now());",
    )
    .await?;
    Ok(())
}

/// A member of the organization. A server takes roles from the database; `authn` does so for ours.
fn member(user: UserId, org: OrganizationId) -> Result<Arc<Subject>, Box<dyn std::error::Error>> {
    let subject = SubjectBuilder::user(user)
        .site_role("member")
        .membership(org, Sharing::Everyone, false)
        .org_role(org, "organization-workspace-access")
        .scope(Scope::all())
        .compile(&Catalog::default())?;
    Ok(Arc::new(subject))
}

#[tokio::main]
#[cfg_attr(test, expect(dead_code, reason = "a test tells the story"))]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in story().await? {
        println!("{line}");
    }
    Ok(())
}

/// Who sees what.
pub(crate) async fn story() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let db = TestDb::new().await;
    let store = db.store().await?;
    migrate(&db).await?;
    let org = OrganizationId::new(Uuid::from_u128(0x20000000_0000_4000_8000_00000000000a));
    let ann = member(UserId::new(Uuid::from_u128(0x10000000_0000_4000_8000_00000000000a)), org)?;
    let bob = member(UserId::new(Uuid::from_u128(0x10000000_0000_4000_8000_00000000000b)), org)?;
    let mut told = Vec::new();

    let id = Uuid::from_u128(1);
    let file = File { id, owner_id: Pk(ann.id()), organization_id: Pk(org), text: "hello".into() };
    store.run(Call::by(&ann), InsertFile(file.clone())).await?;
    told.push(format!("Ann reads {}", store.run(Call::by(&ann), GetFile(id)).await?.text));
    told.push(format!("Ann lists {}", store.run(Call::by(&ann), ListFiles).await?.len()));

    let read = store.run(Call::by(&bob), GetFile(id)).await;
    told.push(format!(
        "Bob reads: {}",
        read.map_or_else(|refused| refused.to_string(), |file| file.text)
    ));
    told.push(format!("Bob lists {}", store.run(Call::by(&bob), ListFiles).await?.len()));

    // Both or neither: the second is refused, so the first is taken back.
    let both: Result<(), Error> = store
        .tx(Call::by(&ann), TxOptions::write("upload_two"), async |tx: &mut Tx| {
            let two = File { id: Uuid::from_u128(2), ..file.clone() };
            tx.run(InsertFile(two.clone())).await?;
            tx.run(InsertFile(two)).await
        })
        .await;
    told.push(
        both.map_or_else(|error| format!("twice the same: {error}"), |()| "taken".to_owned()),
    );
    told.push(format!("Ann lists {}", store.run(Call::by(&ann), ListFiles).await?.len()));
    Ok(told)
}
