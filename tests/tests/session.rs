//! Session identity, seen by somebody who wants another one: every way to keep or forge one that we could think of,
//! each as a test with the attempt in its name, tried by login roles without privileges (R24; PITFALLS 13, 14, 30).
//! Planting one is in `session_planting.rs`, tokens are in `token.rs`.

use authz_tests::make::id;
use authz_tests::session::{ROWS, fails, is, is_nobody, may_view, principal, scan_in_parallel, set, world};
use authz_tests::signer::{Signer, begin, claims};
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

// == Scope of a session: transactions, savepoints, pools ==================================================

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

// == Who may set it =======================================================================================

#[test]
fn set_a_session_without_the_right_to() {
    let w = world();
    let mut c = w.role();
    refused(&mut c, &set("alice", true), "42501", &["authz_set_session"]);
    refused(&mut c, &set("alice", false), "42501", &["authz_set_session"]);
    is_nobody(&mut c);
}

#[test]
fn set_a_session_with_malformed_arguments() {
    let w = world();
    let mut c = w.app();
    refused_with_hint(&mut c, "SELECT authz_set_session(NULL)", "22023", &["principal"]);
    for context in ["[]", "1", "\"x\"", "null"] {
        let sql = format!("SELECT authz_set_session('{}', context => '{context}')", id("alice"));
        refused_with_hint(&mut c, &sql, "22023", &["context"]);
    }
    refused(&mut c, "SELECT authz_set_session('alice')", "22P02", &[]);
    is_nobody(&mut c);
    // NULL stands for the default.
    execute(&mut c, "BEGIN");
    execute(
        &mut c,
        &format!("SELECT authz_set_session('{}', NULL, NULL, NULL)", id("alice")),
    );
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn the_session_of_somebody_who_does_not_exist_may_do_nothing() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("nobody", false));
    assert_eq!(principal(&mut c), Some(id("nobody")));
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn context_survives_quotes_backslashes_nul_escapes_and_big_numbers() {
    let w = world();
    let mut c = w.app();
    let context = json!({"a": "'\"\\\n\u{1}\u{10ffff}", "b": {"c": [1, 2.5, -3, true, null]}, "": ""});
    c.execute(
        "SELECT authz_set_session($1, context => $2, is_local => false)",
        &[&id("alice"), &context],
    )
    .unwrap();
    let seen: Value = value(&mut c, "SELECT authz_context()", &[]);
    assert_eq!(seen, context);
    is(&mut c, "alice");
}

// == Parallel workers =====================================================================================

#[test]
fn parallel_workers_have_the_leaders_identity_and_no_other() {
    let w = world();
    let mut c = w.app();
    scan_in_parallel(&mut c, 0);
    for (name, allowed) in [("alice", ROWS), ("bob", 0), ("carol", ROWS)] {
        execute(&mut c, &set(name, false));
        scan_in_parallel(&mut c, allowed);
        execute(&mut c, "SELECT authz_clear_session()");
        scan_in_parallel(&mut c, 0);
    }
}

#[test]
fn parallel_workers_know_the_login_role() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            w.role,
            id("alice")
        ),
    );
    let mut c = w.role();
    is(&mut c, "alice");
    scan_in_parallel(&mut c, ROWS);
}

#[test]
fn set_a_session_inside_a_parallel_worker() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.liar(p oid) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN PERFORM authz_set_session('{}'); RETURN true; END $$;
             CREATE FUNCTION public.liar_clears(p oid) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS
             $$ BEGIN PERFORM authz_clear_session(); RETURN true; END $$",
            id("alice")
        ),
    );
    let mut c = w.app();
    execute(
        &mut c,
        "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off",
    );
    for function in ["liar", "liar_clears"] {
        fails(
            &mut c,
            &format!("SELECT count(*) FROM pg_catalog.pg_proc WHERE public.{function}(oid)"),
        );
        is_nobody(&mut c);
    }
}

// == Other roles ==========================================================================================

#[test]
fn change_the_identity_by_set_role_or_set_session_authorization() {
    let mut w = world();
    execute(&mut w.admin, &format!("GRANT {} TO {}", w.role, w.app));
    let mut c = w.app();
    execute(&mut c, &set("bob", false));
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is(&mut c, "bob");
    refused(&mut c, &set("alice", false), "42501", &[]);
    refused(&mut c, &format!("SET SESSION AUTHORIZATION {}", w.role), "42501", &[]);
    execute(&mut c, "RESET ROLE");
    is(&mut c, "bob");
    execute(&mut c, "RESET SESSION AUTHORIZATION");
    is(&mut c, "bob");
    // A superuser who becomes somebody else keeps what was set, and nothing comes with the other role.
    execute(&mut w.admin, &set("bob", false));
    execute(&mut w.admin, &format!("SET SESSION AUTHORIZATION {}", w.role));
    is(&mut w.admin, "bob");
    execute(&mut w.admin, "SELECT authz_clear_session()");
    is_nobody(&mut w.admin);
}

