//! Authority itself, of which tables are altered (an upgrade does that) while sessions load it.

use super::{questions, world};
use authz_tests::make::{self, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{Db, execute, value};

/// A table that is written anew is empty for a snapshot from before: neither does what it gives stay away, nor what it forbids.
#[test]
fn authority_that_is_written_anew_while_it_is_loaded_is_not_taken_for_none() {
    let made = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL PRIMARY KEY, team uuid)";
    for (table, denied) in [
        ("resource_access_rule", true),
        ("principal_role_assignment", false),
        ("principal", false),
        ("role_permission", false),
    ] {
        for done in [
            "ADD COLUMN anew int GENERATED ALWAYS AS (1) STORED",
            "SET (fillfactor = 90)",
        ] {
            let db = Db::new();
            let mut c = world(&db, made);
            if denied {
                let alice = id("alice").to_string();
                make::rule(
                    &mut c,
                    id("acme"),
                    "deny",
                    1,
                    ("tenant", Some(id("acme"))),
                    ("principal", Some(&alice)),
                    Some("thing.view"),
                );
            }
            let (mut asker, mut watcher) = (db.connect(), db.connect());
            let [question, ..] = questions(2);
            execute(
                &mut c,
                &format!("BEGIN; LOCK TABLE authz.{table}; ALTER TABLE authz.{table} {done}"),
            );
            let pid: i32 = value(&mut asker, "SELECT pg_backend_pid()", &[]);
            let first = std::thread::scope(|scope| {
                let asking = scope.spawn(|| asker.query_one(&question, &[]).map(|row| row.get::<_, String>(0)));
                until_it_waits(&mut watcher, pid);
                execute(&mut c, "COMMIT");
                asking.join().expect("no panic")
            });
            let right = (!denied).to_string();
            match first {
                Ok(answer) => assert_eq!(answer, right, "{table}: {done}"),
                Err(e) => assert_eq!(e.code().map(|code| code.code()), Some("40001"), "{table}: {done}: {e}"),
            }
            assert_eq!(
                value::<String>(&mut asker, &question, &[]),
                right,
                "afterwards, {table}: {done}"
            );
            assert_eq!(
                value::<String>(&mut c, &question, &[]),
                right,
                "elsewhere, {table}: {done}"
            );
        }
    }
}
