//! Random policies: every plan, way and command shows and changes the rows that the check allows (R20, R21, PITFALLS 3).

mod reading;
mod writing;

use crate::{Key, PROTECT, act, application, keys, without_ambiguous};
use authz_tests::make::{self, id};
use authz_tests::policy::Policy;
use authz_tests::{Db, chance, execute, value};
use postgres::Client;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

const POLICIES: u64 = 4;
/// As loaded, and after each of two sets of mutations.
const ROUNDS: usize = 3;
const CONTEXTS: [&str; 3] = [
    "{}",
    r#"{"mfa": true, "region": "eu", "level": 2}"#,
    r#"{"mfa": false, "region": "us", "level": 4, "ticket": "T-1"}"#,
];

struct World {
    db: Db,
    admin: Client,
    app: Client,
    policy: Policy,
    people: Vec<Uuid>,
    tenants: Vec<Uuid>,
    ambiguous: Vec<Key>,
    /// What the run has seen: how many comparisons, and how many rows were in them.
    seen: BTreeMap<&'static str, (u64, u64)>,
}

impl World {
    fn new(seed: u64) -> World {
        let db = Db::new();
        let mut admin = db.connect();
        let now: i64 = value(&mut admin, "SELECT extract(epoch FROM now())::bigint", &[]);
        let now = chrono::DateTime::from_timestamp(now, 0).unwrap();
        let mut policy = Policy::new(seed, now);
        policy.load(&mut admin);
        // Random roles seldom make somebody who sees everything.
        make::principal(&mut admin, "auditor");
        make::role(
            &mut admin,
            "auditor",
            &[
                "case.view",
                "case.view_restricted",
                "case.view_sealed",
                "case.view_deleted",
            ],
        );
        make::assign_platform(&mut admin, id("auditor"), "auditor");
        execute(
            &mut admin,
            "UPDATE authz.operator_profile SET clearance_level = 'L3';
             INSERT INTO authz.operator_profile (principal_id, clearance_level)
             SELECT principal_id, 'L3' FROM authz.principal WHERE external_id = 'auditor'",
        );
        execute(&mut admin, PROTECT);
        let owner = db.role();
        execute(
            &mut admin,
            &format!(
                "CREATE TABLE every_case AS SELECT tenant_id, case_id FROM case_record;
                 CREATE VIEW invoker_view WITH (security_invoker) AS SELECT * FROM case_record;
                 CREATE VIEW definer_view AS SELECT * FROM case_record;
                 GRANT SELECT ON case_record TO {owner}; ALTER VIEW definer_view OWNER TO {owner};
                 ANALYZE"
            ),
        );
        let role = application(&db, &mut admin);
        let mut app = db.connect_as(&role);
        let uuids = |c: &mut Client, sql: &str| -> Vec<Uuid> {
            c.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
        };
        let people = uuids(
            &mut admin,
            "SELECT principal_id FROM authz.principal ORDER BY external_id",
        );
        let tenants = uuids(&mut admin, "SELECT tenant_id FROM authz.tenant ORDER BY slug");
        let ambiguous = keys(
            &mut admin,
            "SELECT r.tenant_id, r.case_id FROM case_record AS r WHERE r.tenant_id IS NULL
                AND (SELECT count(*) FROM case_record AS o WHERE o.case_id = r.case_id) > 1",
        );
        // Made by the first who runs it, for everybody who will.
        act(&mut app, people[0], None, "{}");
        execute(
            &mut app,
            "COMMIT; SET plan_cache_mode = force_generic_plan;
             PREPARE cases AS SELECT tenant_id, case_id FROM case_record;
             PREPARE the_case (uuid) AS SELECT tenant_id, case_id FROM case_record WHERE case_id = $1;
             PREPARE documents AS SELECT tenant_id, document_id FROM case_document",
        );
        World {
            db,
            admin,
            app,
            policy,
            people,
            tenants,
            ambiguous,
            seen: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn equal(&mut self, what: &'static str, found: Vec<Key>, expected: &[Key], label: &dyn Fn() -> String) {
        let found = without_ambiguous(found, &self.ambiguous);
        let count = self.seen.entry(what).or_default();
        count.0 += 1;
        count.1 += expected.len() as u64;
        if found != expected {
            let more: Vec<_> = found.iter().filter(|k| !expected.contains(k)).collect();
            let less: Vec<_> = expected.iter().filter(|k| !found.contains(k)).collect();
            panic!(
                "{what} shows {} rows where the check allows {}: too many {more:?}, missing {less:?}\n{}",
                found.len(),
                expected.len(),
                label()
            );
        }
    }
}

fn one_policy(seed: u64) -> BTreeMap<&'static str, (u64, u64)> {
    let mut world = World::new(seed);
    let mut changes: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let people = world.people.clone();
        for (n, principal) in people.into_iter().enumerate() {
            let label = format!("AUTHZ_SEED={seed} AUTHZ_POLICIES=1, round {round}, changes so far: {changes:#?}");
            let context = CONTEXTS[(n + round) % CONTEXTS.len()];
            world.compare((principal, None, context), &label);
            let tenant = world.tenants[(n + round) % world.tenants.len()];
            world.compare((principal, Some(tenant), context), &label);
            world.compare_writes(
                (principal, if n % 2 == 0 { None } else { Some(tenant) }, context),
                &label,
            );
            if n % 3 == round {
                world.compare_changes((principal, None, context), &label);
                world.compare_inserts(
                    (principal, if n % 2 == 0 { None } else { Some(tenant) }, context),
                    &label,
                );
            }
        }
        for _ in 0..8 {
            changes.push(world.policy.mutate(&mut world.admin));
        }
    }
    assert!(!world.db.name.is_empty());
    world.seen
}

#[test]
fn rows_shown_are_the_rows_that_the_check_allows() {
    let seed = chance::seed();
    let policies = chance::number("AUTHZ_POLICIES").unwrap_or(POLICIES);
    let next = AtomicU64::new(0);
    let seen = std::sync::Mutex::new(BTreeMap::<&str, (u64, u64)>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= policies {
                        break;
                    }
                    for (what, (comparisons, rows)) in one_policy(seed + n) {
                        let mut seen = seen.lock().unwrap();
                        let count = seen.entry(what).or_default();
                        count.0 += comparisons;
                        count.1 += rows;
                    }
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    println!("comparisons, and rows in them: {seen:?}");
    // A run in which nobody sees anything proves nothing; one policy alone may well be like that.
    if policies >= POLICIES {
        for (what, (comparisons, rows)) in &seen {
            assert!(
                *comparisons > 0 && *rows > 0,
                "{what}: {rows} rows in {comparisons} comparisons"
            );
        }
    }
}
