//! Nothing that a session holds hides a revocation: prepared statements, old snapshots, rows that were waited for, prepared
//! transactions (R19, PITFALLS 17, 30).

use crate::alice;
use authz_tests::cluster::Cluster;
use authz_tests::make::{self, can, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{Server, execute, value};
use postgres::Client;

#[test]
fn prepared_statements_hold_no_decision() {
    let (db, mut a, mut assignment) = alice(&Server::shared());
    let mut b = db.connect();
    execute(&mut b, "SET plan_cache_mode = force_generic_plan");
    let one = b.prepare("SELECT authz_can($1::uuid, 'case.view', $2::uuid)").unwrap();
    let constant = b
        .prepare(&format!(
            "SELECT authz_can('{}'::uuid, 'case.view', '{}'::uuid)",
            id("alice"),
            id("affair")
        ))
        .unwrap();
    let rows = b
        .prepare("SELECT count(*) > 0 FROM public.case_record WHERE authz_can($1::uuid, 'case.view', case_id)")
        .unwrap();
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        for expected in [true, false, true, false] {
            let arguments: [&(dyn postgres::types::ToSql + Sync); 2] = [&id("alice"), &id("affair")];
            for round in 0..7 {
                // More than five executions, after which a generic plan would be chosen in any case.
                assert_eq!(
                    b.query_one(&one, &arguments).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
                assert_eq!(
                    b.query_one(&constant, &[]).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
                assert_eq!(
                    b.query_one(&rows, &arguments[..1]).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
            }
            if expected {
                make::revoke(&mut a, assignment);
            } else {
                assignment = make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
            }
        }
        execute(&mut b, "COMMIT");
    }
}

#[test]
fn a_message_consumed_by_an_old_snapshot_leaves_nothing_stale() {
    let (db, mut a, assignment) = alice(&Server::shared());
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
        let mut b = db.connect();
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        // The snapshot is taken before the first load of Alice, and stays older than the revocation.
        execute(&mut b, "SELECT count(*) FROM public.case_record");
        let other = make::case(&mut a, id("acme"), &format!("other {isolation}"));
        make::revoke(&mut a, given);
        // Locking a relation for the first time consumes the message.
        execute(&mut b, "SELECT count(*) FROM public.case_document");
        assert!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            "{isolation}: by the assignment on the case"
        );
        // A new row is not in the old snapshot.
        assert!(!can(&mut b, id("alice"), "case.view", other), "{isolation}");
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
        execute(&mut b, "SELECT count(*) FROM public.document_page");
        make::revoke(&mut a, given);
        execute(&mut b, "COMMIT");
        assert!(
            !can(&mut b, id("alice"), "case.view", other),
            "{isolation}: after the transaction"
        );
    }
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    execute(&mut b, "SELECT count(*) FROM public.case_record");
    make::revoke(&mut a, assignment);
    execute(&mut b, "SELECT count(*) FROM public.case_document");
    for _ in 0..3 {
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "loaded by the old snapshot"
        );
    }
    execute(&mut b, "COMMIT");
    assert!(
        !can(&mut b, id("alice"), "case.view", id("affair")),
        "kept after the old snapshot"
    );
}

#[test]
fn a_row_is_checked_again_after_a_lock_wait() {
    // PITFALLS 17: the writer revokes and then overwrites the row; a reader that waited for the lock must decide about
    // the new row by the new authority.
    let (db, mut a, assignment) = alice(&Server::shared());
    let mut b = db.connect();
    let reader_pid: i32 = value(&mut b, "SELECT pg_backend_pid()", &[]);
    let mut transaction = a.transaction().unwrap();
    make::revoke(&mut transaction, assignment);
    execute(
        &mut transaction,
        "UPDATE public.case_record SET title = 'what Alice must not see'",
    );
    let reader = std::thread::spawn(move || {
        b.query(
            "SELECT title FROM public.case_record WHERE case_id = $1 AND authz_can($2::uuid, 'case.view', case_id) FOR UPDATE",
            &[&id("affair"), &id("alice")],
        )
        .map(|rows| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>())
    });
    let mut watcher = db.connect();
    until_it_waits(&mut watcher, reader_pid);
    transaction.commit().unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), Vec::<String>::new());
}

#[test]
fn prepared_transactions() {
    let shared = Server::shared();
    let allowed: String = value(
        &mut shared.connect("postgres", &shared.user),
        "SHOW max_prepared_transactions",
        &[],
    );
    let own = (allowed == "0").then(|| Cluster::start(&["max_prepared_transactions = 4"]));
    let server = own.as_ref().map_or(shared, |cluster| cluster.server.clone());
    let (db, mut a, assignment) = alice(&server);
    let mut b = db.connect();
    let name = &db.name;
    let mut both = |a: &mut Client, expected: bool, moment: &str| {
        assert_eq!(
            can(a, id("alice"), "case.view", id("affair")),
            expected,
            "who prepared, {moment}"
        );
        assert_eq!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            expected,
            "another, {moment}"
        );
    };
    for end in ["ROLLBACK", "COMMIT"] {
        both(&mut a, true, "before");
        execute(&mut a, "BEGIN");
        make::revoke(&mut a, assignment);
        assert!(
            !can(&mut a, id("alice"), "case.view", id("affair")),
            "own change before PREPARE"
        );
        execute(&mut a, &format!("PREPARE TRANSACTION '{name}'"));
        both(&mut a, true, "while prepared");
        execute(&mut db.connect(), &format!("{end} PREPARED '{name}'"));
        both(&mut a, end == "ROLLBACK", &format!("after {end} PREPARED"));
    }
}
