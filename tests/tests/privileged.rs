//! Privileged access (R31, PITFALLS 10, 38 to 40): request, approval by somebody else, start, use, end, break-glass and
//! review, by a login role that may call the functions and nothing else.

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

struct World {
    db: Db,
    admin: Client,
    app: String,
}

const FUNCTIONS: [&str; 8] = [
    "authz_request_access",
    "authz_approve_access",
    "authz_reject_access",
    "authz_start_privileged_session",
    "authz_end_privileged_session",
    "authz_break_glass",
    "authz_review_access",
    "authz_set_session",
];

/// Sam and Sue give support on the whole platform, Ann approves in acme, Rita reviews there, Bea may break glass in acme,
/// Mia is a plain member. The case `affair` is acme's, `deal` globex's; `secret` is sealed.
fn world() -> World {
    let db = Db::new();
    let mut c = db.connect();
    let (acme, globex) = (make::tenant(&mut c, "acme"), make::tenant(&mut c, "globex"));
    make::case(&mut c, acme, "affair");
    make::case(&mut c, acme, "secret");
    make::case(&mut c, globex, "deal");
    execute(
        &mut c,
        &format!(
            "UPDATE case_record SET confidentiality_level = 'sealed' WHERE case_id = '{}'",
            id("secret")
        ),
    );
    for (role, permissions) in [
        ("support", &["access.request"][..]),
        ("approver", &["access.approve"]),
        ("reviewer", &["access.review"]),
        ("breaker", &["access.break_glass"]),
    ] {
        make::role(&mut c, role, permissions);
    }
    for name in ["sam", "sue"] {
        make::principal(&mut c, name);
        make::assign_platform(&mut c, id(name), "support");
    }
    for (name, role) in [("ann", "approver"), ("rita", "reviewer"), ("bea", "breaker")] {
        make::member(&mut c, acme, name);
        make::assign(&mut c, acme, id(name), role, "tenant", acme);
    }
    make::member(&mut c, acme, "mia");
    let app = db.role();
    for function in FUNCTIONS {
        execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {app}"));
    }
    World { db, admin: c, app }
}

impl World {
    /// A connection that acts for somebody.
    fn of(&self, name: &str) -> Client {
        let mut c = self.db.connect_as(&self.app);
        become_(&mut c, name);
        c
    }

    fn session(&mut self, session: Uuid, column: &str) -> Option<String> {
        value(
            &mut self.admin,
            &format!("SELECT ({column})::text FROM authz.privileged_access_session WHERE session_id = $1"),
            &[&session],
        )
    }

    /// How often something is recorded of somebody.
    fn events(&mut self, action: &str, name: &str, result: &str) -> i64 {
        value(
            &mut self.admin,
            "SELECT count(*) FROM authz.access_audit_event WHERE action_code = $1 AND principal_id = $2 AND access_result = $3",
            &[&action, &id(name), &result],
        )
    }
}

fn become_(c: &mut Client, name: &str) {
    execute(
        c,
        &format!("SELECT authz_set_session('{}', is_local => false)", id(name)),
    );
}

/// Denials that this connection has handed over: they outlive the transaction that rolls back.
fn denials(c: &mut Client) -> i64 {
    value(c, "SELECT audit_logged + audit_queued FROM authz_stats()", &[])
}

