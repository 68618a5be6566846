//! Logging in: lock-out (R8), profiles at the first log-in (R3) and own rows of them (R4), secrets that only the function
//! for them gives out (R8). By login roles with what an authenticator or a web application is granted, and nothing else.

use authz_tests::make::{self, id};
use authz_tests::{Db, denied_with_hint, execute, refused, refused_with_hint, report, value};
use postgres::Client;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const FUNCTIONS: [&str; 6] = [
    "authz_record_login",
    "authz_upsert_profile",
    "authz_account_secrets",
    "authz_set_account_secrets",
    "authz_unlock_login",
    "authz_set_session",
];

/// Alice has an account; `door` is the role that authenticates.
fn world() -> (Db, Client, String) {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    let door = db.role();
    for function in FUNCTIONS {
        execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION {function} TO {door}"));
    }
    (db, c, door)
}

fn login(c: &mut Client, name: &str, succeeded: bool) -> String {
    value(c, "SELECT authz_record_login($1, $2)", &[&id(name), &succeeded])
}

fn attempts(c: &mut Client, name: &str) -> Option<i32> {
    c.query_opt(
        "SELECT failed_login_attempts FROM authz.account_security WHERE principal_id = $1",
        &[&id(name)],
    )
    .unwrap()
    .map(|row| row.get(0))
}

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
    let (db, mut c, door) = world();
    execute(
        &mut c,
        &format!(
            "ALTER ROLE {door} SET authz.login_max_failures = 2; ALTER ROLE {door} SET authz.login_lock_duration = '1s'"
        ),
    );
    let mut d = db.connect_as(&door);
    // A setting of a role is set before the library that knows who may set it.
    execute(&mut d, "SELECT authz_principal()");
    login(&mut d, "alice", false);
    assert_eq!(login(&mut d, "alice", false), "locked");
    std::thread::sleep(Duration::from_millis(1100));
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

fn upsert(c: &mut Client, who: Uuid, email: &str, name: Option<&str>, metadata: Option<Value>) {
    c.execute(
        "SELECT authz_upsert_profile($1, $2, $3, metadata => $4, external_id => 'idp|' || $1::uuid)",
        &[&who, &email, &name, &metadata],
    )
    .unwrap_or_else(|e| panic!("{}", report(&e)));
}

#[test]
fn r3_a_first_log_in_makes_the_profile_a_later_one_updates_it_and_repeating_changes_nothing() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    upsert(
        &mut d,
        id("nora"),
        "nora@acme.example",
        Some("Nora"),
        Some(json!({"locale": "da"})),
    );
    let row = |c: &mut Client| -> Value {
        value(
            c,
            "SELECT to_jsonb(f) FROM authz.profile AS f WHERE user_id = $1",
            &[&id("nora")],
        )
    };
    let first = row(&mut c);
    assert_eq!(first["email"], "nora@acme.example");
    assert_eq!(first["is_super_admin"], false);
    upsert(
        &mut d,
        id("nora"),
        "nora@acme.example",
        Some("Nora"),
        Some(json!({"locale": "da"})),
    );
    upsert(&mut d, id("nora"), "nora@acme.example", None, None);
    assert_eq!(row(&mut c), first, "nothing changed, not even updated_at");
    upsert(&mut d, id("nora"), "nora@new.example", None, None);
    let second = row(&mut c);
    assert_eq!(
        (&second["email"], &second["full_name"]),
        (&json!("nora@new.example"), &json!("Nora"))
    );
    assert_eq!(second["created_at"], first["created_at"]);
    assert_ne!(second["updated_at"], first["updated_at"]);
    let email: String = value(
        &mut c,
        "SELECT email FROM authz.principal WHERE principal_id = $1",
        &[&id("nora")],
    );
    assert_eq!(email, "nora@new.example");
    let phone: Option<String> = {
        d.execute(
            "SELECT authz_upsert_profile($1, NULL, phone => '+45 1')",
            &[&id("nora")],
        )
        .unwrap();
        value(
            &mut c,
            "SELECT phone FROM authz.profile WHERE user_id = $1",
            &[&id("nora")],
        )
    };
    assert_eq!(
        phone.as_deref(),
        Some("+45 1"),
        "an address that is known need not be said again"
    );
    // What must not be.
    refused(
        &mut d,
        "SELECT authz_upsert_profile(gen_random_uuid(), NULL)",
        "23502",
        &["email"],
    );
    refused(
        &mut d,
        "SELECT authz_upsert_profile(gen_random_uuid(), 'nobody')",
        "23514",
        &["email"],
    );
    refused_with_hint(
        &mut d,
        &format!(
            "SELECT authz_upsert_profile(gen_random_uuid(), 'x@y.example', external_id => 'idp|{}')",
            id("nora")
        ),
        "23505",
        &["another principal"],
    );
    refused_with_hint(
        &mut d,
        &format!(
            "SELECT authz_upsert_profile('{}', 'x@y.example', external_id => 'else')",
            id("nora")
        ),
        "55000",
        &["external id"],
    );
    execute(
        &mut c,
        &format!(
            "UPDATE authz.principal SET status = 'deleted' WHERE principal_id = '{}'",
            id("nora")
        ),
    );
    refused_with_hint(
        &mut d,
        &format!("SELECT authz_upsert_profile('{}', 'x@y.example')", id("nora")),
        "55000",
        &["deleted"],
    );
}

