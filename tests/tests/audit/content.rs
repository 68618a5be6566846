//! What events say is not the caller's choice, and nothing that callers say keeps one from being written (R50, PITFALLS 12).

use crate::{count, fill};
use authz_tests::make::id;
use authz_tests::session::act_with;
use authz_tests::{Db, execute, refused_with_hint, value};
use uuid::Uuid;

/// PITFALLS 12: whoever asks cannot choose what the event says of him.
#[test]
fn the_actor_is_not_supplied_by_the_caller() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let role = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role}; CREATE ROLE {role}_other; GRANT {role}_other TO {role}"
        ),
    );
    let mut app = db.connect_as(&role);
    act_with(
        &mut app,
        "bob",
        None,
        r#"{"request_id": "real", "source_ip": "192.0.2.7", "user_agent": "browser"}"#,
    );
    execute(&mut app, &format!("SET ROLE {role}_other"));
    let _: bool = value(
        &mut app,
        r#"SELECT authz_check($1::uuid, 'case.view', $2::uuid, NULL,
            '{"request_id": "forged", "source_ip": "198.51.100.1", "user_agent": "forged", "asked_by": "forged", "db_role": "forged"}')"#,
        &[&id("alice"), &id("affair")],
    );
    let row = c
        .query_one(
            "SELECT principal_id, asked_by, db_role::text, request_id, host(source_ip), user_agent, context ->> 'request_id'
               FROM authz.access_audit_event",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Uuid>(0), id("alice"));
    assert_eq!(row.get::<_, Uuid>(1), id("bob"));
    assert_eq!(row.get::<_, String>(2), role);
    assert_eq!(row.get::<_, String>(3), "real");
    assert_eq!(row.get::<_, String>(4), "192.0.2.7");
    assert_eq!(row.get::<_, String>(5), "browser");
    // What was said to the decision is kept as what was said.
    assert_eq!(row.get::<_, String>(6), "forged");
    execute(&mut app, "RESET ROLE");
    drop(app);
    execute(&mut c, &format!("DROP ROLE {role}_other"));
}

/// Whatever is in the context, the event is written.
#[test]
fn no_context_keeps_an_event_from_being_written() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    for (n, context) in [
        r#"{"source_ip": "nowhere"}"#,
        r#"{"source_ip": "10.0.0.1/99"}"#,
        r#"{"source_ip": 7, "request_id": {"a": [1]}, "user_agent": null}"#,
        r#"{"source_ip": "fe80::1%eth0"}"#,
        r#"{"request_id": "line\nfeed \"quoted\" \\ \u2028"}"#,
        "[1, 2]",
        "\"text\"",
        "null",
    ]
    .iter()
    .enumerate()
    {
        for side in ["call", "session"] {
            match side {
                "call" => execute(
                    &mut c,
                    &format!(
                        "SELECT authz_check('{}', 'case.view', '{}'::uuid, context => '{context}')",
                        id("alice"),
                        id("affair")
                    ),
                ),
                _ if context.starts_with('{') => {
                    act_with(&mut c, "alice", None, context);
                    execute(
                        &mut c,
                        &format!("SELECT authz_require('case.view', '{}'::uuid)", id("affair")),
                    );
                    execute(&mut c, "SELECT authz_clear_session()");
                }
                _ => continue,
            }
            assert!(count(&mut c) > n as i64, "{context}");
        }
    }
}

/// An id that is too long for the index of events does not keep the event from being written, nor the question from being
/// answered.
#[test]
fn no_length_keeps_an_event_from_being_written() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    // Random, so that it cannot be compressed.
    let long = "(SELECT string_agg(gen_random_uuid()::text, 'ä') FROM generate_series(1, 1000))";
    let allowed: bool = value(
        &mut c,
        &format!("SELECT authz_check($1::uuid, 'case.view', {long})"),
        &[&id("alice")],
    );
    assert!(!allowed);
    execute(
        &mut c,
        &format!("SELECT authz.record_access({long}, {long}, {long}, NULL, 'denied', {long})"),
    );
    assert_eq!(count(&mut c), 2);
    let cut: bool = value(
        &mut c,
        "SELECT bool_and(resource_id LIKE '%...' AND octet_length(resource_id) <= 2000) FROM authz.access_audit_event",
        &[],
    );
    assert!(cut);
}

#[test]
fn what_the_recording_functions_refuse() {
    let db = Db::new();
    let mut c = db.connect();
    for result in ["'maybe'", "NULL", "''"] {
        for function in ["record_access", "record_denial"] {
            refused_with_hint(
                &mut c,
                &format!("SELECT authz.{function}('x', 'case', '1', NULL, {result})"),
                "22023",
                &["access_result"],
            );
        }
    }
    let audit_id: Uuid = value(
        &mut c,
        "SELECT authz.record_access('export.run', 'tenant', '1', NULL, 'allowed', context => '{\"rows\": 7}')",
        &[],
    );
    let rows: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.access_audit_event WHERE audit_id = $1 AND context ->> 'rows' = '7'",
        &[&audit_id],
    );
    assert_eq!(rows, 1);
    for months in ["-1", "121", "NULL"] {
        refused_with_hint(
            &mut c,
            &format!("SELECT authz.prepare_audit_partitions({months})"),
            "22023",
            &["months"],
        );
    }
    refused_with_hint(
        &mut c,
        "SELECT authz_archive_audit(now() + interval '1 day')",
        "22023",
        &[],
    );
    refused_with_hint(&mut c, "SELECT authz_audit_verify('authz1:x')", "22023", &["anchor"]);
}