fn call(c: &mut Client, sql: &str) -> Uuid {
    match c.query_one(&format!("SELECT {sql}"), &[]) {
        Ok(row) => row.get(0),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

fn request(c: &mut Client, more: &str) -> Uuid {
    call(
        c,
        &format!("authz_request_access('look into ticket 7', '{}'{more})", id("acme")),
    )
}

fn approve(c: &mut Client, session: Uuid) -> Uuid {
    call(c, &format!("authz_approve_access('{session}')"))
}

fn start(c: &mut Client, session: Uuid) -> Uuid {
    call(c, &format!("authz_start_privileged_session('{session}')"))
}

fn sees(c: &mut Client, case: &str) -> bool {
    value(c, "SELECT authz_can('case.view', $1::uuid)", &[&id(case)])
}

#[test]
fn r31_support_is_requested_approved_started_used_ended_and_reviewed() {
    let mut w = world();
    let (mut sam, mut ann, mut rita) = (w.of("sam"), w.of("ann"), w.of("rita"));
    let session = request(&mut sam, ", ticket => 'T-7'");
    assert!(!sees(&mut sam, "affair"), "asked for is not given");
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["requested"],
    );
    assert_eq!(approve(&mut ann, session), session);
    assert!(!sees(&mut sam, "affair"), "approved is not started");
    assert_eq!(start(&mut sam, session), session);
    assert!(sees(&mut sam, "affair"));
    assert!(!sees(&mut sam, "deal"), "the session is acme's");
    assert!(!sees(&mut sam, "secret"), "it includes nothing sensitive");
    let edit: bool = value(&mut sam, "SELECT authz_can('case.edit', $1::uuid)", &[&id("affair")]);
    assert!(!edit, "support reads");
    refused(
        &mut rita,
        &format!("SELECT authz_review_access('{session}', 'too early')"),
        "55000",
        &["running"],
    );
    assert_eq!(
        call(&mut sam, &format!("authz_end_privileged_session('{session}', 'done')")),
        session
    );
    assert!(!sees(&mut sam, "affair"), "ended is over at once");
    let waiting: Vec<Uuid> = w
        .admin
        .query("SELECT session_id FROM authz.privileged_session_awaiting_review", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(waiting, [session]);
    call(&mut rita, &format!("authz_review_access('{session}', 'in order')"));
    let waiting: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.privileged_session_awaiting_review",
        &[],
    );
    assert_eq!(waiting, 0);
    refused(
        &mut rita,
        &format!("SELECT authz_review_access('{session}', 'again')"),
        "55000",
        &["reviewed"],
    );
    for (column, expected) in [
        ("approved_by", id("ann").to_string()),
        ("ended_by", id("sam").to_string()),
        ("end_reason", "done".into()),
        ("reviewed_by", id("rita").to_string()),
        ("review_note", "in order".into()),
        ("ticket_reference", "T-7".into()),
    ] {
        assert_eq!(w.session(session, column), Some(expected), "{column}");
    }
    for (action, who) in [
        ("access.request", "sam"),
        ("access.approve", "ann"),
        ("access.start", "sam"),
        ("access.end", "sam"),
        ("access.review", "rita"),
    ] {
        assert_eq!(w.events(action, who, "allowed"), 1, "{action}");
    }
}

#[test]
fn pitfall_40_nobody_approves_or_reviews_the_own_session_nor_through_a_second_identity() {
    let mut w = world();
    let acme = id("acme");
    // Sam may approve as well, and has another principal with the same address, written another way.
    for role in ["approver", "reviewer"] {
        if role == "approver" {
            make::join(&mut w.admin, acme, id("sam"));
        }
        make::assign(&mut w.admin, acme, id("sam"), role, "tenant", acme);
    }
    make::member(&mut w.admin, acme, "sam2");
    for role in ["approver", "reviewer"] {
        make::assign(&mut w.admin, acme, id("sam2"), role, "tenant", acme);
    }
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET email = 'Sam@Support.example ' WHERE principal_id = '{}';
             INSERT INTO authz.profile (user_id, email) VALUES ('{}', 'sam@support.example')",
            id("sam"),
            id("sam2")
        ),
    );
    let robot = "INSERT INTO authz.principal (principal_type, external_id, principal_id) VALUES ('service', 'r2', '00000000-0000-4000-8000-00000000000a')";
    execute(&mut w.admin, robot);
    let service: Uuid = "00000000-0000-4000-8000-00000000000a".parse().unwrap();
    make::join(&mut w.admin, acme, service);
    make::assign(&mut w.admin, acme, service, "approver", "tenant", acme);
    let mut sam = w.of("sam");
    let session = request(&mut sam, "");
    let approval = format!("SELECT authz_approve_access('{session}')");
    let mut sam2 = w.of("sam2");
    for who in [&mut sam, &mut sam2] {
        let own = refused(who, &approval, "42501", &["permission denied"]);
        // Down to the lines of our functions.
        let unknown = format!("SELECT authz_approve_access('{}')", Uuid::nil());
        assert_eq!(own, refused(who, &unknown, "42501", &[]));
    }
    // Its own profile is its user's to change, its principal is not.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET email = 'sam@support.example' WHERE principal_id = '{}'",
            id("sam2")
        ),
    );
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.profile SET email = 'other@support.example' WHERE user_id = '{}'",
            id("sam2")
        ),
    );
    refused(&mut sam2, &approval, "42501", &["permission denied"]);
    let mut machine = w.db.connect_as(&w.app);
    execute(
        &mut machine,
        &format!("SELECT authz_set_session('{service}', is_local => false)"),
    );
    refused(&mut machine, &approval, "42501", &["permission denied"]);
    assert_eq!(w.session(session, "approved_by"), None);
    // Nor by plain SQL.
    for column in ["approved_by", "rejected_by", "reviewed_by"] {
        refused(
            &mut w.admin,
            &format!(
                "UPDATE authz.privileged_access_session SET {column} = '{}' WHERE session_id = '{session}'",
                id("sam2")
            ),
            "23514",
            &["somebody else"],
        );
    }
    let mut ann = w.of("ann");
    approve(&mut ann, session);
    start(&mut sam, session);
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    for c in [&mut sam, &mut sam2] {
        refused(
            c,
            &format!("SELECT authz_review_access('{session}', 'fine')"),
            "42501",
            &["permission denied"],
        );
    }
    assert_eq!(denials(&mut sam), 3, "what was refused is recorded");
    assert_eq!(denials(&mut sam2), 4);
}

