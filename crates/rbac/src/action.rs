//! What can be done to a resource, and sets of such actions as bit masks.

use std::fmt;
use std::str::FromStr;

use crate::UnknownName;

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Something that can be done to a resource. Ordered by wire name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// How many actions there are.
            pub const COUNT: usize = [$($text),*].len();

            /// Every action, sorted by wire name.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name),*];

            /// The name on the wire, in stored permissions and in scopes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl FromStr for Action {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownName::new("action", text)),
                }
            }
        }
    };
}

actions! {
    /// Connect to a web application of a workspace through the browser.
    ApplicationConnect = "application_connect";
    /// Give a role to somebody.
    Assign = "assign";
    /// Bring a new object into being.
    Create = "create";
    /// Register an agent of a workspace.
    CreateAgent = "create_agent";
    /// Remove an object.
    Delete = "delete";
    /// Remove an agent of a workspace.
    DeleteAgent = "delete_agent";
    /// See an object.
    Read = "read";
    /// See a user's settings and authentication links.
    ReadPersonal = "read_personal";
    /// Change who else may use an object.
    Share = "share";
    /// Open a shell in a workspace.
    Ssh = "ssh";
    /// Start a workspace.
    Start = "start";
    /// Stop a workspace.
    Stop = "stop";
    /// Take a role from somebody.
    Unassign = "unassign";
    /// Change an object.
    Update = "update";
    /// Change an agent of a workspace.
    UpdateAgent = "update_agent";
    /// Change a user's settings and authentication links.
    UpdatePersonal = "update_personal";
    /// Create something from a template.
    Use = "use";
    /// See usage statistics of a template.
    ViewInsights = "view_insights";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of actions: one bit each, so that a vote is one mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ActionSet(u32);

impl ActionSet {
    /// No action.
    pub const EMPTY: Self = Self(0);

    /// Every action there is; what `*` means in an access control list.
    pub const ALL: Self = Self::of(&Action::ALL);

    /// Create, read, update and delete.
    pub const CRUD: Self =
        Self::of(&[Action::Create, Action::Read, Action::Update, Action::Delete]);

    /// The set of the listed actions.
    #[must_use]
    pub const fn of(mut actions: &[Action]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = actions {
            bits |= 1_u32 << (*first as u8);
            actions = rest;
        }
        Self(bits)
    }

    /// Whether `action` is in the set.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1_u32 << (action as u8)) != 0
    }

    /// Whether every action of `other` is in the set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set has no action.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many actions are in the set.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The actions of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The actions of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The actions of this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The actions of the set, sorted by wire name.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |a| self.contains(*a))
    }
}

impl From<Action> for ActionSet {
    fn from(action: Action) -> Self {
        Self::of(&[action])
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::EMPTY, |set, action| set.union(action.into()))
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for ActionSet {
    /// The wire names, separated by single spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, action) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_sorted() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert!(Action::ALL.windows(2).all(|w| w[0].as_str() < w[1].as_str()));
        assert_eq!(Action::COUNT, 18);
        for bad in ["", "*", "Read", "read ", "use_shared"] {
            assert!(bad.parse::<Action>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sets_behave_like_sets() {
        let some = ActionSet::of(&[Action::Read, Action::Share]);
        assert!(some.contains(Action::Read) && !some.contains(Action::Ssh));
        assert_eq!(some.len(), 2);
        assert_eq!(some.iter().collect::<ActionSet>(), some);
        assert_eq!(some.to_string(), "read share");
        assert_eq!(some.difference(some), ActionSet::EMPTY);
        assert!(ActionSet::ALL.contains_all(some) && !some.contains_all(ActionSet::ALL));
        assert_eq!(ActionSet::ALL.len(), 18);
        assert_eq!(some.intersection(ActionSet::CRUD), ActionSet::from(Action::Read));
    }
}
