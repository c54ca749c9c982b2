//! Query strings, and which part of a list they ask for.

use http::StatusCode;
use url::form_urlencoded;

use crate::error::{ApiError, ApiResult};
use crate::search::Fields;

/// Where counting stops: a count over millions of rows would time the page out.
pub(crate) const COUNT_CAP: i64 = 2_000;

/// What is said of parameters that break a rule.
pub(crate) const INVALID: &str = "Query parameters have invalid values.";

/// The parameters of a query string: percent-decoded, `+` is a space.
pub(crate) fn params(raw: Option<&str>) -> Fields {
    let mut fields = Fields::default();
    for (key, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
        fields.add(key.into_owned(), value.into_owned());
    }
    fields
}

/// How many rows a list yields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When the caller says nothing.
    pub(crate) default: i64,
    /// At most; the caller may not ask for more, nor for none.
    pub(crate) max: i64,
}

impl Limits {
    /// Lists of what the gateway recorded.
    pub(crate) const RECORDS: Self = Self { default: 100, max: 1_000 };
    /// Threads of a session.
    pub(crate) const THREADS: Self = Self { default: 50, max: 200 };

    fn check(self, asked: Option<i64>) -> ApiResult<i64> {
        let limit = asked.unwrap_or(self.default);
        if limit < 1 || limit > self.max {
            return Err(ApiError::bad_request(
                "Invalid pagination limit value.",
                format!("Pagination limit must be in range (0, {}]", self.max),
            ));
        }
        Ok(limit)
    }
}

/// A page that begins behind a number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The search.
    pub(crate) q: String,
    /// Rows, as asked; 0 when the caller said nothing.
    pub(crate) limit: i64,
    /// Rows to skip.
    pub(crate) offset: i64,
}

impl Window {
    /// Reads `q`, `limit` and `offset`, with limits that the caller must keep.
    pub(crate) fn within(limits: Limits, raw: Option<&str>) -> ApiResult<Self> {
        let page = Page::<String>::read(limits, raw, |_| None)?;
        Ok(Self { q: page.q, limit: page.limit, offset: page.offset })
    }
}

/// A page that begins behind a number of rows, or behind one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<C> {
    /// The search.
    pub(crate) q: String,
    /// Rows.
    pub(crate) limit: i64,
    /// Rows to skip.
    pub(crate) offset: i64,
    /// The last row of the page before, with the parameter's name.
    pub(crate) after: Option<C>,
}

