//! Two at once: one of them is refused, static or dynamic (PITFALLS 39).

use crate::{assignment, constraint, used, world};
use authz_tests::make::{self, id};
use authz_tests::{Db, execute, value};
use postgres::Client;
use std::sync::{Arc, Barrier};
use std::thread;

/// Runs statements at once, each in a transaction of its own; how each ended.
fn at_once(db: &Db, level: &str, statements: &[String]) -> Vec<Result<(), String>> {
    let start = Arc::new(Barrier::new(statements.len()));
    let threads: Vec<_> = statements
        .iter()
        .map(|statement| {
            let (mut c, start) = (db.connect(), start.clone());
            let sql = statement.clone();
            let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM authz.principal_role_assignment");
            thread::spawn(move || {
                execute(&mut c, &begin);
                start.wait();
                let done = c.batch_execute(&format!("{sql}; SELECT pg_sleep(0.005); COMMIT"));
                done.map_err(|e| e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()))
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

fn held(c: &mut Client) -> i64 {
    value(
        c,
        "SELECT count(DISTINCT role_code) FROM authz.roles_held(clock_timestamp(), NULL) WHERE principal_id = $1 AND role_code IN ('clerk', 'payer')",
        &[&id("alice")],
    )
}

/// Each of two is right alone; together they are not (PITFALLS 39). At every isolation level.
#[test]
fn static_when_two_run_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, "", "");
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for round in 0..20 {
            let outcomes = at_once(
                &db,
                level,
                &[
                    assignment("alice", "clerk", "acme"),
                    assignment("alice", "payer", "acme"),
                    assignment("alice", "payer", ""),
                    assignment("bob", "payer", "acme"),
                ],
            );
            assert!(held(&mut c) <= 1, "{level} {round}: {outcomes:?}");
            // SERIALIZABLE may let all of them try again.
            assert!(
                level == "SERIALIZABLE" || outcomes[..3].iter().any(Result::is_ok),
                "{level} {round}: {outcomes:?}"
            );
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(
                    ["23514", "40001", "40P01"].contains(&outcome.as_str()),
                    "{level}: {outcome}"
                );
            }
            execute(
                &mut c,
                "UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at) WHERE revoked_at IS NULL",
            );
        }
    }
}

/// Half of the breach by assignment, the other half by inheritance, or by the constraint itself.
#[test]
fn static_when_the_model_changes_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    make::role(&mut c, "helper", &[]);
    for round in 0..20 {
        execute(&mut c, &assignment("alice", "helper", "acme"));
        let outcomes = at_once(
            &db,
            "READ COMMITTED",
            &[
                assignment("alice", "clerk", "acme"),
                "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('helper', 'payer')"
                    .to_owned(),
                format!(
                    "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('round {round}', '{{clerk,payer}}')"
                ),
            ],
        );
        let constrained: bool = value(
            &mut c,
            "SELECT EXISTS (SELECT FROM authz.sod_constraint WHERE active_until > now())",
            &[],
        );
        assert!(!constrained || held(&mut c) <= 1, "{round}: {outcomes:?}");
        for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
            assert!(["23514", "40001", "40P01"].contains(&outcome.as_str()), "{outcome}");
        }
        execute(
            &mut c,
            "UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at) WHERE revoked_at IS NULL;
             UPDATE authz.role_inheritance SET valid_until = greatest(now(), valid_from) WHERE valid_until IS NULL;
             UPDATE authz.sod_constraint SET valid_until = greatest(now(), valid_from) WHERE valid_until IS NULL",
        );
    }
}

#[test]
fn dynamic_when_two_run_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind", ", 'dynamic'");
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    execute(&mut c, &assignment("alice", "payer", "acme"));
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for round in 0..20 {
            let case = format!(
                "case_{}_{}",
                &level[..4].to_lowercase().trim(),
                ["a", "b", "c", "d"][round % 4].repeat(round / 4 + 1)
            );
            let outcomes = at_once(
                &db,
                level,
                &[
                    used("alice", "case.edit", &case),
                    used("alice", "case.approve", &case),
                    used("alice", "case.edit", &case),
                    used("alice", "case.approve", &case),
                ],
            );
            let roles: Vec<String> = value(
                &mut c,
                "SELECT role_codes FROM authz.sod_use WHERE resource_id = $1",
                &[&id(&case).to_string()],
            );
            assert_eq!(roles.len(), 1, "{level} {round}: {outcomes:?}");
            let ok = (
                outcomes[0].is_ok() || outcomes[2].is_ok(),
                outcomes[1].is_ok() || outcomes[3].is_ok(),
            );
            assert!(ok.0 != ok.1, "{level} {round}: {outcomes:?}");
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(["23514", "40001"].contains(&outcome.as_str()), "{level}: {outcome}");
            }
        }
    }
}
