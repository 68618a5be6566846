//! Beside the table and its parts themselves: what takes their place, histories, children, registrations.

use super::{Case, LEVELS, while_it_is_done, with_ids, world};
use authz_tests::make::id;
use authz_tests::waiting::{soon, until_it_waits};
use authz_tests::{Db, execute, report, value};
use postgres::Client;

/// PostgreSQL itself answers these by the part that has been taken away, if the table is new to the session, as it locks the
/// parts of a table after it has listed them; the extension does not.
#[test]
fn a_part_that_takes_the_place_of_another_counts_and_the_other_does_not() {
    let db = Db::new();
    let mut c = world(
        &db,
        "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text);
         CREATE TABLE public.heir () INHERITS (public.thing);
         CREATE TABLE public.other (LIKE public.thing);
         INSERT INTO public.heir VALUES ('#acme', 5, '#team'), ('#globex', 2, NULL);
         INSERT INTO public.other VALUES ('#acme', 6, '#team'), ('#globex', 2, NULL)",
    );
    let swap = "LOCK TABLE public.heir; ALTER TABLE public.heir NO INHERIT public.thing; ALTER TABLE public.other INHERIT public.thing";
    let back = "ALTER TABLE public.heir INHERIT public.thing; ALTER TABLE public.other NO INHERIT public.thing";
    for key in [2, 5, 6] {
        let then = (key == 6, "2 6");
        let case = Case {
            made: "",
            done: swap,
            key,
            then,
            afterwards: then,
        };
        for (who, answers) in while_it_is_done(&db, &mut c, &case, "COMMIT") {
            let (can, list) = then;
            assert_eq!(answers[..2], [can.to_string(), list.to_owned()], "{who}, about {key}");
        }
        execute(&mut c, back);
    }
}

/// The same of a history: what it said of a row, and says, is not "nothing", by which the row would count as it is now.
#[test]
fn a_history_whose_parts_change_while_a_check_waits_is_not_without_the_row() {
    let db = Db::new();
    let mut c = world(
        &db,
        "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL, team uuid, note text);
         CREATE TABLE public.was (tenant uuid, key int, team uuid, since timestamptz, until timestamptz);
         CREATE TABLE public.was_first () INHERITS (public.was);
         CREATE TABLE public.was_then (LIKE public.was);
         INSERT INTO public.was_first VALUES ('#acme', 2, NULL, '2020-01-01', NULL);
         INSERT INTO public.was_then VALUES ('#acme', 2, NULL, '2020-01-01', NULL)",
    );
    execute(
        &mut c,
        "INSERT INTO authz.resource_history
         VALUES ('thing', 'team', 'public.was', 'key', 'tenant', 'team', 'since', 'until', NULL, NULL)",
    );
    let at: String = value(&mut c, "SELECT clock_timestamp()::text", &[]);
    let ask = with_ids(&format!("SELECT authz_can_at('#alice', 'thing.view', 2, '{at}')"));
    assert!(!value::<bool>(&mut c, &ask, &[]), "it was of no team");
    assert!(value::<bool>(
        &mut c,
        &ask.replace(&format!(", '{at}'"), "").replace("can_at", "can"),
        &[]
    ));
    let (mut asker, mut watcher) = (db.connect(), db.connect());
    let pid: i32 = value(&mut asker, "SELECT pg_backend_pid()", &[]);
    execute(
        &mut c,
        "BEGIN; ALTER TABLE public.was_first NO INHERIT public.was; ALTER TABLE public.was_then INHERIT public.was",
    );
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| value::<bool>(&mut asker, &ask, &[]));
        until_it_waits(&mut watcher, pid);
        execute(&mut c, "COMMIT");
        asking.join().expect("no panic")
    });
    assert!(!answer, "it was of no team, whichever part says so");
    assert!(!value::<bool>(&mut c, &ask, &[]));
}

