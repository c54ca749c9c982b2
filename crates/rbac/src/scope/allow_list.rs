//! Lists of objects that a credential is limited to.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::resource::Resource;

/// One line of an [`AllowList`]: `type:id`, either of which may be `*` (`None`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AllowEntry {
    /// The kind, `None` for every kind.
    pub resource: Option<Resource>,
    /// The object, `None` for every object, also one without id.
    pub id: Option<Uuid>,
}

/// What a credential is limited to, normalised: sorted, unique, nothing listed twice over.
///
/// An empty list matches nothing. Creating has no id yet, so a list of ids alone cannot create; that is
/// intended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AllowList {
    entries: Vec<AllowEntry>,
}

/// Why a text is no allow list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Not two non-empty parts around a colon.
    #[error("invalid allow_list entry {entry:?}: want <type>:<id>")]
    Shape {
        /// The entry, cut to 100 bytes.
        entry: String,
    },
    /// A kind that does not exist.
    #[error(transparent)]
    Resource(#[from] crate::UnknownName),
    /// An id that is neither `*` nor a UUID.
    #[error("invalid {resource} ID (must be UUID): {id:?}")]
    Id {
        /// The kind of the entry, or `*`.
        resource: &'static str,
        /// The id, cut to 100 bytes.
        id: String,
    },
    /// More than [`AllowList::ENTRIES_MAX`] entries, counted before duplicates are dropped.
    #[error("allow_list has {count} entries; max allowed is {max}", max = AllowList::ENTRIES_MAX)]
    TooMany {
        /// How many there were.
        count: usize,
    },
}

/// Longest excerpt of an entry that an error repeats, in bytes.
const SHOWN_MAX: usize = 100;

impl FromStr for AllowEntry {
    type Err = AllowListError;

    /// Trims, lower-cases and splits at the first colon.
    fn from_str(text: &str) -> Result<Self, AllowListError> {
        let shape = || AllowListError::Shape { entry: stdx::cut(text, SHOWN_MAX).to_owned() };
        let lower = text.trim().to_ascii_lowercase();
        let (resource, id) = lower.split_once(':').ok_or_else(shape)?;
        if resource.is_empty() || id.is_empty() {
            return Err(shape());
        }
        let resource: Option<Resource> = match resource {
            "*" => None,
            resource => Some(resource.parse()?),
        };
        let id = match id {
            "*" => None,
            id => Some(Uuid::parse_str(id).map_err(|_| AllowListError::Id {
                resource: resource.map_or("*", Resource::as_str),
                id: stdx::cut(id, SHOWN_MAX).to_owned(),
            })?),
        };
        Ok(Self { resource, id })
    }
}

impl fmt::Display for AllowEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource.map_or("*", Resource::as_str))?;
        match self.id {
            Some(id) => write!(f, ":{id}"),
            None => f.write_str(":*"),
        }
    }
}

impl AllowEntry {
    const EVERYTHING: Self = Self { resource: None, id: None };

    /// What both entries match, if anything: of each part the narrower.
    fn intersect(self, other: Self) -> Option<Self> {
        let meet = overlap(self.resource, other.resource) && overlap(self.id, other.id);
        meet.then_some(Self {
            resource: self.resource.or(other.resource),
            id: self.id.or(other.id),
        })
    }
}

/// Whether two patterns, of which `None` matches everything, have something in common.
fn overlap<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

impl AllowList {
    /// Most entries that a request may name.
    pub const ENTRIES_MAX: usize = 128;

