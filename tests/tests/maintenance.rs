//! Maintenance (R56, PITFALLS 10): what has run out is closed, and no decision depends on when.

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, value};
use postgres::Client;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Of each kind one that has run out, and one that has not. Erik's assignment, grant and membership are over.
fn fill(c: &mut Client) {
    let acme = make::tenant(c, "acme");
    make::case(c, acme, "affair");
    make::role(c, "viewer", &["case.view"]);
    for name in ["erik", "maria", "ann"] {
        make::principal(c, name);
    }
    execute(
        c,
        &format!(
            "INSERT INTO authz.tenant_membership (tenant_id, principal_id, joined_at, expires_at)
             VALUES ('{acme}', '{erik}', now() - interval '9 days', now() - interval '1 day'),
                    ('{acme}', '{maria}', now() - interval '9 days', now() + interval '1 day');
             INSERT INTO authz.principal_role_assignment
                 (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at)
             VALUES ('{acme}', '{erik}', 'viewer', 'tenant', '{acme}', now() - interval '9 days', now() - interval '2 days'),
                    ('{acme}', '{maria}', 'viewer', 'tenant', '{acme}', now() - interval '9 days', now() + interval '2 days');
             INSERT INTO authz.resource_access_grant
                 (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at, expires_at)
             VALUES ('{acme}', 'case', '{case}', 'principal', '{erik}', 'case.view', now() - interval '9 days', now() - interval '3 days'),
                    ('{acme}', 'case', '{case}', 'principal', '{maria}', 'case.view', now() - interval '9 days', NULL);
             INSERT INTO authz.privileged_access_session
                 (session_id, session_kind, principal_id, tenant_id, access_reason, requested_at, approved_by, approved_at, started_at, expires_at)
             VALUES ('{over}', 'support', '{erik}', '{acme}', 'x', now() - interval '9 days', '{ann}', now() - interval '9 days',
                     now() - interval '9 days', now() - interval '8 days'),
                    ('{runs}', 'support', '{maria}', '{acme}', 'x', now() - interval '9 days', '{ann}', now() - interval '9 days',
                     now() - interval '9 days', now() + interval '8 days'),
                    ('{late}', 'support', '{erik}', '{acme}', 'x', now() - interval '9 days', '{ann}', now() - interval '9 days', NULL, NULL),
                    ('{asked}', 'support', '{erik}', '{acme}', 'x', now() - interval '9 days', NULL, NULL, NULL, NULL)",
            erik = id("erik"),
            maria = id("maria"),
            ann = id("ann"),
            case = id("affair"),
            over = id("over"),
            runs = id("runs"),
            late = id("late"),
            asked = id("asked"),
        ),
    );
}

