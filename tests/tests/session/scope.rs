//! How long a session lasts: transactions, savepoints, pools (R24, PITFALLS 14).

use authz_tests::make::id;
use authz_tests::session::{is, is_nobody, set, world};
use authz_tests::signer::{Signer, begin, claims};
use authz_tests::{execute, refused, value};
use uuid::Uuid;

#[test]
fn a_local_session_ends_with_its_transaction() {
    let w = world();
    let mut c = w.app();
    for end in ["COMMIT", "ROLLBACK"] {
        execute(&mut c, &format!("BEGIN; {}", set("alice", true)));
        is(&mut c, "alice");
        execute(&mut c, end);
        is_nobody(&mut c);
    }
    // A statement of its own is a transaction of its own.
    execute(&mut c, &set("alice", true));
    is_nobody(&mut c);
}

#[test]
fn a_session_that_is_not_local_lasts_until_it_is_set_again_or_cleared() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    is(&mut c, "alice");
    execute(&mut c, &format!("BEGIN; {}", set("bob", true)));
    is(&mut c, "bob");
    execute(&mut c, "COMMIT");
    is(&mut c, "alice");
    execute(&mut c, &set("bob", false));
    is(&mut c, "bob");
    execute(&mut c, "SELECT authz_clear_session()");
    is_nobody(&mut c);
}

#[test]
fn clearing_in_a_transaction_ends_the_local_and_the_lasting_session() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    execute(
        &mut c,
        &format!("BEGIN; {}; SELECT authz_clear_session()", set("bob", true)),
    );
    is_nobody(&mut c);
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn keep_an_identity_by_rollback() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", set("alice", false)));
    is_nobody(&mut c);
    execute(&mut c, &set("bob", false));
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", set("alice", false)));
    is(&mut c, "bob");
}

#[test]
fn keep_an_identity_by_rollback_of_a_savepoint() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN; {}; SAVEPOINT s", set("bob", true)));
    for is_local in [true, false] {
        execute(&mut c, &set("alice", is_local));
        is(&mut c, "alice");
        execute(&mut c, "ROLLBACK TO s");
        is(&mut c, "bob");
    }
    execute(&mut c, "SELECT authz_clear_session()");
    is_nobody(&mut c);
    execute(&mut c, "ROLLBACK TO s");
    is(&mut c, "bob");
    execute(&mut c, &format!("{}; RELEASE s", set("alice", true)));
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn keep_an_identity_past_an_exception_in_plpgsql() {
    let w = world();
    let mut c = w.app();
    execute(
        &mut c,
        &format!(
            "BEGIN; {};
             DO $$ BEGIN PERFORM authz_set_session('{}'); RAISE 'x'; EXCEPTION WHEN raise_exception THEN NULL; END $$",
            set("bob", true),
            id("alice")
        ),
    );
    is(&mut c, "bob");
}

#[test]
fn keep_a_local_identity_past_a_commit_inside_a_do_block() {
    let w = world();
    let mut c = w.app();
    let seen: i64 = {
        execute(&mut c, "CREATE TEMP TABLE seen (principal uuid)");
        execute(
            &mut c,
            &format!(
                "DO $$ BEGIN PERFORM authz_set_session('{}'); COMMIT; INSERT INTO seen VALUES (authz_principal()); END $$",
                id("alice")
            ),
        );
        value(&mut c, "SELECT count(*) FROM seen WHERE principal IS NULL", &[])
    };
    assert_eq!(seen, 1);
}

#[test]
fn keep_an_identity_past_discard_all_and_reset_all() {
    let w = world();
    let mut c = w.app();
    for reset in ["DISCARD ALL", "RESET ALL"] {
        execute(&mut c, &set("alice", false));
        is(&mut c, "alice");
        execute(&mut c, reset);
        is_nobody(&mut c);
    }
}

