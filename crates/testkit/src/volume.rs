//! SQL that fills tables with many rows, for those who look at plans and at times.
//!
//! Rows are made in the order of time, two a second from sixty days ago, so that recent ones are together as they are
//! in a table that grew. Everything follows from the number of a row: two fills of the same size are alike.

/// People of [`people`].
pub const PEOPLE: u32 = 2_000;
/// Organizations of [`people`].
pub const ORGANIZATIONS: u32 = 20;

/// People, and organizations of which each is a member of one.
#[must_use]
pub fn people() -> String {
    format!(
        "INSERT INTO organizations (id, name, created_at, updated_at)
         SELECT {organization}, 'org-' || g, now(), now() FROM generate_series(0, {ORGANIZATIONS} - 1) g;
         INSERT INTO users (id, email, username, name, created_at, updated_at, status)
         SELECT {user}, 'person' || g || '@example.com', 'person' || g, 'Person ' || g,
                now() - g * interval '1 minute', now(), 'active'
           FROM generate_series(0, {PEOPLE} - 1) g;
         INSERT INTO organization_members (organization_id, user_id, created_at, updated_at)
         SELECT {membership}, {user}, now(), now() FROM generate_series(0, {PEOPLE} - 1) g;",
        organization = id('c', "g"),
        membership = id('c', &format!("g % {ORGANIZATIONS}")),
        user = id('b', "g"),
    )
}

/// The user with this number, as text.
#[must_use]
pub fn user(number: u32) -> String {
    format!("b0000000-0000-4000-8000-{number:012x}")
}

/// The organization with this number, as text.
#[must_use]
pub fn organization(number: u32) -> String {
    format!("c0000000-0000-4000-8000-{number:012x}")
}

/// The audit row with this number, as text.
#[must_use]
pub fn audit_log(number: u32) -> String {
    format!("a0000000-0000-4000-8000-{number:012x}")
}

/// What other users and organizations have as identifiers, as an expression.
fn id(kind: char, number: &str) -> String {
    format!("('{kind}0000000-0000-4000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid")
}

/// Interceptions from `from` up to `to`, each of two seconds; five to a session, one of five with what a tool call
/// and a prompt record, all with a record of tokens. Months get their partitions.
#[must_use]
pub fn interceptions(from: u32, to: u32) -> String {
    // The number of the first row of a session tells whose it is.
    let first = "(g - g % 5)";
    format!(
        "SELECT aibridge_ensure_partitions(now() - m * interval '1 month')
           FROM generate_series(3, 0, -3) m WHERE {from} = 0;
         INSERT INTO aibridge_interceptions
                (id, initiator_id, api_key_id, provider, provider_name, model, client, started_at, ended_at,
                 client_session_id, thread_root_id)
         SELECT {interception}, {user}, 'key' || {first} % {PEOPLE}, 'anthropic', 'anthropic', 'model-' || g % 7,
                CASE g % 3 WHEN 0 THEN 'Claude Code' WHEN 1 THEN 'Codex' ELSE 'Unknown' END,
                {time}, {time} + interval '2 seconds', 'session-' || {first},
                CASE WHEN g % 5 > 0 THEN {root} END
           FROM generate_series({from}, {to} - 1) g;
         INSERT INTO aibridge_token_usages
                (id, interception_id, provider_response_id, input_tokens, output_tokens, created_at)
         SELECT {interception}, {interception}, 'msg_' || g, 100, 50, {time}
           FROM generate_series({from}, {to} - 1) g;
         INSERT INTO aibridge_user_prompts (id, interception_id, provider_response_id, prompt, created_at)
         SELECT {interception}, {interception}, 'msg_' || g, 'Why does the build fail?', {time}
           FROM generate_series({from}, {to} - 1, 5) g;
         INSERT INTO aibridge_tool_usages
                (id, interception_id, provider_response_id, provider_tool_call_id, tool, input, created_at)
         SELECT {interception}, {interception}, 'msg_' || g, 'call_' || g, 'Bash', '{{}}', {time}
           FROM generate_series({from}, {to} - 1, 5) g;",
        interception = interception("g"),
        root = interception(first),
        user = id('b', &format!("g / 5 % {PEOPLE}")),
        time = time("g"),
    )
}

/// When the row with this number came to be: the newest has the greatest number.
fn time(number: &str) -> String {
    format!(
        "(date_trunc('day', now()) - interval '60 days' + ({number}) * interval '500 milliseconds')"
    )
}

/// A version 7 identifier of that time.
fn interception(number: &str) -> String {
    let digits = format!("md5(({number})::text)");
    format!(
        "(lpad(to_hex((extract(epoch FROM {}) * 1000)::bigint), 12, '0') || '7' || substr({digits}, 1, 3) || '8'
          || substr({digits}, 4, 15))::uuid",
        time(number)
    )
}

/// Audit rows from `from` up to `to`, of ten kinds.
#[must_use]
pub fn audit_logs(from: u32, to: u32) -> String {
    format!(
        "INSERT INTO audit_logs
                (id, time, user_id, organization_id, ip, user_agent, resource_type, resource_id, resource_target, action,
                 diff, status_code, additional_fields, request_id)
         SELECT {id}, {time}, {user}, {organization}, '127.0.0.1', 'curl/8', 'kind-' || g % 10, {resource},
                'target-' || g % 1000, CASE g % 3 WHEN 0 THEN 'create' ELSE 'write' END, '{{}}', 200, '{{}}', {id}
           FROM generate_series({from}, {to} - 1) g;",
        id = id('a', "g"),
        resource = id('d', "g % 100000"),
        user = id('b', &format!("g % {PEOPLE}")),
        organization = id('c', &format!("g % {ORGANIZATIONS}")),
        time = time("g"),
    )
}
