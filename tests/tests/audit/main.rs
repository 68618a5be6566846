//! Access events (R50, R52): what they say, who can make them say something else (nobody), where they are kept; that they
//! survive whatever rolls back or crashes (R53); that sealed ones cannot be changed without its being named (R54, R56).

mod append_only;
mod check;
mod content;
mod crash;
mod log;
mod partition;
mod seal;
mod tampering;
mod worker;

use authz_tests::make::{self, id};
use authz_tests::waiting::soon;
use authz_tests::{execute, report, value};
use postgres::{Client, GenericClient};

/// Alice may view the case `affair` and not edit it, and what is recorded now has its partitions.
fn fill(c: &mut Client) {
    make::affair(c);
    execute(c, "SELECT authz.prepare_audit_partitions(2)");
}

fn check(c: &mut impl GenericClient, permission: &str) -> bool {
    value(c, &check_sql(permission), &[])
}

fn check_sql(permission: &str) -> String {
    format!(
        "SELECT authz_check('{}', '{permission}', '{}'::uuid)",
        id("alice"),
        id("affair")
    )
}

fn count(c: &mut impl GenericClient) -> i64 {
    value(c, "SELECT count(*) FROM authz.access_audit_event", &[])
}

fn require(permission: &str) -> String {
    format!("SELECT authz_require('{permission}', '{}'::uuid)", id("affair"))
}

/// What is in the queue cannot be written while this connection holds the table.
fn hold(mut holder: Client) -> Client {
    execute(
        &mut holder,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
    );
    holder
}

/// Events of a request.
fn events(c: &mut Client, request: &str) -> i64 {
    value(
        c,
        "SELECT count(*) FROM authz.access_audit_event WHERE request_id = $1",
        &[&request],
    )
}

fn statistics(c: &mut Client) -> (String, i64, i64, i64, i64) {
    let row = c
        .query_one(
            "SELECT audit_outlet, audit_queued, audit_written, audit_waiting, audit_logged FROM authz_stats()",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

#[derive(Debug)]
struct Verdict {
    valid: bool,
    events: i64,
    archived: i64,
    unsealed: i64,
    head: String,
    problem: String,
    table: String,
    key: String,
    detail: String,
}

#[track_caller]
fn verify(c: &mut impl GenericClient, anchor: Option<&str>) -> Verdict {
    let row = c
        .query_one(
            "SELECT valid, events, archived, unsealed, head, coalesce(problem, ''), coalesce(problem_table, ''),
                    coalesce(problem_key, ''), coalesce(detail, '') FROM authz_audit_verify($1)",
            &[&anchor],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    Verdict {
        valid: row.get(0),
        events: row.get(1),
        archived: row.get(2),
        unsealed: row.get(3),
        head: row.get(4),
        problem: row.get(5),
        table: row.get(6),
        key: row.get(7),
        detail: row.get(8),
    }
}

/// Seals, batches and events that were new.
fn seal(c: &mut impl GenericClient) -> (i64, i64) {
    let row = c
        .query_one("SELECT seals, events FROM authz_audit_seal()", &[])
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    (row.get(0), row.get(1))
}

/// Seals until nothing is left: transactions of other databases count as well for what is closed. Seals and events.
fn seal_all(c: &mut Client) -> (i64, i64) {
    let mut all = (0, 0);
    soon("all events are sealed", || {
        let (seals, events) = seal(c);
        all = (all.0 + seals, all.1 + events);
        verify(c, None).unsealed == 0
    });
    all
}

/// Events of several months, transactions and batches.
fn fill_months(c: &mut Client) {
    make::affair(c);
    for n in 0..40 {
        execute(
            c,
            &format!(
                "INSERT INTO authz.access_audit_event (tenant_id, principal_id, action_code, resource_type, resource_id,
                        access_result, policy_reason, request_id, source_ip, user_agent, occurred_at, context, asked_by)
                 SELECT gen_random_uuid(), gen_random_uuid(), 'case.view', 'case', i::text, 'allowed', 'r', 'q' || i,
                        '10.0.0.1'::inet + i, 'agent', '2025-01-01Z'::timestamptz + {n} * interval '3 days' + i * interval '1 hour',
                        jsonb_build_object('n', i, 'x', 1.50), gen_random_uuid()
                   FROM generate_series(1, 15) AS i"
            ),
        );
        match n {
            5 => execute(c, "SELECT authz.prepare_audit_partitions(1)"),
            n if n % 4 == 3 => drop(seal(c)),
            _ => {}
        }
    }
    execute(c, "SELECT authz.prepare_audit_partitions(1)");
    execute(c, &check_sql("case.view"));
    seal_all(c);
}

const UNGUARDED: &str = "ALTER TABLE authz.audit_seal DISABLE TRIGGER ALL;
    DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'authz'::regnamespace AND c.relkind IN ('r', 'p')
                    AND c.relname ~ '^access_(audit|change)_event'
        LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', t); END LOOP; END $$;";