#[test]
fn pitfall_40_what_was_asked_for_cannot_change_after_the_request() {
    let mut w = world();
    let mut sam = w.of("sam");
    let session = request(&mut sam, "");
    for change in [
        "access_reason = 'something else'",
        "includes_sensitive = true",
        "scope_type = 'platform', scope_id = NULL, tenant_id = NULL",
        "tenant_id = NULL",
        "principal_id = approved_by",
        "session_kind = 'break_glass'",
        "requested_duration = '1 year'",
        "ticket_reference = 'T-8'",
        "requested_at = now() - interval '1 year'",
    ] {
        refused(
            &mut w.admin,
            &format!("UPDATE authz.privileged_access_session SET {change} WHERE session_id = '{session}'"),
            "55000",
            &["not overwritten"],
        );
    }
    refused(
        &mut w.admin,
        "DELETE FROM authz.privileged_access_session",
        "55000",
        &["ended_at"],
    );
    // Nor can the expiry be moved out, nor what has ended begin again.
    let mut ann = w.of("ann");
    approve(&mut ann, session);
    start(&mut sam, session);
    refused(
        &mut w.admin,
        "UPDATE authz.privileged_access_session SET expires_at = expires_at + interval '1 hour'",
        "55000",
        &["expires_at"],
    );
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    refused(
        &mut w.admin,
        "UPDATE authz.privileged_access_session SET ended_at = NULL",
        "55000",
        &["ended_at"],
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["ended"],
    );
}

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
    assert_eq!(denials(&mut mia), 2, "one for each attempt");
    assert_eq!(denials(&mut bea), 4);
    assert_eq!(denials(&mut nobody), 1);
    assert_eq!(w.events("break_glass.start", "bea", "allowed"), 0);
}

/// A refusal with a hint that is recorded, once, whatever is rolled back (R53).
#[track_caller]
fn refused_and_recorded(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) {
    let before = denials(c);
    refused_with_hint(c, &format!("SELECT {call}"), sqlstate, words);
    assert_eq!(denials(c) - before, 1, "{call}");
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
        refused_and_recorded(
            &mut ann,
            &format!("authz_approve_access('{asked}', {reason})"),
            "22023",
            &["reason"],
        );
        refused_and_recorded(
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
            refused_and_recorded(c, &function, "22023", &["reason"]);
        }
    }
    approve(&mut ann, asked);
    for duration in ["0", "-1 hour"] {
        for call in [
            format!("authz_request_access('x', '{acme}', duration => '{duration}')"),
            format!("authz_start_privileged_session('{asked}', '{duration}')"),
        ] {
            refused_and_recorded(&mut sam, &call, "22023", &["duration"]);
        }
        let call = format!("authz_break_glass('x', '{acme}', duration => '{duration}')");
        refused_and_recorded(&mut bea, &call, "22023", &["duration"]);
    }
    // A scope of no known type, and states that do not fit.
    refused_and_recorded(
        &mut sam,
        &format!("authz_request_access('x', '{acme}', 'cse', 'x')"),
        "42704",
        &["cse"],
    );
    refused_and_recorded(
        &mut sam,
        &format!("authz_start_privileged_session('{over}')"),
        "55000",
        &["ended"],
    );
    refused_and_recorded(
        &mut ann,
        &format!("authz_approve_access('{over}')"),
        "55000",
        &["ended"],
    );
    call(&mut bea, &format!("authz_break_glass('x', '{acme}')"));
    refused_and_recorded(
        &mut bea,
        &format!("authz_break_glass('x', '{acme}')"),
        "55000",
        &["already"],
    );
}

#[test]
fn a_session_is_started_by_whom_it_is_for_while_it_may_ask_and_within_the_window() {
    let mut w = world();
    let (mut sam, mut sue, mut ann) = (w.of("sam"), w.of("sue"), w.of("ann"));
    let session = request(&mut sam, "");
    approve(&mut ann, session);
    refused(
        &mut sue,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    refused(
        &mut ann,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    // Approved too long ago.
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.privileged_access_session
                 (session_id, session_kind, principal_id, tenant_id, access_reason, requested_at, approved_by, approved_at)
             VALUES ('{}', 'support', '{}', '{}', 'late', now() - interval '3 days', '{}', now() - interval '25 hours')",
            id("late"),
            id("sam"),
            id("acme"),
            id("ann")
        ),
    );
    refused_with_hint(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{}')", id("late")),
        "55000",
        &["any more"],
    );
    // The tenant may want it shorter.
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"start_window": "1 microsecond"}}'"#,
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["any more"],
    );
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"start_window": "soon"}}'"#,
    );
    refused_with_hint(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "22023",
        &["interval"],
    );
    execute(&mut w.admin, "UPDATE authz.tenant SET settings = '{}'");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("sam")
        ),
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    assert_eq!(w.session(session, "started_at"), None);
}

