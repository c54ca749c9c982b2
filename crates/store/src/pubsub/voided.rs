use stdx::ids::UserId;
use uuid::Uuid;

use super::{Channel, Notice, Publish};

/// What a notice on [`Channel::Credentials`] voids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voided {
    /// What is known about one session or token, by the public half of its key.
    ApiKey(String),
    /// What is known about every credential of a user: the account was suspended, or may do less than before.
    User(UserId),
    /// Nothing. Gives a place among the notices a name that all who listen know.
    Nothing(Uuid),
    /// Everything: notices may have been lost, or one is not understood.
    All,
}

/// Before a user's identifier. The identifier of an API key has no colon and stands alone.
const USER: &str = "user:";
/// Before the name of a place.
const PLACE: &str = "place:";

impl Voided {
    /// Reads a notice. One that makes no sense voids everything, which is always safe.
    #[must_use]
    pub fn read(notice: Notice) -> Self {
        let Notice::Message(payload) = notice else { return Self::All };
        if let Some(id) = payload.strip_prefix(USER) {
            return id.parse().map_or(Self::All, Self::User);
        }
        if let Some(name) = payload.strip_prefix(PLACE) {
            return name.parse().map_or(Self::All, Self::Nothing);
        }
        let is_key_id = !payload.is_empty() && payload.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_key_id { Self::ApiKey(payload) } else { Self::All }
    }
}

impl From<Voided> for Publish {
    fn from(voided: Voided) -> Self {
        let payload = match voided {
            Voided::ApiKey(id) => id,
            Voided::User(id) => format!("{USER}{id}"),
            Voided::Nothing(place) => format!("{PLACE}{place}"),
            Voided::All => String::new(),
        };
        Self { channel: Channel::Credentials, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_back() {
        for voided in [
            Voided::ApiKey("aB3defghij".to_owned()),
            Voided::User(UserId::new(Uuid::from_u128(7))),
            Voided::Nothing(Uuid::from_u128(8)),
            Voided::All,
        ] {
            let notice = Publish::from(voided.clone());
            assert_eq!(notice.channel, Channel::Credentials);
            assert_eq!(Voided::read(Notice::Message(notice.payload)), voided);
        }
    }

    #[test]
    fn what_is_not_understood_voids_everything() {
        assert_eq!(Voided::read(Notice::Resync), Voided::All);
        for payload in ["", "user:", "user:bob", "place:7", "group:1", "a b", "\u{e4}"] {
            assert_eq!(Voided::read(Notice::Message(payload.to_owned())), Voided::All, "{payload}");
        }
    }
}