fn maintain(c: &mut Client) -> BTreeMap<String, i64> {
    c.query("SELECT step, done FROM authz_maintain()", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

/// What is decided about everybody, now and at instants of the last nine days.
fn answers(c: &mut Client) -> Vec<(String, i32, bool)> {
    c.query(
        "SELECT p.external_id, d.day, authz_can_at(p.principal_id, 'case.view', $1::uuid, t.now - d.day * interval '1 day' - interval '1 hour')
           FROM authz.principal AS p, generate_series(-1, 10) AS d (day),
                (SELECT max(requested_at) + interval '9 days' AS now FROM authz.privileged_access_session) AS t ORDER BY 1, 2",
        &[&id("affair")],
    )
    .unwrap()
    .iter()
    .map(|row| (row.get(0), row.get(1), row.get(2)))
    .collect()
}

#[test]
fn r56_what_has_run_out_is_closed_at_its_expiry_and_no_answer_changes() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let before = answers(&mut c);
    assert!(before.iter().any(|(.., allowed)| *allowed) && before.iter().any(|(.., allowed)| !*allowed));
    let done = maintain(&mut c);
    for step in [
        "role assignments closed",
        "access grants closed",
        "tenant memberships closed",
        "privileged sessions closed",
        "approvals that were not used in time closed",
    ] {
        assert_eq!(done.get(step), Some(&1), "{step}: {done:?}");
    }
    assert_eq!(answers(&mut c), before);
    let exact: bool = value(
        &mut c,
        "SELECT (SELECT bool_and(revoked_at = expires_at) FROM authz.principal_role_assignment WHERE revoked_at IS NOT NULL)
            AND (SELECT bool_and(revoked_at = expires_at) FROM authz.resource_access_grant WHERE revoked_at IS NOT NULL)
            AND (SELECT bool_and(revoked_at = expires_at AND status = 'revoked') FROM authz.tenant_membership WHERE revoked_at IS NOT NULL)
            AND (SELECT bool_and(ended_at = expires_at) FROM authz.privileged_access_session WHERE started_at < now() AND ended_at IS NOT NULL)",
        &[],
    );
    assert!(exact, "closed at the instant of the expiry, not of the maintenance");
    let open: i64 = value(
        &mut c,
        "SELECT (SELECT count(*) FROM authz.principal_role_assignment WHERE revoked_at IS NULL)
              + (SELECT count(*) FROM authz.resource_access_grant WHERE revoked_at IS NULL)
              + (SELECT count(*) FROM authz.tenant_membership WHERE revoked_at IS NULL)
              + (SELECT count(*) FROM authz.privileged_access_session WHERE ended_at IS NULL)",
        &[],
    );
    assert_eq!(
        open, 5,
        "what has not run out is open, a request that nobody has answered as well"
    );
    let again = maintain(&mut c);
    assert!(again.values().all(|done| *done == 0), "{again:?}");
    let reason: String = value(&mut c, "SELECT current_setting('authz.change_reason')", &[]);
    assert_eq!(reason, "", "the caller's reason for changes is its own again");
}

#[test]
fn each_row_that_is_closed_leaves_a_change_event_that_says_why() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let events = |c: &mut Client| -> i64 {
        value(
            c,
            "SELECT count(*) FROM authz.access_change_event WHERE reason = 'expired'",
            &[],
        )
    };
    assert_eq!(events(&mut c), 0);
    maintain(&mut c);
    assert!(events(&mut c) >= 4, "assignment, grant, membership and session");
}