#[test]
fn the_duration_is_the_least_of_what_is_asked_and_allowed() {
    let mut w = world();
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let lasts = |w: &mut World, session| w.session(session, "expires_at - started_at").unwrap();
    let mut begin = |w: &mut World, asked: &str, started: &str| {
        let session = request(&mut sam, asked);
        approve(&mut ann, session);
        call(
            &mut sam,
            &format!("authz_start_privileged_session('{session}'{started})"),
        );
        lasts(w, session)
    };
    assert_eq!(begin(&mut w, "", ""), "08:00:00");
    assert_eq!(begin(&mut w, ", duration => '30 days'", ""), "08:00:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ""), "00:20:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ", '5 minutes'"), "00:05:00");
    assert_eq!(begin(&mut w, ", duration => '20 minutes'", ", '2 hours'"), "00:20:00");
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"max_duration": "10 minutes", "break_glass_max_duration": "3 minutes"}}'"#,
    );
    assert_eq!(begin(&mut w, "", ""), "00:10:00");
    let broken = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '1 day')", id("acme")),
    );
    assert_eq!(lasts(&mut w, broken), "00:03:00");
    call(&mut bea, &format!("authz_end_privileged_session('{broken}')"));
    // More than the setting allows nobody.
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"break_glass_max_duration": "1 year"}}'"#,
    );
    let broken = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '1 day')", id("acme")),
    );
    assert_eq!(lasts(&mut w, broken), "01:00:00");
    // The settings are not the caller's.
    refused(
        &mut bea,
        "SET authz.break_glass_max_duration = '1d'",
        "42501",
        &["permission denied"],
    );
}

/// Intervals are compared as if a month had 30 days, and added as it is.
#[test]
fn a_duration_that_compares_as_short_and_lasts_long_is_cut() {
    let mut w = world();
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let within = |w: &mut World, session, most: &str| {
        let so = w.session(session, &format!("expires_at <= started_at + interval '{most}'"));
        assert_eq!(so.as_deref(), Some("true"), "{:?}", w.session(session, "expires_at"));
    };
    let long = "1000 months -30000 days +1 minute";
    let session = call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '{long}')", id("acme")),
    );
    within(&mut w, session, "1 hour");
    for (asked, started) in [
        (format!(", duration => '{long}'"), String::new()),
        (String::new(), format!(", '{long}'")),
        (", duration => '10 minutes'".to_owned(), format!(", '{long}'")),
    ] {
        let session = request(&mut sam, &asked);
        approve(&mut ann, session);
        call(
            &mut sam,
            &format!("authz_start_privileged_session('{session}'{started})"),
        );
        within(
            &mut w,
            session,
            if asked.contains("10 min") {
                "10 minutes"
            } else {
                "8 hours"
            },
        );
    }
    refused(
        &mut bea,
        &format!(
            "SELECT authz_break_glass('fire', '{}', duration => '-1000 months 30000 days 1 minute')",
            id("acme")
        ),
        "22023",
        &["positive"],
    );
}

/// In a time zone of one's own making a day can have 184 hours.
#[test]
fn a_time_zone_of_the_callers_making_makes_no_day_longer() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "ALTER DATABASE {0} SET authz.break_glass_max_duration = '1d'; ALTER DATABASE {0} SET authz.privileged_max_duration = '1d'",
            w.db.name
        ),
    );
    let (mut sam, mut ann, mut bea) = (w.of("sam"), w.of("ann"), w.of("bea"));
    let day: i64 = value(
        &mut sam,
        "SELECT extract(doy FROM now() AT TIME ZONE 'UTC' + interval '18 hours')::bigint",
        &[],
    );
    for c in [&mut sam, &mut bea] {
        execute(
            c,
            &format!("SET TimeZone = 'AAA0BBB+160,{}/0,{}/0'", day % 365, (day + 20) % 365),
        );
    }
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    let late = request(&mut sam, "");
    approve(&mut ann, late);
    let started = request(&mut sam, "");
    approve(&mut ann, started);
    start(&mut sam, started);
    for session in [broken, started] {
        let lasts = w.session(
            session,
            "extract(epoch FROM expires_at) - extract(epoch FROM started_at) <= 86400",
        );
        assert_eq!(lasts.as_deref(), Some("true"), "{:?}", w.session(session, "expires_at"));
    }
    // The window after the approval, of a day, as well.
    execute(
        &mut w.admin,
        &format!(
            "ALTER TABLE authz.privileged_access_session DISABLE TRIGGER USER;
             UPDATE authz.privileged_access_session
             SET requested_at = now() - interval '26 hours', approved_at = now() - interval '25 hours'
             WHERE session_id = '{late}';
             ALTER TABLE authz.privileged_access_session ENABLE TRIGGER USER"
        ),
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{late}')"),
        "55000",
        &["cannot be started any more"],
    );
}

