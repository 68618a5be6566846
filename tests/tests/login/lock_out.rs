//! Failures lock out, exactly counted, each time for longer, until time or somebody who may ends it (R8).

use crate::{attempts, login, world};
use authz_tests::clock::{Clock, at_leisure};
use authz_tests::make::{self, id};
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;

/// Seconds that the lock goes on for.
fn locked_for(c: &mut Client, name: &str) -> f64 {
    value(
        c,
        "SELECT coalesce(extract(epoch FROM locked_until - clock_timestamp()), 0)::float8 FROM authz.principal WHERE principal_id = $1",
        &[&id(name)],
    )
}

/// As if the lock's time had passed.
fn wait_out(c: &mut Client, name: &str) {
    execute(
        c,
        &format!(
            "UPDATE authz.principal SET locked_until = NULL WHERE principal_id = '{}'",
            id(name)
        ),
    );
}

#[test]
fn r8_five_failures_lock_out_each_time_for_twice_as_long_and_a_log_in_forgets_them() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    assert_eq!(login(&mut d, "alice", true), "active");
    assert_eq!(attempts(&mut c, "alice"), Some(0));
    for n in 1..5 {
        assert_eq!(login(&mut d, "alice", false), "active", "attempt {n}");
    }
    assert_eq!(login(&mut d, "alice", true), "active", "four are forgotten");
    for n in 1..5 {
        assert_eq!(login(&mut d, "alice", false), "active", "attempt {n}");
    }
    assert!(make::can(&mut c, id("alice"), "case.view", id("affair")));
    assert_eq!(login(&mut d, "alice", false), "locked");
    assert_eq!(attempts(&mut c, "alice"), Some(5));
    let lock = locked_for(&mut c, "alice");
    assert!((890.0..=900.0).contains(&lock), "15 minutes, not {lock} s");
    assert_eq!(
        make::reason(&mut c, id("alice"), "case.view", id("affair")).as_deref(),
        Some("principal_inactive")
    );
    // The right password does not help while it lasts, nor does it shorten anything.
    assert_eq!(login(&mut d, "alice", true), "locked");
    assert_eq!(attempts(&mut c, "alice"), Some(5));
    assert!(locked_for(&mut c, "alice") > 890.0);
    for (round, minutes) in [(2, 30.0), (3, 60.0), (4, 120.0)] {
        wait_out(&mut c, "alice");
        for _ in 0..4 {
            assert_eq!(login(&mut d, "alice", false), "active");
        }
        assert_eq!(login(&mut d, "alice", false), "locked");
        let lock = locked_for(&mut c, "alice") / 60.0;
        assert!(
            (minutes - 0.2..=minutes).contains(&lock),
            "round {round}: {lock} minutes"
        );
    }
    // Never more than a day.
    execute(
        &mut c,
        "UPDATE authz.account_security SET failed_login_attempts = 2147483644",
    );
    wait_out(&mut c, "alice");
    for _ in 0..5 {
        login(&mut d, "alice", false);
    }
    let lock = locked_for(&mut c, "alice") / 3600.0;
    assert!((23.9..=24.0).contains(&lock), "{lock} hours");
    wait_out(&mut c, "alice");
    assert_eq!(login(&mut d, "alice", true), "active");
    assert_eq!(attempts(&mut c, "alice"), Some(0));
    let seen: bool = value(
        &mut c,
        "SELECT last_login_at > now() - interval '1 minute' FROM authz.account_security",
        &[],
    );
    assert!(seen);
    let events: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.access_audit_event WHERE action_code = 'login' AND access_result = 'denied' AND principal_id = $1",
        &[&id("alice")],
    );
    assert_eq!(events, 4 + 4 + 1 + 1 + 15 + 5);
}

#[test]
fn the_lock_ends_by_itself_and_a_lock_by_hand_is_not_shortened() {
    at_leisure(locks_end);
}