/// Children of things, of which row security shows those whose thing Alice sees: also in parallel workers.
#[test]
fn rows_whose_parents_table_is_waited_for_are_shown_by_what_it_is_then() {
    for parallel in [false, true] {
        let db = Db::new();
        let mut c = world(&db, LEVELS);
        execute(
            &mut c,
            &with_ids(
                "CREATE TABLE public.child (tenant uuid NOT NULL, id int PRIMARY KEY, thing int);
                 INSERT INTO public.child SELECT '#acme', n, (ARRAY[2, 3, 20])[n % 3 + 1] FROM generate_series(1, 300) AS n;
                 ALTER TABLE public.child SET (parallel_workers = 2);
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
                 VALUES ('child.view', 'child', 'view');
                 SELECT authz_protect('public.child', 'child', 'id', 'tenant', parent => 'thing', parent_type => 'thing',
                                      create_indexes => true);
                 INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('holder', 'child.view');
                 INSERT INTO public.thing SELECT '#acme', n, NULL FROM generate_series(100, 20000) AS n;
                 ANALYZE public.child, public.thing",
            ),
        );
        let role = db.role();
        execute(
            &mut c,
            &format!("GRANT EXECUTE ON FUNCTION authz_set_session TO {role}; GRANT SELECT ON public.child TO {role}"),
        );
        let mut askers: Vec<Client> = (0..2).map(|_| db.connect_as(&role)).collect();
        for asker in &mut askers {
            if parallel {
                execute(
                    asker,
                    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
                     SET parallel_leader_participation = off; SET enable_indexscan = off; SET enable_bitmapscan = off",
                );
            }
            let set = format!("SELECT authz_set_session('{}', is_local => false)", id("alice"));
            asker.query(&set, &[]).unwrap_or_else(|e| panic!("{}", report(&e)));
        }
        let count = "SELECT count(*) FROM public.child";
        let plan: Vec<String> = askers[0]
            .query(&format!("EXPLAIN {count}"), &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(plan.iter().any(|line| line.contains("Gather")), parallel, "{plan:#?}");
        // One has looked already.
        assert_eq!(value::<i64>(&mut askers[0], count, &[]), 200);
        let mut watcher = db.connect();
        execute(
            &mut c,
            "BEGIN; LOCK TABLE public.lowest; ALTER TABLE public.thing DETACH PARTITION public.low",
        );
        let counts: Vec<i64> = std::thread::scope(|scope| {
            let asking: Vec<_> = askers
                .iter_mut()
                .map(|asker| {
                    let pid: i32 = value(asker, "SELECT pg_backend_pid()", &[]);
                    (pid, scope.spawn(|| value::<i64>(asker, count, &[])))
                })
                .collect();
            for (pid, _) in &asking {
                soon("it, or a worker of its own, waits for a lock", || {
                    value(
                        &mut watcher,
                        "SELECT EXISTS (SELECT FROM pg_stat_activity
                                         WHERE $1 IN (pid, leader_pid) AND wait_event_type = 'Lock')",
                        &[pid],
                    )
                });
            }
            execute(&mut c, "COMMIT");
            asking
                .into_iter()
                .map(|(_, asking)| asking.join().expect("no panic"))
                .collect()
        });
        assert_eq!(counts, [100, 100], "parallel: {parallel}");
    }
}

/// Columns and registrations that change together are not mixed: names from before would mean other columns now.
#[test]
fn a_registration_that_changes_with_its_table_is_that_of_the_table() {
    let made = "CREATE TABLE public.thing (tenant uuid NOT NULL, key int NOT NULL PRIMARY KEY, team uuid, squad uuid);
        CREATE TABLE public.other (tenant uuid NOT NULL, key int NOT NULL PRIMARY KEY, squad uuid, team uuid);
        INSERT INTO public.other VALUES ('#acme', 2, '#team', NULL), ('#acme', 3, NULL, '#team')";
    for (done, then) in [
        (
            "ALTER TABLE public.thing RENAME team TO gone; ALTER TABLE public.thing RENAME squad TO team;
             UPDATE authz.resource_type SET team_column = 'gone' WHERE resource_type = 'thing'",
            "2",
        ),
        (
            "LOCK TABLE public.thing;
             UPDATE authz.resource_type SET team_column = 'squad', target = 'public.other' WHERE resource_type = 'thing'",
            "2",
        ),
        (
            "ALTER TABLE public.thing RENAME TO old; ALTER TABLE public.other RENAME TO thing;
             UPDATE authz.resource_type SET target = 'public.thing' WHERE resource_type = 'thing'",
            "3",
        ),
    ] {
        for key in [2, 3] {
            let db = Db::new();
            let mut c = world(&db, made);
            execute(&mut c, &with_ids("UPDATE public.thing SET squad = '#team' WHERE key = 3"));
            let can = (then == key.to_string()).to_string();
            let case = Case {
                made,
                done,
                key,
                then: (false, ""),
                afterwards: (false, ""),
            };
            for (who, answers) in while_it_is_done(&db, &mut c, &case, "COMMIT") {
                assert_eq!(answers[..2], [&can, then], "{who}, about {key}: {done}");
            }
        }
    }
}
