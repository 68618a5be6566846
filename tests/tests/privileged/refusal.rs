//! Who and what is refused, in words that tell nothing (R23, R31, R53).

use crate::{approve, call, request, start, world};
use authz_tests::make::{self, id};
use authz_tests::{denied_with_hint, execute, recorded, refused, refused_with_hint, value};
use postgres::Client;
use uuid::Uuid;

#[test]
fn who_lacks_the_permission_at_that_scope_is_refused_in_words_that_tell_nothing() {
    let mut w = world();
    let (mut mia, mut sam, mut sue) = (w.of("mia"), w.of("sam"), w.of("sue"));
    let (acme, globex) = (id("acme"), id("globex"));
    refused_with_hint(
        &mut mia,
        &format!("SELECT authz_request_access('please', '{acme}')"),
        "42501",
        &["access.request"],
    );
    refused_with_hint(
        &mut mia,
        &format!("SELECT authz_break_glass('please', '{acme}')"),
        "42501",
        &["break_glass"],
    );
    let mut bea = w.of("bea");
    for place in [
        format!("tenant => '{globex}'"),
        "tenant => NULL".to_owned(),
        format!("tenant => '{}'", Uuid::nil()),
    ] {
        refused(
            &mut bea,
            &format!("SELECT authz_break_glass('please', {place})"),
            "42501",
            &["permission denied"],
        );
    }
    let session = request(&mut sam, "");
    // The same words for a session that is there, one that is not, and NULL.
    let mut told = Vec::new();
    for subject in [format!("'{session}'"), format!("'{}'", Uuid::nil()), "NULL".to_owned()] {
        for function in [
            "authz_approve_access({})",
            "authz_reject_access({}, 'no')",
            "authz_start_privileged_session({})",
            "authz_end_privileged_session({})",
            "authz_review_access({}, 'ok')",
        ] {
            let text = refused(
                &mut sue,
                &format!("SELECT {}", function.replace("{}", &subject)),
                "42501",
                &["permission denied"],
            );
            told.push((function, text));
        }
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 5, "{told:#?}");
    // Another tenant's approver, and one whose approval ended.
    make::member(&mut w.admin, globex, "gus");
    make::assign(&mut w.admin, globex, id("gus"), "approver", "tenant", globex);
    let mut gus = w.of("gus");
    refused(
        &mut gus,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    let mut ann = w.of("ann");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("ann")
        ),
    );
    refused(
        &mut ann,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    // Without a session, and in a session for another tenant.
    let mut nobody = w.db.connect_as(&w.app);
    refused(
        &mut nobody,
        &format!("SELECT authz_break_glass('please', '{acme}')"),
        "42501",
        &["permission denied"],
    );
    execute(
        &mut bea,
        &format!(
            "SELECT authz_set_session('{}', '{globex}', is_local => false)",
            id("bea")
        ),
    );
    refused(
        &mut bea,
        &format!("SELECT authz_break_glass('please', '{acme}')"),
        "42501",
        &["permission denied"],
    );
    let sessions: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.privileged_access_session",
        &[],
    );
    assert_eq!(sessions, 1, "nothing half done");
    assert_eq!(recorded(&mut mia), 2, "one for each attempt");
    assert_eq!(recorded(&mut bea), 4);
    assert_eq!(recorded(&mut nobody), 1);
    assert_eq!(w.events("break_glass.start", "bea", "allowed"), 0);
}

/// A call that must be refused, with a hint.
#[track_caller]
fn refused_call(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) {
    denied_with_hint(c, &format!("SELECT {call}"), sqlstate, words);
}