fn locks_end(clock: &Clock) {
    let (db, mut c, door) = world();
    execute(
        &mut c,
        &format!(
            "ALTER ROLE {door} SET authz.login_max_failures = 2; ALTER ROLE {door} SET authz.login_lock_duration = '{}s'",
            clock.seconds()
        ),
    );
    let mut d = db.connect_as(&door);
    // A setting of a role is set before the library that knows who may set it.
    execute(&mut d, "SELECT authz_principal()");
    login(&mut d, "alice", false);
    clock.start();
    assert_eq!(login(&mut d, "alice", false), "locked");
    clock.wait_until(1.5);
    assert_eq!(login(&mut d, "alice", true), "active");
    execute(
        &mut c,
        &format!(
            "UPDATE authz.principal SET locked_until = 'infinity' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    for _ in 0..4 {
        assert_eq!(login(&mut d, "alice", false), "locked");
    }
    assert_eq!(login(&mut d, "alice", true), "locked");
    let forever: bool = value(&mut c, "SELECT locked_until = 'infinity' FROM authz.principal", &[]);
    assert!(forever);
    refused(
        &mut d,
        "SET authz.login_max_failures = 0",
        "42501",
        &["permission denied"],
    );
}

#[test]
fn r8_failures_at_once_are_counted_exactly() {
    let (db, mut c, door) = world();
    const EACH: usize = 25;
    let statuses: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let mut d = db.connect_as(&door);
                scope.spawn(move || (0..EACH).map(|_| login(&mut d, "alice", false)).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(attempts(&mut c, "alice"), Some(8 * EACH as i32));
    assert_eq!(
        statuses.iter().filter(|s| *s == "active").count(),
        4,
        "the fifth of all locks, whoever counts"
    );
    // The first log-in of somebody without a row in account_security, several at once.
    make::principal(&mut c, "new");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut d = db.connect_as(&door);
            scope.spawn(move || login(&mut d, "new", false));
        }
    });
    assert_eq!(attempts(&mut c, "new"), Some(8));
}

#[test]
fn who_is_not_active_or_not_there_does_not_get_in() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    for status in ["suspended", "disabled", "locked", "deleted"] {
        execute(
            &mut c,
            &format!(
                "UPDATE authz.principal SET status = '{status}' WHERE principal_id = '{}'",
                id("alice")
            ),
        );
        assert_eq!(login(&mut d, "alice", true), status);
    }
    assert_eq!(attempts(&mut c, "alice"), None, "a log-in that does not get in is none");
    refused_with_hint(
        &mut d,
        "SELECT authz_record_login(gen_random_uuid(), true)",
        "42501",
        &["no log-in"],
    );
    refused_with_hint(&mut d, "SELECT authz_record_login(NULL, true)", "42501", &["no log-in"]);
    refused_with_hint(
        &mut d,
        &format!("SELECT authz_record_login('{}', NULL)", id("alice")),
        "22023",
        &["true or false"],
    );
}

#[test]
fn unlocking_is_for_those_who_manage_principals_and_for_others_only() {
    let (db, mut c, door) = world();
    make::role(&mut c, "manager", &["principal.manage"]);
    make::principal(&mut c, "max");
    make::assign_platform(&mut c, id("max"), "manager");
    let mut d = db.connect_as(&door);
    for name in ["alice", "max"] {
        for _ in 0..5 {
            login(&mut d, name, false);
        }
    }
    let unlock = |name: &str| format!("SELECT authz_unlock_login('{}')", id(name));
    refused(&mut d, &unlock("alice"), "42501", &["permission denied"]);
    wait_out(&mut c, "max");
    execute(
        &mut d,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("max")),
    );
    refused_with_hint(&mut d, &unlock("max"), "42501", &["permission denied"]);
    execute(&mut d, &unlock("alice"));
    assert_eq!(attempts(&mut c, "alice"), Some(0));
    assert_eq!(login(&mut d, "alice", true), "active");
    execute(
        &mut d,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("alice")),
    );
    refused(&mut d, &unlock("max"), "42501", &["permission denied"]);
}
