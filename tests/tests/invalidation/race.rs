//! Checks in many connections while one gives and takes: none that begins after an acknowledged revocation allows (R19,
//! PITFALLS 6).

use crate::{Names, world};
use authz_tests::{Server, execute, report};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Given and taken with the same two statements again and again.
const CYCLES: [(&str, &str); 5] = [
    (
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ('{t}', '{p}', 'viewer', 'case', '{c}')",
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp()
          WHERE principal_id = '{p}' AND role_code = 'viewer' AND revoked_at IS NULL",
    ),
    (
        "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
         VALUES ('{t}', 'case', '{c}', 'team', '{x}', 'case.view')",
        "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = '{x}' AND revoked_at IS NULL",
    ),
    (
        "UPDATE authz.principal SET status = 'active' WHERE principal_id = '{p}'",
        "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{p}'",
    ),
    (
        "UPDATE authz.resource_access_rule SET valid_until = statement_timestamp() WHERE grantee_type = 'any' AND valid_until IS NULL",
        "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type)
         VALUES ('{t}', 'case', '{c}', 'deny', 'any')",
    ),
    (
        "INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('fickle', 'case.view')",
        "UPDATE authz.role_permission SET valid_until = statement_timestamp() WHERE role_code = 'fickle' AND valid_until IS NULL",
    ),
];

/// PITFALLS 6
#[test]
fn no_check_after_an_acknowledged_revocation_allows() {
    const CHECKERS: usize = 8;
    const SECONDS: u64 = 8;
    /// Every third state: 0 = changing, 1 = taken and acknowledged, 2 = given and acknowledged.
    const CHANGING: u64 = 0;

    let (db, mut writer) = world(&Server::shared());
    let names = Names::new(0);
    names.make(&mut writer);
    let prepare = names.fill(
        "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
         INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{x}', '{p}');
         INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('fickle', 'r', 'functional');
         INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ('{t}', '{p}', 'fickle', 'tenant', '{t}')",
    );
    execute(&mut writer, &prepare);

    // The low bits say which of the three, the rest counts, so that a state is not mistaken for a later one like it.
    let state = AtomicU64::new(1);
    let stop = AtomicBool::new(false);
    let (denied, allowed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut cycles = 0u64;
    let role = db.caller();
    std::thread::scope(|scope| {
        for n in 0..CHECKERS {
            let mut client = if n % 2 == 0 { db.connect() } else { db.connect_as(&role) };
            let (state, stop, denied, allowed) = (&state, &stop, &denied, &allowed);
            let (p, c) = (names.principal, names.case);
            scope.spawn(move || {
                // A panic anywhere must end the writer's loop too.
                let _end = EndOnPanic(stop);
                if n >= 4 {
                    execute(&mut client, "SET plan_cache_mode = force_generic_plan");
                }
                let check = client
                    .prepare("SELECT authz_can($1::uuid, 'case.view', $2::uuid)")
                    .unwrap();
                while !stop.load(Ordering::SeqCst) {
                    if n >= 6 {
                        execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ");
                    }
                    for _ in 0..50 {
                        let before = state.load(Ordering::SeqCst);
                        let answer: bool = match client.query_one(&check, &[&p, &c]) {
                            Ok(row) => row.get(0),
                            Err(e) => panic!("{}", report(&e)),
                        };
                        if before % 4 == CHANGING || before != state.load(Ordering::SeqCst) {
                            continue;
                        }
                        if before % 4 == 1 {
                            assert!(
                                !answer,
                                "connection {n} was allowed after the revocation was acknowledged"
                            );
                            denied.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert!(answer, "connection {n} was denied after the grant was acknowledged");
                            allowed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if n >= 6 {
                        execute(&mut client, "COMMIT");
                    }
                }
            });
        }
        let _end = EndOnPanic(&stop);
        let begin = Instant::now();
        let mut given = [false, false, true, true, false];
        let mut turn = 1u64;
        while begin.elapsed() < Duration::from_secs(SECONDS) && !stop.load(Ordering::SeqCst) {
            let which = (cycles as usize) % CYCLES.len();
            // One of the three ways to have a role or grant, and none of the two ways to be kept out.
            let is_allowed = |given: &[bool; 5]| (given[0] || given[1] || given[4]) && given[2] && given[3];
            given[which] = !given[which];
            let sql = names.fill(if given[which] { CYCLES[which].0 } else { CYCLES[which].1 });
            turn += 1;
            state.store(turn * 4 + CHANGING, Ordering::SeqCst);
            execute(&mut writer, &sql);
            state.store(turn * 4 + if is_allowed(&given) { 2 } else { 1 }, Ordering::SeqCst);
            cycles += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let (denied, allowed) = (denied.into_inner(), allowed.into_inner());
    println!("{cycles} changes, {denied} checks after a revocation, {allowed} after a grant");
    assert!(
        cycles >= 100 && denied >= 1_000 && allowed >= 1_000,
        "{cycles} changes, {denied} denied, {allowed} allowed: too few to prove anything"
    );
}

struct EndOnPanic<'a>(&'a AtomicBool);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