#[test]
fn pitfall_10_expiry_is_enforced_by_the_decision_and_needs_no_maintenance() {
    let mut w = world();
    let (mut bea, mut sam, mut ann) = (w.of("bea"), w.of("sam"), w.of("ann"));
    call(
        &mut bea,
        &format!("authz_break_glass('fire', '{}', duration => '3 seconds')", id("acme")),
    );
    let session = request(&mut sam, ", duration => '3 seconds'");
    approve(&mut ann, session);
    start(&mut sam, session);
    assert!(sees(&mut bea, "affair") && sees(&mut sam, "affair"));
    // Also in a transaction that is open all the time.
    execute(&mut bea, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(sees(&mut bea, "affair"));
    std::thread::sleep(Duration::from_millis(3100));
    assert!(!sees(&mut bea, "affair") && !sees(&mut sam, "affair"));
    execute(&mut bea, "ROLLBACK");
    assert_eq!(w.session(session, "ended_at"), None, "nobody has closed it");
    refused(
        &mut sam,
        &format!("SELECT authz_end_privileged_session('{session}')"),
        "55000",
        &["expired"],
    );
}

#[test]
fn r31_break_glass_is_at_once_loud_short_and_reviewed() {
    let mut w = world();
    let mut ear = w.db.connect_as(&w.app);
    execute(&mut ear, "LISTEN authz_break_glass; LISTEN authz_broad_access");
    let (mut bea, mut ann, mut rita) = (w.of("bea"), w.of("ann"), w.of("rita"));
    assert!(!sees(&mut bea, "affair"));
    let session = call(
        &mut bea,
        &format!(
            "authz_break_glass(E'ward 3 is\non fire', '{}', ticket => 'INC-1', includes_sensitive => true)",
            id("acme")
        ),
    );
    assert!(sees(&mut bea, "affair"));
    let may: bool = value(&mut bea, "SELECT authz_can('case.edit', $1::uuid)", &[&id("affair")]);
    assert!(may, "it gives everything, but");
    assert!(!sees(&mut bea, "deal"), "in its tenant only, and");
    assert!(!sees(&mut bea, "secret"), "nothing sensitive without an approval");
    let heard: Vec<(String, String)> = ear
        .notifications()
        .timeout_iter(Duration::from_secs(5))
        .take(1)
        .map(|n| Ok((n.channel().to_owned(), n.payload().to_owned())))
        .collect()
        .unwrap();
    assert_eq!(heard, [("authz_break_glass".to_owned(), session.to_string())]);
    assert_eq!(w.events("break_glass.start", "bea", "allowed"), 1);
    refused_with_hint(
        &mut bea,
        &format!("SELECT authz_break_glass('more', '{}')", id("acme")),
        "55000",
        &["already"],
    );
    // An explicit deny still wins.
    make::rule(
        &mut w.admin,
        id("acme"),
        "deny",
        1,
        ("case", Some(id("affair"))),
        ("any", None),
        None,
    );
    assert!(!sees(&mut bea, "affair"));
    // Somebody else may open the sensitive part while it runs.
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    approve(&mut ann, session);
    assert!(sees(&mut bea, "secret"));
    let row = w
        .admin
        .query_one(
            "SELECT session_id, state, approved_by FROM authz.privileged_session_awaiting_review",
            &[],
        )
        .unwrap();
    assert_eq!(
        (row.get(0), row.get(1), row.get(2)),
        (session, "running", Some(id("ann")))
    );
    call(
        &mut ann,
        &format!("authz_end_privileged_session('{session}', 'enough')"),
    );
    assert!(!sees(&mut bea, "secret"), "who may approve may end");
    call(&mut rita, &format!("authz_review_access('{session}', 'justified')"));
    refused(
        &mut ann,
        &format!("SELECT authz_approve_access('{session}')"),
        "55000",
        &["cannot be approved"],
    );
}

#[test]
fn access_to_the_whole_platform_is_announced_as_well() {
    let w = world();
    let mut ear = w.db.connect_as(&w.app);
    execute(&mut ear, "LISTEN authz_broad_access");
    let mut admin = w.db.connect();
    make::principal(&mut admin, "root");
    make::assign_platform(&mut admin, id("root"), "approver");
    let (mut sam, mut root) = (w.of("sam"), w.of("root"));
    let session = call(&mut sam, "authz_request_access('everything')");
    let mut ann = w.of("ann");
    refused(
        &mut ann,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    approve(&mut root, session);
    start(&mut sam, session);
    assert!(sees(&mut sam, "affair") && sees(&mut sam, "deal"));
    let heard = ear.notifications().timeout_iter(Duration::from_secs(5)).next().unwrap();
    assert_eq!(heard.map(|n| n.payload().to_owned()), Some(session.to_string()));
}

#[test]
fn break_glass_gives_no_say_over_the_sessions_of_others_and_none_after_its_end() {
    let mut w = world();
    let (mut sam, mut bea) = (w.of("sam"), w.of("bea"));
    let session = request(&mut sam, "");
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    // Not even with the permission of one's own, while it lasts.
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    make::assign(&mut w.admin, id("acme"), id("bea"), "approver", "tenant", id("acme"));
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    call(&mut bea, &format!("authz_end_privileged_session('{broken}')"));
    approve(&mut bea, session);
    // Who breaks glass once more needs the permission once more.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("bea")
        ),
    );
    refused(
        &mut bea,
        &format!("SELECT authz_break_glass('fire', '{}')", id("acme")),
        "42501",
        &["permission denied"],
    );
}

