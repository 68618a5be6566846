//! Answers about another instant (R18, R55): by authority as it stood then, and no other tomorrow than today.

mod change;
mod cost;
mod history;
mod listing;

use authz_tests::make::id;
use authz_tests::{execute, value};
use chrono::{DateTime, Utc};
use postgres::Client;

fn now(c: &mut Client) -> DateTime<Utc> {
    let seconds: f64 = value(c, "SELECT extract(epoch FROM clock_timestamp())::float8", &[]);
    DateTime::from_timestamp_micros((seconds * 1e6) as i64).unwrap()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339()
}

fn can_at(c: &mut Client, who: &str, permission: &str, resource: &str, at: &str) -> bool {
    value(
        c,
        "SELECT authz_can_at($1::uuid, $2::text, $3::uuid, $4::text::timestamptz)",
        &[&id(who), &permission, &id(resource), &at],
    )
}

/// The instant between two changes. A change is at its statement's time, so the next one must be later.
fn mark(c: &mut Client) -> String {
    execute(c, "SELECT pg_sleep(0.002)");
    let at = text(now(c));
    execute(c, "SELECT pg_sleep(0.002)");
    at
}