    /// The list `*:*`, which matches everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { entries: vec![AllowEntry::EVERYTHING] }
    }

    /// The empty list, which matches nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { entries: Vec::new() }
    }

    /// Normalises entries made in code.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = AllowEntry>) -> Self {
        let mut entries: Vec<AllowEntry> = entries.into_iter().collect();
        if entries.contains(&AllowEntry::EVERYTHING) {
            return Self::everything();
        }
        entries.sort_unstable();
        entries.dedup();
        // `type:*` sorts before the ids of its type and makes them redundant. `*:id` absorbs nothing:
        // it is a statement about one object, not about a type.
        let mut whole: Option<Resource> = None;
        entries.retain(|entry| {
            if entry.id.is_none() {
                whole = entry.resource;
                return true;
            }
            entry.resource.is_none() || entry.resource != whole
        });
        Self { entries }
    }

    /// Parses a list as stored: an empty one stays empty and matches nothing.
    ///
    /// # Errors
    /// The first bad entry, or too many.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, AllowListError> {
        if entries.len() > Self::ENTRIES_MAX {
            return Err(AllowListError::TooMany { count: entries.len() });
        }
        let entries = entries
            .iter()
            .map(|entry| entry.as_ref().parse())
            .collect::<Result<Vec<AllowEntry>, _>>()?;
        Ok(Self::new(entries))
    }

    /// Parses the list of a request for a credential: absent or empty means everything.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_request<S: AsRef<str>>(entries: &[S]) -> Result<Self, AllowListError> {
        if entries.is_empty() {
            return Ok(Self::everything());
        }
        Self::parse(entries)
    }

    /// The normalised entries, sorted by type, then id.
    #[must_use]
    pub fn entries(&self) -> &[AllowEntry] {
        &self.entries
    }

    /// Whether this is `*:*`.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(self.entries.as_slice(), [AllowEntry { resource: None, id: None }])
    }

    /// What either list matches.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.entries.iter().chain(&other.entries).copied())
    }

    /// What both lists match; empty if either is.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::new(
            self.entries
                .iter()
                .flat_map(|mine| other.entries.iter().filter_map(|theirs| mine.intersect(*theirs))),
        )
    }

    /// Whether every entry of `other` is within one entry of this list, so that `other` reaches no further.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let within = |wanted: &AllowEntry| {
            self.entries.iter().any(|own| own.intersect(*wanted) == Some(*wanted))
        };
        other.entries.iter().all(within)
    }

    /// Whether the object is listed. An object without id is listed by wildcards only.
    #[must_use]
    pub fn contains(&self, resource: Resource, id: Option<Uuid>) -> bool {
        if self.is_everything() {
            return true;
        }
        let listed =
            |resource, id| self.entries.binary_search(&AllowEntry { resource, id }).is_ok();
        listed(Some(resource), None)
            || id.is_some_and(|id| listed(Some(resource), Some(id)) || listed(None, Some(id)))
    }

    /// The ids that are listed for a kind, sorted; `None` if every object of it is listed.
    #[must_use]
    pub fn ids_of(&self, resource: Resource) -> Option<Vec<Uuid>> {
        if self.contains(resource, None) {
            return None;
        }
        let mut ids: Vec<Uuid> = self
            .entries
            .iter()
            .filter(|entry| entry.resource.is_none_or(|listed| listed == resource))
            .filter_map(|entry| entry.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }
}