#[test]
fn r3_first_log_ins_at_once_make_one_profile_and_no_error() {
    let (db, mut c, door) = world();
    for round in 0..15 {
        let who = id(&format!("new{round}"));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                let mut d = db.connect_as(&door);
                scope.spawn(move || upsert(&mut d, who, "new@acme.example", Some("New"), None));
            }
        });
        let made: i64 = value(&mut c, "SELECT count(*) FROM authz.profile WHERE user_id = $1", &[&who]);
        assert_eq!(made, 1);
    }
}

#[test]
fn r4_a_user_reads_and_updates_its_own_profile_only_and_never_its_super_admin_flag() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    for name in ["nora", "olaf"] {
        upsert(&mut d, id(name), &format!("{name}@acme.example"), Some(name), None);
    }
    // More than any role should have.
    let web = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {web}; GRANT ALL ON authz.profile TO {web};
             GRANT EXECUTE ON FUNCTION authz_set_session TO {web}"
        ),
    );
    let mut w = db.connect_as(&web);
    let count = |w: &mut Client| -> i64 { value(w, "SELECT count(*) FROM authz.profile", &[]) };
    assert_eq!(count(&mut w), 0, "no session, no profile");
    execute(
        &mut w,
        &format!("SELECT authz_set_session('{}', is_local => false)", id("nora")),
    );
    assert_eq!(count(&mut w), 1);
    let own: Uuid = value(&mut w, "SELECT user_id FROM authz.profile", &[]);
    assert_eq!(own, id("nora"));
    assert_eq!(
        w.execute("UPDATE authz.profile SET full_name = 'Nora B', phone = '1'", &[])
            .unwrap(),
        1
    );
    let olaf: String = value(
        &mut c,
        "SELECT full_name FROM authz.profile WHERE user_id = $1",
        &[&id("olaf")],
    );
    assert_eq!(olaf, "olaf");
    refused_with_hint(
        &mut w,
        "UPDATE authz.profile SET is_super_admin = true",
        "42501",
        &["is_super_admin"],
    );
    refused(
        &mut w,
        &format!("UPDATE authz.profile SET user_id = '{}'", id("olaf")),
        "55000",
        &["for good"],
    );
    refused(
        &mut w,
        &format!(
            "INSERT INTO authz.profile (user_id, email, is_super_admin) VALUES ('{}', 'a@b.example', true)",
            id("alice")
        ),
        "42501",
        &["row-level security"],
    );
    refused(
        &mut w,
        &format!(
            "INSERT INTO authz.profile (user_id, email) VALUES ('{}', 'a@b.example')
             ON CONFLICT (user_id) DO UPDATE SET is_super_admin = true",
            id("nora")
        ),
        "42501",
        &[],
    );
    assert_eq!(w.execute("DELETE FROM authz.profile", &[]).unwrap(), 0);
    // The stamps are the database's.
    execute(
        &mut w,
        "UPDATE authz.profile SET created_at = '-infinity', updated_at = '-infinity'",
    );
    let kept: bool = value(
        &mut c,
        "SELECT bool_and(isfinite(created_at) AND isfinite(updated_at)) FROM authz.profile",
        &[],
    );
    assert!(kept);
    // Whoever mirrors the platform role may.
    execute(
        &mut c,
        &format!(
            "UPDATE authz.profile SET is_super_admin = true WHERE user_id = '{}'",
            id("nora")
        ),
    );
    // What a user says of itself gives no authority.
    assert!(!make::can(&mut c, id("nora"), "case.view", id("affair")));
}

