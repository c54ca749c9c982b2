//! A service that keeps files of several organizations: `cargo run -p rbac --example files`.
//!
//! It says "not found" to who may not read, so that nobody learns what exists, and "forbidden" to who may
//! read but not do more.

use std::collections::BTreeMap;

use rbac::{Action, Catalog, Object, Resource, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

#[derive(Debug, PartialEq)]
enum Refused {
    NotFound,
    Forbidden,
}

struct File {
    owner: UserId,
    org: OrganizationId,
    text: String,
}

#[derive(Default)]
struct Files(BTreeMap<Uuid, File>);

fn object(id: Uuid, file: &File) -> Object<'_> {
    Object::new(Resource::File).id(id).owner(file.owner).in_org(file.org)
}

impl Files {
    fn upload(&mut self, who: &Subject, id: Uuid, file: File) -> Result<(), Refused> {
        who.authorize(Action::Create, &object(id, &file)).map_err(|_| Refused::Forbidden)?;
        self.0.insert(id, file);
        Ok(())
    }

    fn read(&self, who: &Subject, id: Uuid) -> Result<&str, Refused> {
        let file = self.0.get(&id).ok_or(Refused::NotFound)?;
        who.authorize(Action::Read, &object(id, file)).map_err(|_| Refused::NotFound)?;
        Ok(&file.text)
    }

    fn list(&self, who: &Subject) -> Vec<Uuid> {
        let filter = who.row_filter(Action::Read, Resource::File);
        let visible = self.0.iter().filter(|(id, file)| filter.matches(&object(**id, file)));
        visible.map(|(id, _)| *id).collect()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let catalog = Catalog::default();
    let (org, id) = (OrganizationId::new(Uuid::from_u128(10)), Uuid::from_u128(100));
    let alice = UserId::new(Uuid::from_u128(1));
    let member = |user| {
        SubjectBuilder::user(user).site_role("member").membership(org, Sharing::Everyone, false)
    };
    let access = "organization-workspace-access";
    let author = member(alice).org_role(org, access).scope(Scope::all()).compile(&catalog)?;
    let colleague =
        member(UserId::new(Uuid::from_u128(2))).scope(Scope::all()).compile(&catalog)?;
    let reader = Scope::parse_names(&["file:read"])?;
    let robot = member(alice).org_role(org, access).scope(reader).compile(&catalog)?;

    let mut files = Files::default();
    let file = || File { owner: alice, org, text: "hello".to_owned() };
    files.upload(&author, id, file()).map_err(|refused| format!("{refused:?}"))?;
    println!("author reads {:?} and lists {:?}", files.read(&author, id), files.list(&author));
    println!(
        "colleague reads {:?} and lists {:?}",
        files.read(&colleague, id),
        files.list(&colleague)
    );
    println!("a read-only key uploads: {:?}", files.upload(&robot, Uuid::from_u128(101), file()));
    for who in [&author, &colleague, &robot] {
        println!("{}", who.explain(Action::Create, &object(id, &file())));
    }
    Ok(())
}