#[test]
fn take_the_principal_of_a_role_that_did_not_log_in() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'; GRANT {} TO {}",
            w.role,
            id("alice"),
            w.role,
            w.app
        ),
    );
    let mut c = w.role();
    is(&mut c, "alice");
    execute(&mut c, "BEGIN READ ONLY");
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");

    let mut c = w.app();
    is_nobody(&mut c);
    execute(&mut c, &format!("SET ROLE {}", w.role));
    is_nobody(&mut c);
    execute(&mut c, "RESET ROLE");
    execute(&mut w.admin, &format!("SET ROLE {}", w.role));
    is_nobody(&mut w.admin);
    execute(
        &mut w.admin,
        &format!("RESET ROLE; SET SESSION AUTHORIZATION {}", w.role),
    );
    is_nobody(&mut w.admin);
    execute(&mut w.admin, "RESET SESSION AUTHORIZATION");

    // A function of the bound role that runs with its rights does not run as its principal.
    execute(&mut w.admin, &format!("CREATE SCHEMA mine AUTHORIZATION {}", w.role));
    let mut owner = w.role();
    execute(
        &mut owner,
        &format!(
            "CREATE FUNCTION mine.who() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.authz_principal() $$;
             GRANT USAGE ON SCHEMA mine TO {}", w.app),
    );
    let who: Option<Uuid> = value(&mut c, "SELECT mine.who()", &[]);
    assert_eq!(who, None);
}

#[test]
fn a_session_takes_the_place_of_the_login_roles_principal() {
    let mut w = world();
    let bind = |role: &str, name: &str| {
        format!(
            "UPDATE authz.principal SET db_role = {role} WHERE principal_id = '{}'",
            id(name)
        )
    };
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "alice"));
    let mut c = w.app();
    is(&mut c, "alice");
    execute(&mut c, &format!("BEGIN; {}", set("bob", true)));
    is(&mut c, "bob");
    execute(&mut c, "COMMIT");
    is(&mut c, "alice");
    // Bindings change under running sessions.
    execute(&mut w.admin, &bind("NULL", "alice"));
    is_nobody(&mut c);
    execute(&mut w.admin, &bind(&format!("'{}'", w.app), "bob"));
    is(&mut c, "bob");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("bob")
        ),
    );
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn a_role_of_nearly_the_same_name_has_no_part_in_it() {
    let mut w = world();
    let long = "n".repeat(63);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{}' WHERE principal_id = '{}'",
            w.role.to_uppercase(),
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{} ' WHERE principal_id = '{}'",
            w.role,
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET db_role = '{long}x' WHERE principal_id = '{}'",
            id("alice")
        ),
    );
    is_nobody(&mut w.role());
}

// == Prepared statements, cursors =========================================================================

#[test]
fn reuse_a_prepared_statement_and_its_generic_plan_under_another_identity() {
    let w = world();
    let mut c = w.app();
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        execute(&mut c, &format!("SET plan_cache_mode = {mode}"));
        let by_key = c.prepare("SELECT authz_can('case.view', $1::uuid)").unwrap();
        let constant = c
            .prepare(&format!(
                "SELECT authz_can('case.view', '{}'::uuid), authz_principal()",
                id("affair")
            ))
            .unwrap();
        for round in 0..12 {
            let name = ["alice", "bob", "carol"][round % 3];
            execute(&mut c, &format!("BEGIN; {}", set(name, true)));
            let can: bool = c.query_one(&by_key, &[&id("affair")]).unwrap().get(0);
            let row = c.query_one(&constant, &[]).unwrap();
            assert_eq!(
                (can, row.get(0), row.get(1)),
                (name != "bob", name != "bob", Some(id(name))),
                "{mode}, {round}"
            );
            execute(&mut c, "COMMIT");
            let row = c.query_one(&constant, &[]).unwrap();
            assert_eq!(
                (row.get(0), row.get(1)),
                (false, None::<Uuid>),
                "{mode}, {round}: after the transaction"
            );
        }
    }
}

#[test]
fn keep_an_identity_in_a_cached_plan_of_plpgsql() {
    let mut w = world();
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.asks() RETURNS boolean LANGUAGE plpgsql AS
             $$ DECLARE answer boolean; BEGIN SELECT authz_can('case.view', '{}'::uuid) INTO answer; RETURN answer; END $$",
            id("affair")
        ),
    );
    let mut c = w.app();
    for round in 0..12 {
        let name = ["alice", "bob"][round % 2];
        execute(&mut c, &set(name, false));
        let can: bool = value(&mut c, "SELECT public.asks()", &[]);
        assert_eq!(can, name == "alice", "round {round}");
    }
}

// == A session's tenant ===================================================================================

#[test]
fn a_session_that_names_a_tenant_sees_that_tenant_only() {
    let w = world();
    let mut c = w.app();
    let seen = |c: &mut Client, tenant: &str| -> (bool, bool) {
        execute(
            c,
            &format!("BEGIN; SELECT authz_set_session('{}', {tenant})", id("carol")),
        );
        let seen = (may_view(c, "affair"), may_view(c, "deal"));
        let named: Option<Uuid> = value(c, "SELECT authz_tenant()", &[]);
        assert_eq!(named.map_or("NULL".to_owned(), |t| format!("'{t}'")), tenant);
        // The same by keys as text.
        let text: bool = value(c, "SELECT authz_can('case.view', $1::uuid::text)", &[&id("deal")]);
        assert_eq!(text, seen.1);
        execute(c, "COMMIT");
        seen
    };
    assert_eq!(seen(&mut c, "NULL"), (true, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("acme"))), (true, false));
    assert_eq!(seen(&mut c, &format!("'{}'", id("globex"))), (false, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("elsewhere"))), (false, false));
}

#[test]
fn a_tenant_gives_nothing_to_those_who_are_no_members() {
    let w = world();
    let mut c = w.app();
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("globex")
        ),
    );
    assert!(!may_view(&mut c, "deal") && !may_view(&mut c, "affair"));
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("acme")
        ),
    );
    assert!(!may_view(&mut c, "deal") && may_view(&mut c, "affair"));
}