impl<C> Page<C> {
    /// Reads `q`, `limit`, `offset` and, with `cursor`, the row to continue after: its parameter's name and
    /// its value.
    pub(crate) fn read(
        limits: Limits,
        raw: Option<&str>,
        cursor: impl FnOnce(&mut Fields) -> Option<(&'static str, C)>,
    ) -> ApiResult<Self> {
        let mut given = params(raw);
        let q = given.text("q").unwrap_or_default();
        let limit = given.number("limit");
        let offset = given.number("offset").unwrap_or(0);
        let after = cursor(&mut given);
        given.finish_lenient(INVALID)?;
        Self { q, limit: limits.check(limit)?, offset, after: None }.after(after)
    }

    fn after(self, cursor: Option<(&'static str, C)>) -> ApiResult<Self> {
        match cursor {
            Some((name, _)) if self.offset != 0 => Err(both(name, "offset")),
            cursor => Ok(Self { after: cursor.map(|(_, cursor)| cursor), ..self }),
        }
    }
}

impl Page<uuid::Uuid> {
    /// Reads `q`, `limit`, `offset` and `after_id` for a log, which has its own limit: 0 stands for the usual one, and
    /// who asks for too much gets the most.
    pub(crate) fn of_log(raw: Option<&str>) -> ApiResult<Self> {
        let mut given = params(raw);
        let page = Self {
            q: given.text("q").unwrap_or_default(),
            limit: given.number("limit").unwrap_or(0),
            offset: given.number("offset").unwrap_or(0),
            after: None,
        };
        let after = given.uuid("after_id");
        given.finish_lenient(INVALID)?;
        page.after(after.map(|id| ("after_id", id)))
    }
}

/// A page that begins behind one row or ends before one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Between {
    /// Rows.
    pub(crate) limit: i64,
    /// Only what comes after this row.
    pub(crate) after: Option<uuid::Uuid>,
    /// Only what comes before this row.
    pub(crate) before: Option<uuid::Uuid>,
}

impl Between {
    /// Reads `limit`, `after_id` and `before_id`.
    pub(crate) fn read(limits: Limits, raw: Option<&str>) -> ApiResult<Self> {
        let mut given = params(raw);
        let limit = given.number("limit");
        let (after, before) = (given.uuid("after_id"), given.uuid("before_id"));
        given.finish_lenient(INVALID)?;
        let limit = limits.check(limit)?;
        if after.is_some() && before.is_some() {
            return Err(both("after_id", "before_id"));
        }
        Ok(Self { limit, after, before })
    }
}

fn both(one: &str, other: &str) -> ApiError {
    ApiError::bad_request(
        INVALID,
        format!("Cannot use both {one} and {other} pagination in the same request."),
    )
}

/// The row to continue after does not exist, or is no part of this list.
pub(crate) fn unknown_cursor() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "Invalid pagination cursor.")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn page(raw: &str) -> ApiResult<Page<Uuid>> {
        Page::read(Limits::RECORDS, Some(raw), |given| Some(("after_id", given.uuid("after_id")?)))
    }

    fn refusal<T: std::fmt::Debug>(outcome: ApiResult<T>) -> sdk::Response {
        match outcome {
            Err(ApiError::Answer { status: StatusCode::BAD_REQUEST, body }) => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn limits_are_kept() {
        for raw in ["limit=0", "limit=1001", "limit=2147483647"] {
            let body = refusal(page(raw));
            assert_eq!(body.message, "Invalid pagination limit value.", "{raw}");
            assert_eq!(body.detail, "Pagination limit must be in range (0, 1000]", "{raw}");
        }
        let body = refusal(Between::read(Limits::THREADS, Some("limit=201")));
        assert_eq!(body.detail, "Pagination limit must be in range (0, 200]");
    }

    #[test]
    fn two_ways_to_say_where_a_page_begins_are_one_too_many() {
        let id = Uuid::from_u128(7);
        let body = refusal(page(&format!("after_id={id}&offset=1")));
        assert_eq!(body.message, "Query parameters have invalid values.");
        assert_eq!(
            body.detail,
            "Cannot use both after_id and offset pagination in the same request."
        );
        let body = refusal(Page::of_log(Some(&format!("after_id={id}&offset=1"))));
        assert_eq!(
            body.detail,
            "Cannot use both after_id and offset pagination in the same request."
        );
        let body =
            refusal(Between::read(Limits::THREADS, Some(&format!("after_id={id}&before_id={id}"))));
        assert_eq!(
            body.detail,
            "Cannot use both after_id and before_id pagination in the same request."
        );
    }

    #[test]
    fn all_faults_are_answered_at_once() {
        let body = refusal(page("limit=a&offset=-1&after_id=x&q=1&q=2&unknown=1"));
        assert_eq!(body.message, "Query parameters have invalid values.");
        let fields: Vec<&str> = body.validations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["q", "limit", "offset", "after_id"]);
    }

    #[test]
    fn reads_what_is_asked() {
        let id = Uuid::from_u128(7);
        let found = page("q=a+b%3Ac%20%22d%22&limit=7&offset=3&extra=1&extra=2").unwrap();
        let expected = Page { q: "a b:c \"d\"".to_owned(), limit: 7, offset: 3, after: None };
        assert_eq!(found, expected);
        let found = page(&format!("after_id={id}&offset=0")).unwrap();
        assert_eq!((found.limit, found.after), (100, Some(id)));
        assert_eq!(page("").unwrap().limit, 100);
        assert_eq!(page("limit=&offset=").unwrap().limit, 100);
        let found = Page::of_log(None).unwrap();
        assert_eq!(found, Page { q: String::new(), limit: 0, offset: 0, after: None });
        let found = Page::of_log(Some(&format!("after_id={id}&limit=5"))).unwrap();
        assert_eq!((found.limit, found.after), (5, Some(id)));
        let found = Window::within(Limits::RECORDS, Some("offset=2")).unwrap();
        assert_eq!(found, Window { q: String::new(), limit: 100, offset: 2 });
        let found = Between::read(Limits::THREADS, Some(&format!("before_id={id}"))).unwrap();
        assert_eq!(found, Between { limit: 50, after: None, before: Some(id) });
    }
}
