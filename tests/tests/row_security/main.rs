//! Row security shows, and lets be changed, exactly the rows that the check allows: over random policies, by every kind
//! of plan, through every way to a table; and `authz_protect` does what it says, or nothing (R20, R21, PITFALLS 3, 17).
//!
//! `AUTHZ_SEED=n AUTHZ_POLICIES=1` repeats one random policy.

mod identity;
mod race;
mod random;
mod things;

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, report};
use postgres::Client;
use uuid::Uuid;

/// Protects the fixture's tables, with an index on every column that the planner could use.
const PROTECT: &str = "
    SELECT authz_protect('public.case_record', 'case', key => 'case_id', tenant => 'tenant_id',
        organization => 'owning_org_id', team => 'owning_team_id', project => 'project_id', owner => 'owner_id',
        confidentiality => 'confidentiality_level', deleted_at => 'deleted_at',
        insert_permission => 'case.comment', delete_permission => 'case.admin', create_indexes => true);
    SELECT authz_protect('public.case_document', 'document', key => 'document_id', tenant => 'tenant_id',
        confidentiality => 'confidentiality_level', parent => 'case_id', parent_type => 'case', create_indexes => true);
    SELECT authz_protect('public.document_page', 'page', key => 'page_id', tenant => 'tenant_id',
        parent => 'document_id', parent_type => 'document', create_indexes => true);";

/// A login role that may set sessions and use the application's tables, and nothing else.
fn application(db: &Db, c: &mut Client) -> String {
    let role = db.role();
    execute(
        c,
        &format!(
            "GRANT EXECUTE ON FUNCTION authz_set_session TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        ),
    );
    role
}

/// Begins a transaction for somebody.
fn act(c: &mut Client, principal: Uuid, tenant: Option<Uuid>, context: &str) {
    execute(c, "BEGIN");
    become_(c, principal, tenant, context);
}

fn become_(c: &mut Client, principal: Uuid, tenant: Option<Uuid>, context: &str) {
    let context: serde_json::Value = context.parse().unwrap();
    if let Err(e) = c.execute("SELECT authz_set_session($1, $2, $3)", &[&principal, &tenant, &context]) {
        panic!("{}", report(&e));
    }
}

type Key = (Option<Uuid>, Uuid);

/// Keys in order, as many times as they came.
#[track_caller]
fn keys(c: &mut Client, sql: &str) -> Vec<Key> {
    let rows = match c.query(sql, &[]) {
        Ok(rows) => rows,
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    };
    let mut keys: Vec<Key> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    keys.sort();
    keys
}

/// Acme with team red; Alice may view and edit there, by assignments that can be closed.
fn small_world(db: &Db) -> (Client, Uuid) {
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::team(&mut c, acme, "red", None, None);
    make::role(&mut c, "worker", &["case.admin", "document.view"]);
    make::member(&mut c, acme, "alice");
    make::member(&mut c, acme, "bob");
    make::case(&mut c, acme, "affair");
    make::case(&mut c, acme, "other");
    execute(
        &mut c,
        &format!("UPDATE case_record SET owning_team_id = '{}'", id("red")),
    );
    execute(&mut c, PROTECT);
    let assignment = make::assign(&mut c, acme, id("alice"), "worker", "team", id("red"));
    (c, assignment)
}

fn titles(c: &mut Client, sql: &str) -> Vec<String> {
    match c.query(sql, &[]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(e) => panic!("{}\nin: {sql}", report(&e)),
    }
}

/// What the check allows of a table, row by row. A key that is in several tenants needs the tenant, and a row without
/// one has none to give: such rows are left out on both sides.
#[track_caller]
fn allowed(
    admin: &mut Client,
    (table, key): (&str, &str),
    permissions: &[&str],
    (principal, tenant, context): (Uuid, Option<Uuid>, &str),
) -> Vec<Key> {
    let checks: String = permissions
        .iter()
        .map(|p| format!(" AND authz_can('{principal}'::uuid, '{p}', r.{key}::text, r.tenant_id, '{context}'::jsonb)"))
        .collect();
    let of_tenant = tenant.map_or(String::new(), |t| format!(" AND r.tenant_id = '{t}'"));
    keys(
        admin,
        &format!(
            "SELECT r.tenant_id, r.{key} FROM {table} AS r
              WHERE (r.tenant_id IS NOT NULL OR (SELECT count(*) FROM {table} AS o WHERE o.{key} = r.{key}) = 1){of_tenant}{checks}"
        ),
    )
}

/// Leaves out what [`allowed`] leaves out.
fn without_ambiguous(found: Vec<Key>, ambiguous: &[Key]) -> Vec<Key> {
    found.into_iter().filter(|k| !ambiguous.contains(k)).collect()
}

/// How a plan is forced, by name.
const PLANS: [(&str, &str); 5] = [
    (
        "sequential",
        "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off",
    ),
    (
        "index",
        "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off",
    ),
    (
        "bitmap",
        "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
         SET LOCAL work_mem = '64kB'",
    ),
    (
        "parallel",
        "SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
         SET LOCAL parallel_leader_participation = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
         SET LOCAL max_parallel_workers_per_gather = 2",
    ),
    ("custom", "SET LOCAL plan_cache_mode = force_custom_plan"),
];
