use std::io;
use std::sync::Mutex;

use rbac::{Catalog, Scope, Subject, SubjectBuilder};
use stdx::ids::UserId;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use super::*;
use crate::query::check;
use crate::recorder::Recorder;

const ME: UserId = UserId::new(Uuid::from_u128(1));
const BOB: UserId = UserId::new(Uuid::from_u128(2));

fn member() -> Arc<Subject> {
    let member = SubjectBuilder::user(ME).name("alice").email("alice@example.com");
    let member = member.site_role("member").scope(Scope::all());
    Arc::new(member.compile(&Catalog::default()).unwrap())
}

fn user(id: UserId) -> Object<'static> {
    Object::new(Resource::User).id(id.uuid()).owner(id)
}

#[test]
fn one_decision_of_so_many_is_measured_and_every_filter() {
    let mut registry = Registry::new();
    let judge = Judge::new(&mut registry).unwrap();
    let subject = member();
    // Counted by thread: this one has decided nothing yet.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 * SAMPLE {
                assert!(judge.allows(Call::by(&subject), Action::Read, &user(ME)));
            }
            assert!(!judge.allows(Call::by(&subject), Action::Read, &user(BOB)));
            for _ in 0..=SAMPLE_LISTS {
                judge.filter(Call::by(&subject), Action::Read, Resource::User);
            }
        });
    });
    let text = registry.encode();
    for line in [
        "coderd_authz_authorize_duration_seconds_count{allowed=\"true\"} 2",
        "coderd_authz_authorize_duration_seconds_count{allowed=\"false\"} 1",
        "coderd_authz_authorize_duration_seconds_bucket{le=\"0.00001\",allowed=\"true\"}",
        "coderd_authz_prepare_authorize_duration_seconds_count 2",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_call_that_is_noted_notes_checks_and_lists_and_others_nothing() {
    let judge = Judge::new(&mut Registry::new()).unwrap();
    let subject = member();
    let recorder = Arc::new(Recorder::new());
    let call = Call::by(&subject).noted_by(Some(&recorder));
    let checks = [check(Action::Read, user(ME)), check(Action::Delete, user(ME))];
    let Err(Error::Denied(denial)) = judge.check_all(call, &checks) else {
        panic!("members do not delete themselves")
    };
    assert!(denial.readable && denial.action == Action::Delete);
    judge.filter(call, Action::Read, Resource::Workspace);
    judge.filter(call, Action::Read, Resource::ApiKey);
    judge.check_all(Call::by(&subject), &checks[..1]).unwrap();
    let me = format!("owner:{ME}::id:{ME}::");
    assert_eq!(
        recorder.text(),
        format!(
            "{me}user.read=true; {me}user.delete=false; workspace.read=false; api_key.read=true"
        )
    );
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let judge = Judge::new(&mut Registry::new()).unwrap();
    let subject = member();
    let lines = Lines::default();
    let log = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    tracing::subscriber::with_default(log, || {
        judge.check_all(Call::by(&subject), &[check(Action::Read, user(ME))]).unwrap();
        judge.check_all(Call::by(&subject), &[check(Action::Update, user(BOB))]).unwrap_err();
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "DEBUG",
        "unauthorized",
        "reason=user:update is refused because no role grants it and it is not shared",
        &format!("subject_id={ME} subject_type=\"user\" subject_name=\"alice\""),
        "action=\"update\" object_type=\"user\"",
        &format!("object_id={BOB} object_owner={BOB}"),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("example.com"));
}
