//! Two at once, and one whose authority ends while it waits (R31, PITFALLS 17, 39).

use crate::{approve, request, world};
use authz_tests::make::{self, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{execute, refused, report, value};
use std::time::Duration;

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
    execute(&mut mia, "SET lock_timeout = '10s'");
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
        until_it_waits(&mut w.admin, pid);
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
