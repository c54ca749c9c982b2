//! Rows as parameters: one array per column. The text of a statement is then the same for any number of
//! rows, so each connection prepares it once.

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query as Statement, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::links::call_of;
use super::rows::{End, Prompt, Start, Thought, Tokens, Tool};

/// Arrays that a statement takes through `unnest`.
pub(super) trait Columns: Send + Sync {
    /// Adds the arrays, parted by commas.
    fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// A statement of constant text around `unnest(columns)`. `S` is what it yields.
pub(super) struct Around<'a, C, S = ()> {
    before: &'static str,
    columns: &'a C,
    after: &'static str,
    prepared: bool,
    yields: PhantomData<fn() -> S>,
}

impl<'a, C, S> Around<'a, C, S> {
    /// For inserts: there is but one plan, so the statement stays prepared.
    pub(super) const fn insert(before: &'static str, columns: &'a C, after: &'static str) -> Self {
        Self { before, columns, after, prepared: true, yields: PhantomData }
    }

    /// For joins: planned anew each time. A plan that was made for tables without rows reads all of them
    /// when they are full.
    pub(super) const fn join(before: &'static str, columns: &'a C, after: &'static str) -> Self {
        Self { before, columns, after, prepared: false, yields: PhantomData }
    }
}

impl<C: Columns, S> QueryFragment<Pg> for Around<'_, C, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.prepared {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql(self.before);
        out.push_sql("unnest(");
        self.columns.bind(&mut out)?;
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

/// Found in the cache by its text.
impl<C, S> QueryId for Around<'_, C, S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C, S> Statement for Around<'_, C, S> {
    type SqlType = S;
}

/// Rows of one table.
pub(super) trait Table: Columns {
    /// Text before the columns that stores them.
    const INSERT: &'static str;
    /// Text before and after the columns that finds those without a row, or whose row differs: place from 1,
    /// and whether there is no row.
    const COMPARE: (&'static str, &'static str);
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident of $row:ty {
        $($column:ident: $sql:ty = |$r:ident| $value:expr => $rust:ty,)*
    })*) => {$(
        $(#[$doc])*
        pub(super) struct $name<'a> {
            $($column: Vec<$rust>,)*
            rows: PhantomData<&'a ()>,
        }

        impl<'a> $name<'a> {
            pub(super) fn of(rows: &[&'a $row]) -> Self {
                Self {
                    $($column: rows.iter().map(|$r| $value).collect(),)*
                    rows: PhantomData,
                }
            }
        }

        impl Columns for $name<'_> {
            fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                let mut separator = "";
                $(
                    out.push_sql(separator);
                    out.push_bind_param::<Array<$sql>, _>(&self.$column)?;
                    separator = ", ";
                )*
                let _ = separator;
                Ok(())
            }
        }
    )*};
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident of $row:ident in $table:literal {
        $($column:ident: $sql:ty = |$r:ident| $value:expr => $rust:ty,)*
    })*) => {$(
        columns! {
            $(#[$doc])*
            $name of $row {
                $($column: $sql = |$r| $value => $rust,)*
                metadata: Jsonb = |row| &row.metadata => &'a Value,
                created_at: Timestamptz = |row| row.created_at => OffsetDateTime,
                interception_id: SqlUuid = |row| row.interception_id.0.uuid() => Uuid,
                id: SqlUuid = |row| row.id.0.uuid() => Uuid,
            }
        }

        impl Table for $name<'_> {
            const INSERT: &'static str = concat!(
                "INSERT INTO ", $table, " (", $(stringify!($column), ", ",)*
                "metadata, created_at, interception_id, id) SELECT * FROM "
            );
            const COMPARE: (&'static str, &'static str) = (
                "SELECT w.place, t.id IS NULL FROM ",
                concat!(
                    " WITH ORDINALITY AS w (", $(stringify!($column), ", ",)*
                    "metadata, created_at, interception_id, id, place) LEFT JOIN ", $table,
                    " t ON t.interception_id = w.interception_id AND t.id = w.id \
                     WHERE t.id IS NULL OR (", $("t.", stringify!($column), ", ",)*
                    "t.metadata, t.created_at) IS DISTINCT FROM (",
                    $("w.", stringify!($column), ", ",)* "w.metadata, w.created_at)"
                ),
            );
        }
    )*};
}