#[test]
fn pitfall_39_two_who_decide_at_once_end_with_one_decision() {
    let mut w = world();
    for name in ["abe", "amy"] {
        make::member(&mut w.admin, id("acme"), name);
        make::assign(&mut w.admin, id("acme"), id(name), "approver", "tenant", id("acme"));
    }
    let mut sam = w.of("sam");
    for _ in 0..20 {
        let session = request(&mut sam, "");
        let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
            [
                ("abe", format!("SELECT authz_approve_access('{session}')")),
                ("amy", format!("SELECT authz_approve_access('{session}')")),
                ("ann", format!("SELECT authz_reject_access('{session}', 'no')")),
            ]
            .map(|(name, sql)| {
                let mut c = w.of(name);
                scope.spawn(move || {
                    c.batch_execute(&sql)
                        .map_err(|e| e.code().map_or_else(|| e.to_string(), |c| c.code().to_owned()))
                })
            })
            .map(|thread| thread.join().unwrap())
            .into()
        });
        let good = outcomes.iter().filter(|o| o.is_ok()).count();
        assert_eq!(good, 1, "{outcomes:?}");
        assert!(
            outcomes
                .iter()
                .all(|o| o.as_ref().err().is_none_or(|code| code == "55000")),
            "{outcomes:?}"
        );
        let both: bool = value(
            &mut w.admin,
            "SELECT approved_at IS NOT NULL AND rejected_at IS NOT NULL FROM authz.privileged_access_session WHERE session_id = $1",
            &[&session],
        );
        assert!(!both);
    }
}

#[test]
fn pitfall_39_break_glass_twice_at_once_begins_one_session() {
    let mut w = world();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let sql = format!("SELECT authz_break_glass('fire', '{}')", id("acme"));
        let (mut one, mut other) = (w.of("bea"), w.of("bea"));
        for c in [&mut one, &mut other] {
            execute(
                c,
                &format!(
                    "BEGIN ISOLATION LEVEL {level}; SELECT authz_can('case.view', '{}'::uuid)",
                    id("affair")
                ),
            );
        }
        execute(&mut one, &sql);
        let code = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| other.batch_execute(&sql).map_err(|e| report(&e)));
            std::thread::sleep(Duration::from_millis(200));
            execute(&mut one, "COMMIT");
            waiting.join().unwrap()
        });
        let fault = code.expect_err(level);
        assert!(fault.contains("55000") || fault.contains("40001"), "{level}: {fault}");
        execute(&mut other, "ROLLBACK");
        let running: i64 = value(
            &mut w.admin,
            "SELECT count(*) FROM authz.privileged_access_session WHERE active_until > clock_timestamp()",
            &[],
        );
        assert_eq!(running, 1, "{level}");
        execute(
            &mut w.admin,
            "UPDATE authz.privileged_access_session SET ended_at = clock_timestamp() WHERE ended_at IS NULL",
        );
    }
}

/// Whoever may do nothing with a privileged session does not wait for it either: that would tell that it is there.
#[test]
fn waiting_for_a_lock_does_not_tell_that_a_session_is_there() {
    let w = world();
    let (mut sam, mut ann, mut mia) = (w.of("sam"), w.of("ann"), w.of("mia"));
    let session = request(&mut sam, "");
    execute(&mut ann, "BEGIN");
    approve(&mut ann, session);
    execute(&mut mia, "SET lock_timeout = '300ms'");
    for call in [
        "authz_approve_access('{}')",
        "authz_reject_access('{}', 'r')",
        "authz_review_access('{}', 'r')",
        "authz_start_privileged_session('{}')",
        "authz_end_privileged_session('{}')",
    ] {
        refused(
            &mut mia,
            &format!("SELECT {}", call.replace("{}", &session.to_string())),
            "42501",
            &["permission denied"],
        );
    }
    execute(&mut ann, "ROLLBACK");
}