#[test]
fn reset_of_the_setting_itself_is_not_for_everybody_and_gives_nobody_an_identity() {
    let mut w = world();
    let mut c = w.app();
    execute(&mut c, &set("alice", false));
    refused(&mut c, "RESET authz.session", "42501", &[]);
    refused(&mut c, "SET authz.session TO DEFAULT", "42501", &[]);
    refused(&mut c, "SELECT set_config('authz.session', '', false)", "42501", &[]);
    is(&mut c, "alice");
    execute(&mut w.admin, &set("alice", false));
    execute(&mut w.admin, "RESET authz.session");
    is_nobody(&mut w.admin);
}

#[test]
fn find_the_identity_of_the_last_client_on_a_pooled_connection() {
    let w = world();
    let mut c = w.app();
    // Transaction pooling: each client's transaction begins with its own identity, or without one.
    for (first, end) in [("alice", "COMMIT"), ("alice", "ROLLBACK"), ("bob", "COMMIT")] {
        execute(&mut c, &format!("BEGIN; {}", set(first, true)));
        is(&mut c, first);
        execute(&mut c, end);
        execute(&mut c, "BEGIN");
        is_nobody(&mut c);
        execute(&mut c, "COMMIT");
    }
    // A client that failed in the middle.
    execute(&mut c, &format!("BEGIN; {}", set("alice", true)));
    assert!(c.batch_execute("SELECT 1 / 0").is_err());
    execute(&mut c, "ROLLBACK");
    is_nobody(&mut c);
    // Session pooling: the pooler says DISCARD ALL.
    execute(&mut c, &set("alice", false));
    execute(&mut c, "DISCARD ALL");
    is_nobody(&mut c);
}

#[test]
fn carry_an_identity_through_two_phase_commit() {
    let mut w = world();
    let (mut c, mut other) = (w.app(), w.app());
    let name = format!("authz_t_{}", w.db.name);
    for (is_local, end) in [
        (true, "COMMIT"),
        (true, "ROLLBACK"),
        (false, "COMMIT"),
        (false, "ROLLBACK"),
    ] {
        execute(
            &mut c,
            &format!("BEGIN; {}; PREPARE TRANSACTION '{name}'", set("alice", is_local)),
        );
        // A lasting session was this connection's own wish, and PREPARE is the end of its transaction.
        if is_local {
            is_nobody(&mut c);
        }
        is_nobody(&mut other);
        execute(&mut other, &format!("{end} PREPARED '{name}'"));
        is_nobody(&mut other);
        execute(&mut c, "DISCARD ALL");
        is_nobody(&mut c);
    }
    is_nobody(&mut w.admin);
}

#[test]
fn a_local_session_outlives_the_function_that_set_it_until_the_end_of_the_transaction() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!("CREATE SCHEMA apps; GRANT USAGE ON SCHEMA apps TO {}", w.app),
    );
    for (name, clause) in [("plain", ""), ("pinned", "SET search_path = public")] {
        execute(
            &mut w.admin,
            &format!(
                "CREATE FUNCTION apps.{name}() RETURNS uuid LANGUAGE plpgsql {clause} AS
                 $$ BEGIN PERFORM authz_set_session('{}'); RETURN authz_principal(); END $$",
                id("alice")
            ),
        );
    }
    let mut c = w.app();
    for function in ["plain", "pinned"] {
        execute(&mut c, "BEGIN");
        let inside: Option<Uuid> = value(&mut c, &format!("SELECT apps.{function}()"), &[]);
        assert_eq!(inside, Some(id("alice")));
        is(&mut c, "alice");
        execute(&mut c, "COMMIT");
        is_nobody(&mut c);
    }
}

#[test]
fn sessions_work_in_read_only_transactions() {
    let w = world();
    let signer = Signer::ed25519("k");
    let mut admin = w.db.connect();
    signer.register(&mut admin);
    let mut c = w.app();
    execute(&mut c, &format!("BEGIN READ ONLY; {}", set("bob", true)));
    is(&mut c, "bob");
    begin(&mut c, &signer.token(&claims("alice"))).unwrap();
    is(&mut c, "alice");
    let xid: Option<String> = value(&mut c, "SELECT pg_current_xact_id_if_assigned()::text", &[]);
    assert_eq!(xid, None, "a transaction id was assigned");
}