facts! {
    TokensColumns of Tokens in "aibridge_token_usages" {
        provider_response_id: Text = |row| &*row.provider_response_id => &'a str,
        input_tokens: BigInt = |row| row.input_tokens => i64,
        output_tokens: BigInt = |row| row.output_tokens => i64,
        cache_read_input_tokens: BigInt = |row| row.cache_read_input_tokens => i64,
        cache_write_input_tokens: BigInt = |row| row.cache_write_input_tokens => i64,
    }
    PromptColumns of Prompt in "aibridge_user_prompts" {
        provider_response_id: Text = |row| &*row.provider_response_id => &'a str,
        prompt: Text = |row| &*row.prompt => &'a str,
    }
    ToolColumns of Tool in "aibridge_tool_usages" {
        provider_response_id: Text = |row| &*row.provider_response_id => &'a str,
        provider_tool_call_id: Text = |row| &*row.provider_tool_call_id => &'a str,
        provider_item_id: Nullable<Text> = |row| row.provider_item_id.as_deref() => Option<&'a str>,
        server_url: Nullable<Text> = |row| row.server_url.as_deref() => Option<&'a str>,
        tool: Text = |row| &*row.tool => &'a str,
        input: Text = |row| &*row.input => &'a str,
        injected: Bool = |row| row.injected => bool,
        invocation_error: Nullable<Text> = |row| row.invocation_error.as_deref() => Option<&'a str>,
    }
    ThoughtColumns of Thought in "aibridge_model_thoughts" {
        content: Text = |row| &*row.content => &'a str,
    }
}

/// Where an interception hangs in its thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) parent: Uuid,
    pub(super) root: Uuid,
}

/// A start with its place, and its end if that is known already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    pub(super) start: &'a Start,
    pub(super) link: Option<Link>,
    pub(super) end: Option<&'a End>,
}

impl<'a> Whole<'a> {
    /// The end's, unless it brings none.
    fn credential_hint(&self) -> &'a str {
        self.end
            .map(|end| end.credential_hint.as_str())
            .filter(|hint| !hint.is_empty())
            .unwrap_or(&self.start.credential_hint)
    }
}

columns! {
    WholeColumns of Whole<'a> {
        id: SqlUuid = |row| row.start.id.uuid() => Uuid,
        initiator_id: SqlUuid = |row| row.start.initiator_id.uuid() => Uuid,
        api_key_id: Text = |row| &*row.start.api_key_id => &'a str,
        provider: Text = |row| &*row.start.provider => &'a str,
        provider_name: Text = |row| &*row.start.provider_name => &'a str,
        model: Text = |row| &*row.start.model => &'a str,
        client: Text = |row| &*row.start.client => &'a str,
        started_at: Timestamptz = |row| row.start.started_at => OffsetDateTime,
        metadata: Jsonb = |row| &row.start.metadata => &'a Value,
        client_session_id: Nullable<Text> = |row| row.start.client_session_id.as_deref() => Option<&'a str>,
        credential_kind: Text = |row| row.start.credential_kind => &'a str,
        thread_parent_id: Nullable<SqlUuid> = |row| row.link.map(|link| link.parent) => Option<Uuid>,
        thread_root_id: Nullable<SqlUuid> = |row| row.link.map(|link| link.root) => Option<Uuid>,
        credential_hint: Text = |row| row.credential_hint() => &'a str,
        ended_at: Nullable<Timestamptz> = |row| row.end.map(|end| end.ended_at) => Option<OffsetDateTime>,
        error_type: Nullable<Text> = |row| row.end.and_then(|end| end.error_type) => Option<&'a str>,
        error_message: Nullable<Text> = |row| row.end.and_then(|end| end.error_message.as_deref()) => Option<&'a str>,
        correlating_tool_call_id: Nullable<Text> = |row| call_of(row.start) => Option<&'a str>,
    }
    StartColumns of Start {
        id: SqlUuid = |row| row.id.uuid() => Uuid,
        initiator_id: SqlUuid = |row| row.initiator_id.uuid() => Uuid,
        api_key_id: Text = |row| &*row.api_key_id => &'a str,
        provider: Text = |row| &*row.provider => &'a str,
        provider_name: Text = |row| &*row.provider_name => &'a str,
        model: Text = |row| &*row.model => &'a str,
        client: Text = |row| &*row.client => &'a str,
        started_at: Timestamptz = |row| row.started_at => OffsetDateTime,
        metadata: Jsonb = |row| &row.metadata => &'a Value,
        client_session_id: Nullable<Text> = |row| row.client_session_id.as_deref() => Option<&'a str>,
        credential_kind: Text = |row| row.credential_kind => &'a str,
    }
    EndColumns of End {
        id: SqlUuid = |row| row.id.uuid() => Uuid,
        ended_at: Timestamptz = |row| row.ended_at => OffsetDateTime,
        credential_hint: Text = |row| &*row.credential_hint => &'a str,
        error_type: Nullable<Text> = |row| row.error_type => Option<&'a str>,
        error_message: Nullable<Text> = |row| row.error_message.as_deref() => Option<&'a str>,
    }
    /// Starts that carry a tool's result.
    FollowingColumns of Start {
        id: SqlUuid = |row| row.id.uuid() => Uuid,
        initiator_id: SqlUuid = |row| row.initiator_id.uuid() => Uuid,
        call: Text = |row| call_of(row).unwrap_or_default() => &'a str,
        started_at: Timestamptz = |row| row.started_at => OffsetDateTime,
    }
    /// Tools that were called.
    CallColumns of Tool {
        interception_id: SqlUuid = |row| row.interception_id.0.uuid() => Uuid,
        call: Text = |row| &*row.provider_tool_call_id => &'a str,
        created_at: Timestamptz = |row| row.created_at => OffsetDateTime,
    }
}