impl fmt::Display for AllowList {
    /// The entries separated by spaces; `(none)` if there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("(none)");
        }
        for (position, entry) in self.entries.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{entry}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0a000000-0000-4000-8000-000000000001";
    const B: &str = "0b000000-0000-4000-8000-000000000002";

    fn list(entries: &[&str]) -> AllowList {
        let entries: Vec<String> =
            entries.iter().map(|entry| entry.replace("$a", A).replace("$b", B)).collect();
        AllowList::parse(&entries).unwrap()
    }

    #[test]
    fn malformed_entries_are_refused_with_their_reason() {
        for (entry, message) in [
            ("", r#"invalid allow_list entry "": want <type>:<id>"#),
            ("workspace", r#"invalid allow_list entry "workspace": want <type>:<id>"#),
            ("workspace:", r#"invalid allow_list entry "workspace:": want <type>:<id>"#),
            (":*", r#"invalid allow_list entry ":*": want <type>:<id>"#),
            ("task:*", r#"unknown resource type "task""#),
            ("workspace:w1", r#"invalid workspace ID (must be UUID): "w1""#),
            ("*:x", r#"invalid * ID (must be UUID): "x""#),
            ("workspace:*:*", r#"invalid workspace ID (must be UUID): "*:*""#),
            // The sign for kelvin is a small k in lower case.
            ("wor\u{212a}space:*", "unknown resource type \"wor\u{212a}space\""),
        ] {
            let error = AllowList::parse(&[entry]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        let many = vec!["*:*"; 129];
        assert_eq!(
            AllowList::parse(&many).unwrap_err().to_string(),
            "allow_list has 129 entries; max allowed is 128"
        );
        assert!(AllowList::parse(&many[..128]).unwrap().is_everything());
    }

    #[test]
    fn absent_means_everything_in_a_request_and_nothing_in_storage() {
        assert!(AllowList::from_request::<&str>(&[]).unwrap().is_everything());
        assert_eq!(AllowList::parse::<&str>(&[]), Ok(AllowList::nothing()));
        assert!(!AllowList::nothing().contains(Resource::File, None));
    }

    #[test]
    fn lists_are_normalised() {
        for (entries, normal) in [
            (&["workspace:$a", "*:*", "file:*"][..], "*:*".to_owned()),
            (&["workspace:$b", "workspace:*", "file:$a"], format!("file:{A} workspace:*")),
            (
                &[" WORKSPACE:$b ", "workspace:$a", "workspace:$b"],
                format!("workspace:{A} workspace:{B}"),
            ),
            (&["workspace:$a", "*:$a"], format!("*:{A} workspace:{A}")),
        ] {
            assert_eq!(list(entries).to_string(), normal);
        }
    }

    #[test]
    fn intersections_take_the_narrower() {
        for (one, other, both) in [
            (&["*:*"][..], &["file:$a"][..], format!("file:{A}")),
            (&["file:$a"], &["*:*"], format!("file:{A}")),
            (&["file:*"], &[], "(none)".to_owned()),
            (&[], &["*:*"], "(none)".to_owned()),
            (
                &["workspace:*"],
                &["workspace:$a", "workspace:$b"],
                format!("workspace:{A} workspace:{B}"),
            ),
            (&["workspace:$a"], &["workspace:$a", "workspace:$b"], format!("workspace:{A}")),
            (&["*:$a"], &["template:*"], format!("template:{A}")),
            (&["file:$a"], &["template:$a"], "(none)".to_owned()),
        ] {
            assert_eq!(list(one).intersect(&list(other)).to_string(), both);
        }
    }

    #[test]
    fn a_list_covers_what_reaches_no_further() {
        for (own, wanted, covered) in [
            (&["*:*"][..], &["workspace:*", "*:$a"][..], true),
            (&["workspace:*"], &["workspace:$a"], true),
            (&["*:$a"], &["workspace:$a"], true),
            (&["*:$a", "workspace:*"], &["*:$a"], true),
            (&["workspace:$a"], &["workspace:$b"], false),
            (&["workspace:$a"], &["workspace:*"], false),
            (&["workspace:$a"], &["*:$a"], false),
            (&["workspace:*"], &["*:*"], false),
        ] {
            assert_eq!(list(own).covers(&list(wanted)), covered, "{own:?} {wanted:?}");
        }
        assert!(!AllowList::nothing().covers(&AllowList::everything()));
    }

    #[test]
    fn ids_of_a_kind_include_those_of_any_kind() {
        let listed = list(&["workspace:$b", "*:$a", "file:*"]);
        let ids: Vec<Uuid> = vec![A.parse().unwrap(), B.parse().unwrap()];
        assert_eq!(listed.ids_of(Resource::Workspace), Some(ids.clone()));
        assert_eq!(listed.ids_of(Resource::Group), Some(ids[..1].to_vec()));
        assert_eq!(listed.ids_of(Resource::File), None);
        assert_eq!(AllowList::nothing().ids_of(Resource::File), Some(vec![]));
    }

    fn entry() -> impl Strategy<Value = AllowEntry> {
        let resource = prop::option::of(prop::sample::select(
            &[Resource::File, Resource::Group, Resource::Workspace][..],
        ));
        let id = prop::option::of((0_u128..4).prop_map(Uuid::from_u128));
        (resource, id).prop_map(|(resource, id)| AllowEntry { resource, id })
    }

    fn any_list() -> impl Strategy<Value = (Vec<AllowEntry>, AllowList)> {
        prop::collection::vec(entry(), 0..6).prop_map(|e| (e.clone(), AllowList::new(e)))
    }

    fn naive(entries: &[AllowEntry], resource: Resource, id: Option<Uuid>) -> bool {
        entries.iter().any(|entry| {
            entry.resource.is_none_or(|listed| listed == resource)
                && entry.id.is_none_or(|listed| Some(listed) == id)
        })
    }

    proptest! {
        #[test]
        fn set_operations_agree_with_membership(
            (raw, one) in any_list(),
            (raw_other, other) in any_list(),
            asked in entry(),
        ) {
            let resource = asked.resource.unwrap_or(Resource::Chat);
            let (a, b) = (naive(&raw, resource, asked.id), naive(&raw_other, resource, asked.id));
            prop_assert_eq!(one.contains(resource, asked.id), a);
            prop_assert_eq!(one.union(&other).contains(resource, asked.id), a || b);
            prop_assert_eq!(one.intersect(&other).contains(resource, asked.id), a && b);
            let by_ids = one.ids_of(resource).is_none_or(|ids| {
                asked.id.is_some_and(|id| ids.contains(&id))
            });
            prop_assert_eq!(by_ids, a);
            let texts: Vec<String> = one.entries().iter().map(ToString::to_string).collect();
            prop_assert_eq!(AllowList::parse(&texts), Ok(one.clone()));
            if one.covers(&other) {
                prop_assert!(!b || a, "{} reaches further than {}", other, one);
            }
            prop_assert!(one.covers(&one) && one.covers(&one.intersect(&other)));
        }

        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in ".{0,80}") {
            if let Ok(entry) = text.parse::<AllowEntry>() {
                prop_assert_eq!(entry.to_string().parse(), Ok(entry));
            }
        }
    }
}