#[test]
fn r8_secrets_leave_through_their_function_only_and_not_while_locked() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    execute(
        &mut d,
        &format!(
            "SELECT authz_set_account_secrets('{}', 'hash1', '\\x01', true, true)",
            id("alice")
        ),
    );
    let secrets = |d: &mut Client| {
        d.query(
            "SELECT password_hash, mfa_enabled, mfa_secret_encrypted FROM authz_account_secrets($1)",
            &[&id("alice")],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, bool>(1), row.get::<_, Vec<u8>>(2)))
        .collect::<Vec<_>>()
    };
    assert_eq!(secrets(&mut d), [("hash1".to_owned(), true, vec![1])]);
    execute(
        &mut d,
        &format!("SELECT authz_set_account_secrets('{}', 'hash2')", id("alice")),
    );
    assert_eq!(secrets(&mut d), [("hash2".to_owned(), true, vec![1])], "the rest stays");
    for _ in 0..5 {
        login(&mut d, "alice", false);
    }
    assert_eq!(secrets(&mut d), [], "locked out means that no password is looked at");
    // No other way: not for a role with privileges on the table, nor for one that may read all tables.
    let curious = db.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {curious}; GRANT ALL ON authz.account_security TO {curious};
             GRANT pg_read_all_data TO {curious}"
        ),
    );
    let mut e = db.connect_as(&curious);
    let rows: i64 = value(&mut e, "SELECT count(*) FROM authz.account_security", &[]);
    assert_eq!(rows, 0);
    assert_eq!(
        e.execute("UPDATE authz.account_security SET password_hash = 'mine'", &[])
            .unwrap(),
        0
    );
    refused(
        &mut e,
        &format!(
            "INSERT INTO authz.account_security (principal_id, password_hash) VALUES ('{}', 'x')",
            id("alice")
        ),
        "42501",
        &["row-level security"],
    );
    refused(
        &mut e,
        "SELECT * FROM authz_account_secrets(gen_random_uuid())",
        "42501",
        &["permission denied"],
    );
    let explained: Value = value(
        &mut c,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid)",
        &[&id("alice"), &id("affair")],
    );
    assert!(!explained.to_string().contains("hash2"));
    let events: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.access_audit_event WHERE action_code = 'account.read_secrets' AND principal_id = $1",
        &[&id("alice")],
    );
    assert_eq!(events, 3, "each look is recorded");
}

/// The words are those of a function, not of the constraint that would find it out, and the attempt is recorded (R8, R53).
#[test]
fn r8_secrets_of_nobody_are_refused_and_recorded() {
    let (db, mut c, door) = world();
    let mut d = db.connect_as(&door);
    denied_with_hint(
        &mut d,
        "SELECT authz_set_account_secrets(NULL, 'hash')",
        "22023",
        &["argument principal is missing"],
    );
    denied_with_hint(
        &mut d,
        &format!("SELECT authz_set_account_secrets('{}', 'hash')", id("ghost")),
        "42704",
        &["does not exist", "not in authz.principal", "authz_upsert_profile"],
    );
    let accounts: i64 = value(&mut c, "SELECT count(*) FROM authz.account_security", &[]);
    assert_eq!(accounts, 0);
}

#[test]
fn runtime_roles_call_none_of_it_unless_granted() {
    let (db, _, _) = world();
    let plain = db.role();
    let mut c = db.connect_as(&plain);
    for sql in [
        "SELECT authz_record_login(gen_random_uuid(), true)",
        "SELECT authz_upsert_profile(gen_random_uuid(), 'a@b.example')",
        "SELECT authz_account_secrets(gen_random_uuid())",
        "SELECT authz_set_account_secrets(gen_random_uuid(), 'x')",
        "SELECT authz_unlock_login(gen_random_uuid())",
        "SELECT authz.lock_of(gen_random_uuid())",
        "SELECT * FROM authz.profile",
        "SELECT * FROM authz.account_security",
        "SELECT * FROM authz.principal_lock_history",
    ] {
        refused(&mut c, sql, "42501", &["permission denied"]);
    }
}
