//! Whom a change reaches, and whom it leaves alone: parallel workers, what is applied as a replica, many at once (R19,
//! PITFALLS 20, 30, 35).

use crate::{alice, world};
use authz_tests::make::{self, can, id};
use authz_tests::waiting::soon;
use authz_tests::{Server, execute, value};
use postgres::Client;

/// PITFALLS 20, 35: what logical replication applies fires row triggers only, as a replica.
#[test]
fn changes_made_as_a_replica_count_too() {
    let (db, mut a, assignment) = alice(&Server::shared());
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")));
    execute(&mut a, "SET session_replication_role = replica");
    make::revoke(&mut a, assignment);
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "revoked");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned");
    // Nothing guards against DELETE and TRUNCATE in this role, but they must not leave anything behind in a cache.
    execute(&mut a, "DELETE FROM authz.principal_role_assignment");
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "deleted");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned again");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned again");
    // TRUNCATE waits for whoever may still hold a lock on the table.
    execute(&mut b, "COMMIT");
    execute(&mut a, "SET lock_timeout = '60 s'");
    execute(&mut a, "TRUNCATE authz.principal_role_assignment CASCADE");
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "truncated");
    for table in ["tenant_membership", "role_permission"] {
        make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "before {table}");
        execute(&mut a, &format!("TRUNCATE authz.{table} CASCADE"));
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "{table} truncated"
        );
        // What a replica is sent is complete; a row that is written here needs the triggers that complete it.
        execute(&mut a, "SET session_replication_role = origin");
        match table {
            "tenant_membership" => make::join(&mut a, id("acme"), id("alice")),
            _ => make::allow(&mut a, "viewer", "case.view", None),
        }
        execute(&mut a, "SET session_replication_role = replica");
        assert!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            "{table} filled again"
        );
        execute(&mut a, "TRUNCATE authz.principal_role_assignment CASCADE");
    }
}

/// PITFALLS 30
#[test]
fn parallel_workers_decide_like_their_leader() {
    let (db, mut a, assignment) = alice(&Server::shared());
    execute(
        &mut a,
        &format!(
            "INSERT INTO public.case_record (tenant_id, case_id, title)
             SELECT '{}', gen_random_uuid(), 'bulk' FROM generate_series(1, 5000);
             ANALYZE public.case_record",
            id("acme")
        ),
    );
    let count = format!(
        "SELECT count(*) FROM public.case_record WHERE authz_can('{}'::uuid, 'case.view', case_id)",
        id("alice")
    );
    let parallel = |c: &mut Client| {
        let version: i32 = value(c, "SELECT current_setting('server_version_num')::int", &[]);
        let force = if version >= 160_000 {
            "debug_parallel_query"
        } else {
            "force_parallel_mode"
        };
        // The leader does nothing itself, so that it cannot hide what the workers answer.
        execute(
            c,
            &format!(
                "SET {force} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                 SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
                 SET parallel_leader_participation = off"
            ),
        );
    };
    parallel(&mut a);
    let mut b = db.connect();
    parallel(&mut b);
    let role = db.caller();
    execute(&mut a, &format!("GRANT SELECT ON public.case_record TO {role}"));
    let mut unprivileged = db.connect_as(&role);
    parallel(&mut unprivileged);

    // Other tests may have taken all workers of the cluster for a moment.
    soon("a worker is launched", || {
        let plan: serde_json::Value = value(&mut b, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {count}"), &[]);
        plan.to_string().contains("\"Workers Launched\":2") || plan.to_string().contains("\"Workers Launched\":1")
    });
    let mut counted = |c: &mut Client, expected: i64, moment: &str| {
        assert_eq!(value::<i64>(c, &count, &[]), expected, "{moment}");
        assert_eq!(
            value::<i64>(&mut b, &count, &[]),
            if moment.contains("uncommitted") { 1 } else { expected },
            "b, {moment}"
        );
    };
    counted(&mut a, 1, "the one case");
    execute(&mut a, "BEGIN");
    let everything = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    counted(&mut a, 5001, "own uncommitted assignment");
    execute(&mut a, "ROLLBACK");
    counted(&mut a, 1, "rolled back");
    execute(&mut a, "BEGIN");
    make::revoke(&mut a, assignment);
    counted(&mut a, 0, "own uncommitted revocation");
    execute(&mut a, "ROLLBACK");
    counted(&mut a, 1, "rolled back");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    counted(&mut a, 5001, "committed");
    assert_eq!(value::<i64>(&mut unprivileged, &count, &[]), 5001);
    assert_ne!(everything, assignment);
    execute(
        &mut a,
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE revoked_at IS NULL",
    );
    counted(&mut a, 0, "revoked");
    assert_eq!(value::<i64>(&mut unprivileged, &count, &[]), 0);
}

#[test]
fn a_change_leaves_others_compiled_and_a_change_of_many_reaches_all() {
    const MEMBERS: i64 = 1000;
    let (db, mut a) = world(&Server::shared());
    execute(
        &mut a,
        &format!(
            "INSERT INTO authz.principal (principal_id, principal_type, display_name, status)
             SELECT md5('m' || n)::uuid, 'human', 'm' || n, 'active' FROM generate_series(1, {MEMBERS}) AS n;
             INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind)
             SELECT '{t}', md5('m' || n)::uuid, 'active', 'member' FROM generate_series(1, {MEMBERS}) AS n;
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             SELECT '{t}', md5('m' || n)::uuid, 'viewer', 'tenant', '{t}' FROM generate_series(1, {MEMBERS}) AS n",
            t = id("acme")
        ),
    );
    make::case(&mut a, id("acme"), "affair");
    let mut b = db.connect();
    execute(&mut b, "SET authz.cache_size = '1GB'");
    let count = format!(
        "SELECT count(*) FILTER (WHERE authz_can(md5('m' || n)::uuid, 'case.view', '{}'))
           FROM generate_series(1, {MEMBERS}) AS n",
        id("affair")
    );
    let loads = |c: &mut Client| -> i64 { value(c, "SELECT loads FROM authz_stats()", &[]) };
    assert_eq!(value::<i64>(&mut b, &count, &[]), MEMBERS);

    // One of them: whoever shares its channel is loaded again as well, which is hardly anybody.
    let revoke =
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE revoked_at IS NULL";
    let before = loads(&mut b);
    execute(&mut a, &format!("{revoke} AND principal_id = md5('m1')::uuid"));
    assert_eq!(value::<i64>(&mut b, &count, &[]), MEMBERS - 1);
    let loaded = loads(&mut b) - before;
    assert!((1..=5).contains(&loaded), "{loaded} loaded after a change of one");

    // All of them by one statement, which sends fewer messages than it changes subjects; also undone, also for itself.
    execute(&mut a, "BEGIN; SAVEPOINT s");
    execute(&mut a, revoke);
    assert_eq!(value::<i64>(&mut a, &count, &[]), 0, "one's own uncommitted revocation");
    assert_eq!(
        value::<i64>(&mut b, &count, &[]),
        MEMBERS - 1,
        "another's uncommitted revocation"
    );
    execute(&mut a, "ROLLBACK TO s");
    assert_eq!(value::<i64>(&mut a, &count, &[]), MEMBERS - 1, "undone");
    execute(&mut a, revoke);
    assert_eq!(value::<i64>(&mut a, &count, &[]), 0, "done again");
    execute(&mut a, "COMMIT");
    assert_eq!(value::<i64>(&mut b, &count, &[]), 0, "committed");
}