/// PITFALLS 17: authority that ended while somebody waited for the row is no authority.
#[test]
fn pitfall_17_who_waits_for_a_session_is_looked_at_again() {
    let mut w = world();
    let (mut sam, mut ann) = (w.of("sam"), w.of("ann"));
    let (asked, approved) = (request(&mut sam, ""), request(&mut sam, ""));
    approve(&mut ann, approved);
    for (mut who, name, call) in [
        (ann, "ann", format!("authz_approve_access('{asked}')")),
        (sam, "sam", format!("authz_start_privileged_session('{approved}')")),
    ] {
        let pid: i32 = value(&mut who, "SELECT pg_backend_pid()", &[]);
        let mut holder = w.db.connect();
        execute(
            &mut holder,
            "BEGIN; SELECT FROM authz.privileged_access_session FOR UPDATE",
        );
        let waiting = std::thread::spawn(move || {
            refused(&mut who, &format!("SELECT {call}"), "42501", &["permission denied"]);
        });
        authz_tests::reading::soon("it waits", || {
            value::<i64>(
                &mut w.admin,
                "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'",
                &[&pid],
            ) == 1
        });
        execute(
            &mut w.admin,
            &format!(
                "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
                id(name)
            ),
        );
        execute(&mut holder, "ROLLBACK");
        waiting.join().expect("it is refused");
    }
    assert_eq!(w.session(asked, "approved_by"), None);
    assert_eq!(w.session(approved, "started_at"), None);
}

#[test]
fn a_rejected_or_withdrawn_request_never_starts() {
    let w = world();
    let (mut sam, mut ann) = (w.of("sam"), w.of("ann"));
    let rejected = request(&mut sam, "");
    refused(
        &mut ann,
        &format!("SELECT authz_reject_access('{rejected}', ' ')"),
        "22023",
        &["reason"],
    );
    call(&mut ann, &format!("authz_reject_access('{rejected}', 'not needed')"));
    let withdrawn = request(&mut sam, "");
    call(&mut sam, &format!("authz_end_privileged_session('{withdrawn}')"));
    for (session, state) in [(rejected, "rejected"), (withdrawn, "withdrawn")] {
        refused(
            &mut ann,
            &format!("SELECT authz_approve_access('{session}')"),
            "55000",
            &[state],
        );
        refused(
            &mut sam,
            &format!("SELECT authz_start_privileged_session('{session}')"),
            "55000",
            &[state],
        );
        refused(
            &mut sam,
            &format!("SELECT authz_end_privileged_session('{session}')"),
            "55000",
            &[state],
        );
    }
}

#[test]
fn r31_support_is_masked_unless_approved_for_sensitive_data_and_events_carry_the_session() {
    let mut w = world();
    let (mut sam, mut ann, mut bea, mut mia) = (w.of("sam"), w.of("ann"), w.of("bea"), w.of("mia"));
    // What a masked view would ask; views need no privilege on the schema.
    execute(
        &mut w.admin,
        "CREATE VIEW public.mask AS SELECT authz.session_is_masked() AS masked; GRANT SELECT ON public.mask TO PUBLIC",
    );
    let masked = |c: &mut Client| -> bool { value(c, "SELECT masked FROM public.mask", &[]) };
    assert!(!masked(&mut sam) && !masked(&mut mia));
    let session = request(&mut sam, "");
    approve(&mut ann, session);
    assert!(!masked(&mut sam));
    start(&mut sam, session);
    assert!(masked(&mut sam) && !masked(&mut mia));
    let of = |w: &mut World, who: &str, tenant: &str| -> Option<Uuid> {
        value(
            &mut w.admin,
            "SELECT authz.active_privileged_session($1, $2)",
            &[&id(who), &id(tenant)],
        )
    };
    assert_eq!(of(&mut w, "sam", "acme"), Some(session));
    assert_eq!(of(&mut w, "sam", "globex"), None);
    assert_eq!(of(&mut w, "mia", "acme"), None);
    let carried = |w: &mut World, who: &str| -> Option<Uuid> {
        value(
            &mut w.admin,
            "SELECT support_session_id FROM authz.access_audit_event
              WHERE principal_id = $1 AND action_code = 'case.view' ORDER BY occurred_at DESC LIMIT 1",
            &[&id(who)],
        )
    };
    let checked: bool = value(
        &mut w.admin,
        "SELECT authz_check($1::uuid, 'case.view', $2::uuid)",
        &[&id("sam"), &id("affair")],
    );
    assert!(checked);
    assert_eq!(carried(&mut w, "sam"), Some(session));
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    assert!(!masked(&mut sam));
    // Approved by somebody else for sensitive data: not masked. Beside one that is not: masked.
    let session = request(&mut sam, ", includes_sensitive => true");
    approve(&mut ann, session);
    start(&mut sam, session);
    assert!(!masked(&mut sam) && sees(&mut sam, "secret"));
    let other = request(&mut sam, "");
    approve(&mut ann, other);
    start(&mut sam, other);
    assert!(masked(&mut sam));
    // A tenant's session is not masked by another tenant's.
    execute(
        &mut sam,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("sam"),
            id("globex")
        ),
    );
    assert!(!masked(&mut sam));
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    assert!(!masked(&mut bea), "break-glass is no support");
    let explained: Value = value(
        &mut w.admin,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid) -> 'binding'",
        &[&id("bea"), &id("affair")],
    );
    assert_eq!(explained["id"], broken.to_string(), "{explained:#}");
}