#[test]
fn malformed_arguments_are_refused() {
    let w = world();
    let (mut sam, mut ann, mut bea, mut rita) = (w.of("sam"), w.of("ann"), w.of("bea"), w.of("rita"));
    let acme = id("acme");
    let (asked, over) = (request(&mut sam, ""), request(&mut sam, ""));
    approve(&mut ann, over);
    start(&mut sam, over);
    for reason in ["''", "E' \\n\\t '", "U&'\\200B'"] {
        refused_call(
            &mut ann,
            &format!("authz_approve_access('{asked}', {reason})"),
            "22023",
            &["reason"],
        );
        refused_call(
            &mut sam,
            &format!("authz_end_privileged_session('{asked}', {reason})"),
            "22023",
            &["reason"],
        );
    }
    call(&mut sam, &format!("authz_end_privileged_session('{over}')"));
    for reason in ["NULL", "''", "E' \\n\\t '"] {
        for (c, function) in [
            (&mut sam, format!("authz_request_access({reason}, '{acme}')")),
            (&mut bea, format!("authz_break_glass({reason}, '{acme}')")),
            (&mut ann, format!("authz_reject_access('{asked}', {reason})")),
            (&mut rita, format!("authz_review_access('{over}', {reason})")),
        ] {
            refused_call(c, &function, "22023", &["reason"]);
        }
    }
    approve(&mut ann, asked);
    for duration in ["0", "-1 hour"] {
        for call in [
            format!("authz_request_access('x', '{acme}', duration => '{duration}')"),
            format!("authz_start_privileged_session('{asked}', '{duration}')"),
        ] {
            refused_call(&mut sam, &call, "22023", &["duration"]);
        }
        let call = format!("authz_break_glass('x', '{acme}', duration => '{duration}')");
        refused_call(&mut bea, &call, "22023", &["duration"]);
    }
    // A scope of no known type, and states that do not fit.
    refused_call(
        &mut sam,
        &format!("authz_request_access('x', '{acme}', 'cse', 'x')"),
        "42704",
        &["cse"],
    );
    refused_call(
        &mut sam,
        &format!("authz_start_privileged_session('{over}')"),
        "55000",
        &["ended"],
    );
    refused_call(
        &mut ann,
        &format!("authz_approve_access('{over}')"),
        "55000",
        &["ended"],
    );
    call(&mut bea, &format!("authz_break_glass('x', '{acme}')"));
    refused_call(
        &mut bea,
        &format!("authz_break_glass('x', '{acme}')"),
        "55000",
        &["already"],
    );
}

#[test]
fn runtime_roles_reach_neither_the_table_nor_the_functions_unless_granted() {
    let w = world();
    let plain = w.db.role();
    let mut c = w.db.connect_as(&plain);
    for sql in [
        "SELECT authz_request_access('x')",
        "SELECT authz_break_glass('x')",
        "SELECT authz_approve_access(gen_random_uuid())",
        "SELECT authz_review_access(gen_random_uuid(), 'x')",
        "SELECT authz.active_privileged_session(gen_random_uuid())",
        "SELECT authz.same_person(gen_random_uuid(), gen_random_uuid())",
        "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason) VALUES ('break_glass', gen_random_uuid(), 'x')",
        "SELECT * FROM authz.privileged_session_awaiting_review",
        "SELECT authz.refuse_access('x', NULL, NULL, 'x')",
        "SELECT authz.lock_access_of_other(gen_random_uuid(), 'x')",
    ] {
        refused(&mut c, sql, "42501", &["permission denied"]);
    }
    // Who is granted the list of sessions that wait for a review needs nothing else.
    let reader = w.db.role();
    let mut admin = w.db.connect();
    execute(
        &mut admin,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {reader}; GRANT SELECT ON authz.privileged_session_awaiting_review TO {reader}"
        ),
    );
    let waiting: i64 = value(
        &mut w.db.connect_as(&reader),
        "SELECT count(state) FROM authz.privileged_session_awaiting_review",
        &[],
    );
    assert_eq!(waiting, 0);
    // Objects of one's own change nothing: every name inside is qualified.
    let mut app = w.of("sam");
    execute(
        &mut app,
        "CREATE TEMP TABLE principal (principal_id uuid, email text, principal_type text);
         CREATE TEMP TABLE privileged_access_session (session_id uuid);
         CREATE FUNCTION pg_temp.authz_principal() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';
         SET search_path = pg_temp, public",
    );
    let session = call(
        &mut app,
        &format!("public.authz_request_access('look', '{}')", id("acme")),
    );
    refused(
        &mut app,
        &format!("SELECT public.authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
}
