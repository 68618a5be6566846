//! Parallel workers, prepared statements and kept plans have the identity of whoever asks (R24, PITFALLS 30).

use authz_tests::make::id;
use authz_tests::session::{ROWS, fails, is, is_nobody, scan_in_parallel, set, world};
use authz_tests::{execute, value};
use uuid::Uuid;

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