/// What evidence names of several sessions: break-glass, whatever the caller's context says; then what the context says.
/// An event without a tenant carries any that is in force, one of a tenant only what covers it.
#[test]
fn events_carry_break_glass_before_what_the_context_names() {
    let mut w = world();
    let mut bea = w.of("bea");
    for (session, minutes) in [("mild", 3), ("milder", 2)] {
        execute(
            &mut w.admin,
            &format!(
                "INSERT INTO authz.privileged_access_session
                     (session_id, session_kind, principal_id, tenant_id, access_reason, requested_at, approved_by, approved_at,
                      started_at, expires_at)
                 SELECT '{}', 'support', '{}', '{}', 'x', t, '{}', t, t, t + interval '1 hour'
                   FROM (SELECT now() - interval '{minutes} minutes') AS a (t)",
                id(session),
                id("bea"),
                id("acme"),
                id("ann")
            ),
        );
    }
    let mut carried = |context: &str, tenant: &str| -> Vec<Option<Uuid>> {
        execute(
            &mut w.admin,
            &format!(
                "SELECT authz_set_session('{}', context => '{context}', is_local => false)",
                id("bea")
            ),
        );
        let tenant = if tenant.is_empty() {
            "NULL".to_owned()
        } else {
            format!("'{}'", id(tenant))
        };
        w.admin
            .query(
                &format!(
                    "WITH made AS MATERIALIZED (SELECT authz.record_access('x.do', 'x', '1', {tenant}, 'allowed') AS one,
                                                       authz_check('{}', 'case.view', '{}'::uuid) AS two)
                     SELECT 1 FROM made WHERE one IS NOT NULL AND two",
                    id("bea"),
                    id("affair")
                ),
                &[],
            )
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        w.admin
            .query(
                "SELECT support_session_id FROM authz.access_audit_event
                  WHERE action_code IN ('x.do', 'case.view') ORDER BY occurred_at DESC LIMIT 2",
                &[],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let named = |session: Uuid| format!("{{\"session_id\": \"{session}\"}}");
    for which in ["mild", "milder"] {
        assert_eq!(carried(&named(id(which)), "acme"), [Some(id(which)); 2], "{which}");
        assert_eq!(
            carried(&named(id(which)), ""),
            [Some(id(which)); 2],
            "{which}, without a tenant"
        );
    }
    assert_eq!(
        carried(&named(id("mild")), "globex"),
        [Some(id("mild")), None],
        "another tenant's"
    );
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    assert_eq!(
        carried(&named(id("mild")), "acme"),
        [Some(broken); 2],
        "nothing hides it"
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

#[test]
fn r31_break_glass_that_is_rolled_back_is_on_record_all_the_same() {
    let w = world();
    let mut bea = w.of("bea");
    let before = denials(&mut bea);
    execute(&mut bea, "BEGIN");
    call(
        &mut bea,
        &format!("authz_break_glass('look and forget', '{}')", id("acme")),
    );
    assert!(sees(&mut bea, "affair"), "within the transaction it is in force");
    execute(&mut bea, "ROLLBACK");
    assert!(!sees(&mut bea, "affair"));
    assert_eq!(denials(&mut bea), before + 1, "the event outlives the transaction");
    execute(&mut bea, "BEGIN; SAVEPOINT a");
    call(
        &mut bea,
        &format!("authz_break_glass('look and forget', '{}')", id("acme")),
    );
    execute(&mut bea, "ROLLBACK TO a");
    assert!(!sees(&mut bea, "affair"));
    execute(&mut bea, "COMMIT");
    assert_eq!(denials(&mut bea), before + 2);
}

#[test]
fn break_glass_in_one_tenant_of_two_memberships_and_by_case_reaches_nothing_else() {
    let mut w = world();
    make::join(&mut w.admin, id("globex"), id("bea"));
    make::assign(&mut w.admin, id("globex"), id("bea"), "breaker", "tenant", id("globex"));
    let mut bea = w.of("bea");
    let session = call(
        &mut bea,
        &format!(
            "authz_break_glass('this case', '{}', 'case', '{}')",
            id("acme"),
            id("affair")
        ),
    );
    assert!(sees(&mut bea, "affair"));
    make::case(&mut w.admin, id("acme"), "another");
    assert!(!sees(&mut bea, "another") && !sees(&mut bea, "deal"));
    call(&mut bea, &format!("authz_end_privileged_session('{session}')"));
    // A case of another tenant, and one that is not there, under the name of this one.
    for case in ["deal", "nowhere"] {
        refused(
            &mut bea,
            &format!(
                "SELECT authz_break_glass('that case', '{}', 'case', '{}')",
                id("acme"),
                id(case)
            ),
            "42501",
            &["permission denied"],
        );
    }
}
