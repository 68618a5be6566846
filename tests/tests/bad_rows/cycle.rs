//! Cycles are refused, also where two sessions add half of one each (R13).

use authz_tests::make::{self, id};
use authz_tests::waiting::{soon, waits};
use authz_tests::{execute, refused, value};

/// R13
#[test]
fn cycles_are_refused_with_their_path() {
    let (_db, mut c) = make::acme();
    let acme = id("acme");
    for role in ["one", "two", "three"] {
        make::role(&mut c, role, &[]);
    }
    make::inherit(&mut c, "one", "two");
    make::inherit(&mut c, "two", "three");
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('three', 'one')",
        "23514",
        &["three -> one -> two -> three"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('one', 'one')",
        "23514",
        &["one -> one"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.permission_implication VALUES ('case.view', 'case.admin')",
        "23514",
        &["case.admin", "->"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.permission_implication VALUES ('case.view', 'case.view')",
        "23514",
        &["case.view"],
    );
    make::team(&mut c, acme, "squad", Some(id("crew")), None);
    refused(
        &mut c,
        &format!(
            "UPDATE authz.team SET parent_team_id = '{}' WHERE team_id = '{}'",
            id("squad"),
            id("crew")
        ),
        "23514",
        &["->", &id("squad").to_string(), &id("crew").to_string()],
    );
    make::organization(&mut c, acme, "branch", Some(id("firm")));
    refused(
        &mut c,
        &format!(
            "UPDATE authz.organization SET parent_organization_id = '{}' WHERE organization_id = '{}'",
            id("branch"),
            id("firm")
        ),
        "23514",
        &["->", &id("branch").to_string()],
    );
    refused(
        &mut c,
        &format!(
            "UPDATE authz.team SET parent_team_id = team_id WHERE team_id = '{}'",
            id("crew")
        ),
        "23514",
        &["->"],
    );
    // Half a cycle that has ended does not count.
    execute(
        &mut c,
        "UPDATE authz.role_inheritance SET valid_until = statement_timestamp() WHERE role_code = 'two'",
    );
    make::inherit(&mut c, "three", "one");
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('two', 'three')",
        "23514",
        &["->"],
    );
}

/// Two sessions that each add half of a cycle before either commits: one of them must fail, under every isolation
/// level, and what is left must be no cycle (R13).
fn concurrent_halves(first: &str, second: &str, rest: &str) {
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let (db, mut c) = make::acme();
        execute(&mut c, rest);
        let (mut a, mut b) = (db.connect(), db.connect());
        for client in [&mut a, &mut b] {
            execute(
                client,
                &format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM authz.role_inheritance"),
            );
        }
        let pid: i32 = value(&mut b, "SELECT pg_backend_pid()", &[]);
        execute(&mut a, first);
        let second = second.to_owned();
        let late = std::thread::spawn(move || {
            let done = b.batch_execute(&second).and_then(|()| b.batch_execute("COMMIT"));
            done.map_err(|e| {
                e.code()
                    .map(|code| code.code().to_owned())
                    .unwrap_or_else(|| e.to_string())
            })
        });
        soon("the second half waits or ends", || {
            late.is_finished() || waits(&mut c, pid)
        });
        execute(&mut a, "COMMIT");
        let outcome = late.join().unwrap();
        match (isolation, outcome.as_ref().map_err(String::as_str)) {
            (_, Err("23514")) | ("REPEATABLE READ" | "SERIALIZABLE", Err("40001")) => {}
            _ => panic!("{isolation}: the second half ended with {outcome:?}"),
        }
    }
}

#[test]
fn concurrent_halves_of_a_role_cycle() {
    let edge = |a: &str, b: &str| {
        format!("INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('{a}', '{b}')")
    };
    concurrent_halves(
        &edge("one", "two"),
        &edge("two", "one"),
        "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('one', 'r', 'x'), ('two', 'r', 'x')",
    );
}

#[test]
fn concurrent_halves_of_a_team_cycle() {
    let teams = format!(
        "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{0}', '{1}', 'x'), ('{0}', '{2}', 'y')",
        id("acme"),
        id("x"),
        id("y")
    );
    let below = |a: &str, b: &str| {
        format!(
            "UPDATE authz.team SET parent_team_id = '{}' WHERE team_id = '{}'",
            id(b),
            id(a)
        )
    };
    concurrent_halves(&below("x", "y"), &below("y", "x"), &teams);
}
