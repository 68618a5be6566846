//! What must be refused: with which SQLSTATE, in which words, and recorded although it rolls back.

use crate::{describe, report};
use postgres::Client;

/// Statements that must be refused with a given SQLSTATE, whose message, detail and hint together hold every one of
/// the words (letter case aside). Returns that text.
#[track_caller]
pub fn refused(client: &mut impl postgres::GenericClient, sql: &str, sqlstate: &str, words: &[&str]) -> String {
    let error = match client.batch_execute(sql) {
        Ok(()) => panic!("accepted, though it must be refused with {sqlstate}: {sql}"),
        Err(error) => error,
    };
    let e = error.as_db_error().unwrap_or_else(|| panic!("{error}\nin: {sql}"));
    let text = describe(e);
    assert_eq!(e.code().code(), sqlstate, "{text}\nin: {sql}");
    for word in words {
        assert!(
            text.to_lowercase().contains(&word.to_lowercase()),
            "nothing about {word:?} in: {text}\nin: {sql}"
        );
    }
    text
}

/// Statements that must be refused, with a hint.
#[track_caller]
pub fn refused_with_hint(client: &mut impl postgres::GenericClient, sql: &str, sqlstate: &str, words: &[&str]) {
    let text = refused(client, sql, sqlstate, words);
    let hint = text
        .split("HINT: ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    assert!(!hint.trim().is_empty(), "no hint in: {text}\nin: {sql}");
}

/// Refused, and the refusal recorded, once, although it rolls back (R53, PITFALLS 21).
#[track_caller]
pub fn denied(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) -> String {
    let before = recorded(c);
    let text = refused(c, call, sqlstate, words);
    assert_eq!(recorded(c) - before, 1, "recorded, once: {call}");
    text
}

/// The same, with a hint.
#[track_caller]
pub fn denied_with_hint(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) {
    let before = recorded(c);
    refused_with_hint(c, call, sqlstate, words);
    assert_eq!(recorded(c) - before, 1, "recorded, once: {call}");
}

/// How many events this connection has handed over because their transaction rolls back (R53).
#[track_caller]
pub fn recorded(c: &mut Client) -> i64 {
    let row = c
        .query_one("SELECT to_jsonb(s) FROM authz_stats() AS s", &[])
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    let stats: serde_json::Value = row.get(0);
    stats["audit_logged"]
        .as_i64()
        .unwrap_or_else(|| panic!("no count of events in {stats}"))
}
