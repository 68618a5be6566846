//! Secrets leave through their function only, and none of the functions is called without a grant (R8).

use crate::{login, world};
use authz_tests::make::id;
use authz_tests::{denied_with_hint, execute, refused, value};
use postgres::Client;
use serde_json::Value;

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