#[test]
fn rows_in_use_are_left_for_the_next_time_and_two_runs_do_not_wait_for_each_other() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let mut other = db.connect();
    execute(
        &mut other,
        "BEGIN; SELECT FROM authz.principal_role_assignment FOR UPDATE",
    );
    execute(&mut c, "SET lock_timeout = '5s'");
    let done = maintain(&mut c);
    assert_eq!(done["role assignments closed"], 0);
    assert_eq!(done["access grants closed"], 1);
    execute(&mut other, "ROLLBACK");
    assert_eq!(maintain(&mut c)["role assignments closed"], 1);
    // Several at once, over many rows, in portions.
    execute(
        &mut c,
        &format!(
            "INSERT INTO authz.resource_access_grant
                 (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code, granted_at, expires_at)
             SELECT '{}', 'case', gen_random_uuid()::text, 'principal', '{}', 'case.view', now() - interval '2 days', now() - interval '1 day'
               FROM generate_series(1, 500)",
            id("acme"),
            id("erik")
        ),
    );
    let closed: i64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut c = db.connect();
                scope.spawn(move || {
                    (0..4)
                        .map(|_| {
                            value::<i64>(
                                &mut c,
                                "SELECT done FROM authz_maintain(100) WHERE step = 'access grants closed'",
                                &[],
                            )
                        })
                        .sum::<i64>()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(closed + maintain(&mut c)["access grants closed"], 500, "each once");
    for bad in ["0", "-1", "NULL"] {
        refused_with_hint(&mut c, &format!("SELECT authz_maintain({bad})"), "22023", &["max_rows"]);
    }
}

/// What keeps one step from being done (a lock, a tenant's malformed settings) does not undo the others.
#[test]
fn a_step_that_fails_takes_nothing_else_back() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let mut other = db.connect();
    execute(
        &mut other,
        "BEGIN; LOCK TABLE authz.tenant_membership IN EXCLUSIVE MODE",
    );
    execute(
        &mut c,
        "SET lock_timeout = '1s'; SET deadlock_timeout = '100ms';
         UPDATE authz.tenant SET settings = '{\"privileged_access\": {\"start_window\": \"soon\"}}'",
    );
    let done = c
        .query("SELECT step, done FROM authz_maintain()", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect::<BTreeMap<String, Option<i64>>>();
    let of = |step: &str| done[step];
    assert_eq!(of("role assignments closed"), Some(1));
    assert_eq!(of("access grants closed"), Some(1));
    assert_eq!(of("tenant memberships closed"), None, "somebody holds the table");
    assert_eq!(of("privileged sessions closed"), Some(1));
    assert_eq!(
        of("approvals that were not used in time closed"),
        None,
        "the setting is no interval"
    );
    assert!(of("partitions of the audit tables made").is_some());
    let reason: String = value(&mut c, "SELECT current_setting('authz.change_reason')", &[]);
    assert_eq!(reason, "");
    execute(&mut other, "ROLLBACK");
    execute(&mut c, "UPDATE authz.tenant SET settings = '{}'");
    let done = maintain(&mut c);
    assert_eq!(done["tenant memberships closed"], 1);
    assert_eq!(done["approvals that were not used in time closed"], 1);
}

#[test]
fn maintenance_is_for_those_who_are_granted_it() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let role = db.role();
    let mut r = db.connect_as(&role);
    refused(&mut r, "SELECT authz_maintain()", "42501", &["authz_maintain"]);
    execute(&mut c, &format!("GRANT EXECUTE ON FUNCTION authz_maintain TO {role}"));
    assert_eq!(maintain(&mut r)["role assignments closed"], 1);
}

/// By pg_cron, where this PostgreSQL has it (Debian: package postgresql-15-cron), as docs/operations.md says; else by the
/// command that the same page names for any other scheduler.
#[test]
fn r56_a_scheduler_runs_it() {
    let has_cron: bool = {
        let db = Db::with(Start::Empty);
        value(
            &mut db.connect(),
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')",
            &[],
        )
    };
    let open = |c: &mut Client| -> i64 {
        value(
            c,
            "SELECT count(*) FROM authz.principal_role_assignment WHERE revoked_at IS NULL AND expires_at <= now()",
            &[],
        )
    };
    if !has_cron {
        println!("this PostgreSQL has no pg_cron: run by psql instead");
        let db = Db::new();
        let mut c = db.connect();
        fill(&mut c);
        authz_tests::run(
            db.command("psql")
                .args(["-X", "-q", "-c", "SELECT * FROM authz_maintain()"]),
        );
        assert_eq!(open(&mut c), 0);
        return;
    }
    let cluster = Cluster::start(&[
        "shared_preload_libraries = pg_cron",
        "cron.database_name = postgres",
        "cron.use_background_workers = on",
        "max_worker_processes = 16",
    ]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut c = db.connect();
    fill(&mut c);
    assert_eq!(open(&mut c), 1);
    let mut cron = cluster.server.connect("postgres", "postgres");
    execute(
        &mut cron,
        &format!(
            "CREATE EXTENSION pg_cron;
             SELECT cron.schedule_in_database('authz_maintain', '* * * * *', 'SELECT * FROM authz_maintain()', '{}')",
            db.name
        ),
    );
    let begin = Instant::now();
    while open(&mut c) > 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(130),
            "pg_cron, which begins each minute, has not run it"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    execute(&mut cron, "SELECT cron.unschedule('authz_maintain')");
}
