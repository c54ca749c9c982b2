use std::collections::BTreeMap;

use super::*;
use crate::environment::Environment;
use crate::groups;
use crate::value::{Kind, Raw};

#[test]
fn every_default_is_a_value_of_its_option() {
    for row in rows() {
        let raw = Raw::text(row.default);
        if raw.is_empty() && row.empty {
            continue;
        }
        if let Err(reason) = row.accept(&raw) {
            panic!("{}: default {:?}: {reason}", row.field, row.default);
        }
    }
    assert!(Options::build(&Resolution::new(&Environment::default(), Daemon::Coderd)).is_some());
}

#[test]
fn no_name_means_two_things() {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut add = |name: String, field| {
        let before = seen.insert(name.clone(), field);
        assert_eq!(before, None, "{name} names {field} too");
    };
    for row in rows() {
        add(format!("field {}", row.field), row.field);
        if !row.json.is_empty() {
            add(format!("json {}", row.json), row.field);
        }
        if let Some(short) = row.short {
            assert_ne!(short, 'h', "-h is help");
            add(format!("-{short}"), row.field);
        }
        for name in row.names() {
            if !name.flag.is_empty() {
                add(format!("--{}", name.flag), row.field);
                if row.secret {
                    add(format!("--{}-file", name.flag), row.field);
                }
            }
            if !name.env.is_empty() {
                add(name.env.to_owned(), row.field);
                if row.secret {
                    add(format!("{}_FILE", name.env), row.field);
                }
            }
            if !name.yaml.is_empty() {
                add(format!("yaml {}", name.yaml), row.field);
            }
        }
    }
}

#[test]
fn names_have_the_shape_of_their_kind() {
    for row in rows() {
        assert!(!row.name.is_empty(), "{} has no name", row.field);
        assert!(!row.flag.is_empty() || !row.env.is_empty(), "{} cannot be set", row.field);
        assert!(!row.daemons.is_empty(), "{} is read by nobody", row.field);
        assert!(groups::ALL.iter().any(|group| std::ptr::eq(*group, row.group)), "{}", row.field);
        for name in row.names() {
            let env = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            let flag = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(name.env.is_empty() || name.env.starts_with("CODER_"), "{}", name.env);
            assert!(name.env.bytes().all(env), "{}", name.env);
            assert!(name.flag.bytes().all(flag), "{}", name.flag);
        }
    }
}

#[test]
fn every_option_is_explained_in_sentences() {
    for row in rows() {
        for paragraph in row.paragraphs() {
            assert!(paragraph.ends_with('.'), "{}: {paragraph}", row.field);
        }
        assert!(!row.paragraphs().is_empty(), "{}", row.field);
    }
}

#[test]
fn ranges_stand_on_numbers_only() {
    for row in rows().filter(|row| row.range.is_some()) {
        assert!(matches!(row.kind, Kind::Integer | Kind::Duration | Kind::Size), "{}", row.field);
    }
}

#[test]
fn what_nobody_reads_is_not_in_the_table() {
    for row in rows() {
        for name in row.names() {
            assert!(name.flag.is_empty() || !crate::unused::is_flag(name.flag), "{}", name.flag);
            assert!(name.env.is_empty() || !crate::unused::is_variable(name.env), "{}", name.env);
            assert!(!crate::unused::is_yaml(&name.yaml), "{}", name.yaml);
        }
    }
}
