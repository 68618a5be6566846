//! Which row has a key is answered as the statement sees the data, whatever has been done to the table and its indexes since it
//! was last looked at: indexes that are younger than the snapshot, that take other keys for equal, or that go while a check
//! waits; other columns, other tables of the same name; transactions that may not both be right.

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, report, value};
use postgres::Client;
use std::time::Duration;

/// A table of things without an index; Alice sees those of the team.
fn world(db: &Db, key: &str) -> Client {
    let mut c = db.connect();
    execute(
        &mut c,
        &format!(
            "CREATE TABLE public.thing (tenant uuid NOT NULL, key {key} NOT NULL, team uuid, note text);
             INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column)
             VALUES ('thing', 'public.thing', 'key', 'tenant', 'team');
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('thing.view', 'thing', 'view')"
        ),
    );
    let tenant = make::tenant(&mut c, "acme");
    make::role(&mut c, "holder", &["thing.view"]);
    make::member(&mut c, tenant, "alice");
    make::team(&mut c, tenant, "team", None, None);
    make::assign(&mut c, tenant, id("alice"), "holder", "team", id("team"));
    c
}

/// A thing of the team, or of nobody's.
fn insert(key: &str, inside: bool) -> String {
    let team = if inside {
        format!("'{}'", id("team"))
    } else {
        "NULL".to_owned()
    };
    format!(
        "INSERT INTO public.thing VALUES ('{}', {key}, {team}, 'new')",
        id("acme")
    )
}

fn question(key: &str) -> String {
    format!("SELECT authz_can('{}', 'thing.view', {key})", id("alice"))
}

/// The answer, which stays the same when it is asked for again.
#[track_caller]
fn can(c: &mut Client, key: &str) -> bool {
    let first = value(c, &question(key), &[]);
    assert_eq!(value::<bool>(c, &question(key), &[]), first, "asked about {key} again");
    first
}

#[test]
fn a_key_that_was_ambiguous_stays_so_for_a_snapshot_older_than_the_unique_index() {
    let db = Db::new();
    let mut c = world(&db, "int");
    execute(&mut c, "CREATE INDEX ON public.thing (key)");
    execute(&mut c, &insert("1", true));
    execute(&mut c, &insert("1", false));
    let mut old = db.connect();
    execute(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(!can(&mut old, "1"));
    // The index needs no lock that a reader's conflicts with.
    execute(
        &mut c,
        "DELETE FROM public.thing WHERE team IS NULL; CREATE UNIQUE INDEX ON public.thing (key)",
    );
    assert!(can(&mut c, "1"));
    assert!(!can(&mut old, "1"), "two rows have the key for this snapshot");
    execute(&mut old, "COMMIT");
    assert!(can(&mut old, "1"));
}

/// So for a cursor of the transaction that makes the index, and for a snapshot that is imported from an older one.
#[test]
fn nor_does_ones_own_index_or_an_imported_snapshot_make_it_unique() {
    let db = Db::new();
    let mut c = world(&db, "int");
    execute(&mut c, &insert("1", true));
    execute(&mut c, &insert("1", false));
    let mut exporter = db.connect();
    execute(&mut exporter, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let snapshot: String = value(&mut exporter, "SELECT pg_export_snapshot()", &[]);
    let mut other = db.connect();
    {
        let mut tx = c.transaction().expect("a transaction");
        execute(
            &mut tx,
            &format!(
                "DECLARE before NO SCROLL CURSOR FOR {} FROM generate_series(1, 4)",
                question("1")
            ),
        );
        assert!(!value::<bool>(&mut tx, "FETCH before", &[]));
        execute(
            &mut tx,
            "DELETE FROM public.thing WHERE team IS NULL; CREATE UNIQUE INDEX ON public.thing (key)",
        );
        for _ in 0..2 {
            assert!(value::<bool>(&mut tx, &question("1"), &[]));
            assert!(
                !value::<bool>(&mut tx, "FETCH before", &[]),
                "the cursor sees both rows"
            );
        }
        tx.commit().expect("committed");
    }
    assert!(can(&mut other, "1"));
    execute(
        &mut other,
        &format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'"),
    );
    assert!(!can(&mut other, "1"), "of a backend that has used the index already");
}

#[test]
fn an_index_whose_rows_had_other_keys_is_not_searched_by_an_older_snapshot() {
    for unique in ["", "UNIQUE"] {
        let db = Db::new();
        let mut c = world(&db, "int");
        execute(&mut c, &insert("1", true));
        execute(&mut c, &insert("2", false));
        let mut old = db.connect();
        execute(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert!(can(&mut old, "1") && !can(&mut old, "2") && !can(&mut old, "7"));
        // In place, as there is no index on the key: the chain of versions is under the new key alone.
        execute(
            &mut c,
            &format!(
                "UPDATE public.thing SET key = 7 WHERE key = 1; CREATE {unique} INDEX thing_key ON public.thing (key)"
            ),
        );
        let broken: bool = value(
            &mut c,
            "SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'thing_key'::regclass",
            &[],
        );
        assert!(broken, "PostgreSQL's planner would not use it either");
        assert!(!can(&mut c, "1") && can(&mut c, "7"));
        assert!(can(&mut old, "1"), "the snapshot sees the row under its old key");
        assert!(!can(&mut old, "7"), "and not under its new one");
        execute(&mut old, "COMMIT");
        assert!(!can(&mut old, "1") && can(&mut old, "7"));
    }
}

/// PITFALLS 5: an index by which "ABC" equals "abc", or by which blanks at the end do not count, leads to rows with other keys.
#[test]
fn a_row_whose_key_is_equal_only_to_an_index_is_not_found() {
    let db = Db::new();
    let mut c = world(&db, "text");
    execute(
        &mut c,
        "CREATE COLLATION public.careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    execute(&mut c, &insert("'ABC'", true));
    execute(&mut c, &insert("'blank '", true));
    for columns in [
        "key COLLATE public.careless",
        "key bpchar_ops",
        "tenant, key COLLATE public.careless",
    ] {
        for unique in ["", "UNIQUE"] {
            execute(
                &mut c,
                &format!("CREATE {unique} INDEX careless ON public.thing ({columns})"),
            );
            for more in [String::new(), format!(", '{}'", id("acme"))] {
                assert!(can(&mut c, &format!("'ABC'{more}")));
                assert!(can(&mut c, &format!("'blank '{more}")));
                for other in ["abc", "Abc", "blank", "blank  "] {
                    assert!(
                        !can(&mut c, &format!("'{other}'{more}")),
                        "{other}{more} by {unique} ({columns})"
                    );
                }
            }
            execute(&mut c, "DROP INDEX public.careless");
        }
    }
}

/// Not even of the key 0, whose row was where it is now.
#[test]
fn a_row_without_a_key_is_nobodys() {
    for (key, zero) in [("int", "0"), ("text", "'0'")] {
        let db = Db::new();
        let mut c = world(&db, key);
        execute(
            &mut c,
            "ALTER TABLE public.thing ALTER key DROP NOT NULL; CREATE UNIQUE INDEX ON public.thing (key)",
        );
        execute(&mut c, &insert(zero, false));
        execute(&mut c, &insert("'5'", false));
        assert!(!can(&mut c, zero));
        execute(&mut c, "DELETE FROM public.thing WHERE key <> '5'");
        execute(&mut c, "VACUUM public.thing");
        execute(&mut c, &insert("NULL", true));
        let place: String = value(&mut c, "SELECT ctid::text FROM public.thing WHERE key IS NULL", &[]);
        assert_eq!(place, "(0,1)");
        assert!(!can(&mut c, zero), "{zero} of type {key}");
        let listed: i64 = value(
            &mut c,
            &format!("SELECT count(*) FROM authz_resources('{}', 'thing.view')", id("alice")),
            &[],
        );
        assert_eq!(listed, 0, "of type {key}");
    }
}

/// What `ddl` does while a check waits for it: the check answers by the table as its statement sees it, without an error.
#[test]
fn an_index_that_goes_while_a_check_waits_for_the_table_is_not_missed() {
    let same = "ALTER TABLE public.thing DROP CONSTRAINT thing_key; ALTER TABLE public.thing ADD CONSTRAINT thing_key ";
    for (ddl, then) in [
        (
            "ALTER TABLE public.thing DROP CONSTRAINT thing_key".to_owned(),
            [true, false],
        ),
        (format!("{same} UNIQUE (key)"), [true, false]),
        (format!("{same} UNIQUE (key) DEFERRABLE"), [true, false]),
        (
            format!(
                "ALTER TABLE public.thing DROP CONSTRAINT thing_key; {}",
                insert("1", false)
            ),
            [false, false],
        ),
    ] {
        let db = Db::new();
        let mut c = world(&db, "int");
        execute(&mut c, "ALTER TABLE public.thing ADD CONSTRAINT thing_key UNIQUE (key)");
        execute(&mut c, &insert("1", true));
        execute(&mut c, &insert("2", false));
        let mut waiters = [(db.connect(), "1"), (db.connect(), "2"), (db.connect(), "3")];
        for (waiter, key) in &mut waiters {
            assert_eq!(can(waiter, key), *key == "1");
            // Whoever asks about a place that is not remembered must search.
            execute(waiter, "SELECT count(*) FROM pg_class");
        }
        execute(&mut c, &format!("BEGIN; {ddl}"));
        std::thread::scope(|scope| {
            for (waiter, key) in &mut waiters {
                let ddl = &ddl;
                scope.spawn(move || match waiter.query_one(&question(key), &[]) {
                    Ok(row) => assert_eq!(row.get::<_, bool>(0), *key == "1", "{key}, while waiting for: {ddl}"),
                    Err(e) => panic!("{}\nwaiting for: {ddl}", report(&e)),
                });
            }
            let waiting = "SELECT count(*) = 3 FROM pg_locks WHERE NOT granted AND relation = 'public.thing'::regclass";
            while !value::<bool>(&mut c, waiting, &[]) {
                std::thread::sleep(Duration::from_millis(5));
            }
            execute(&mut c, "COMMIT");
        });
        for (waiter, _) in &mut waiters {
            assert_eq!([can(waiter, "1"), can(waiter, "2")], then, "after: {ddl}");
        }
    }
}

/// The boundary is of the columns that are registered now, and of the table that is.
#[test]
fn columns_and_tables_are_replaced() {
    let db = Db::new();
    let mut c = world(&db, "int");
    let mut reader = db.connect();
    execute(&mut c, "CREATE UNIQUE INDEX ON public.thing (key)");
    execute(&mut c, &insert("1", true));
    assert!(can(&mut c, "1") && can(&mut reader, "1"));
    // (what is done, whether Alice may see 1 then)
    let team = id("team");
    for (sql, then) in [
        // Of the same name, under another number.
        (
            "ALTER TABLE public.thing DROP COLUMN team; ALTER TABLE public.thing ADD COLUMN team uuid".to_owned(),
            false,
        ),
        (format!("UPDATE public.thing SET team = '{team}'"), true),
        (
            "ALTER TABLE public.thing ADD COLUMN squad uuid;
             UPDATE authz.resource_type SET team_column = 'squad' WHERE resource_type = 'thing'"
                .to_owned(),
            false,
        ),
        (
            "ALTER TABLE public.thing RENAME team TO gang; ALTER TABLE public.thing RENAME squad TO team;
             ALTER TABLE public.thing RENAME gang TO squad"
                .to_owned(),
            true,
        ),
        // Keys take each other's places.
        (
            format!(
                "{}; UPDATE public.thing SET key = 0 WHERE key = 1; UPDATE public.thing SET key = 1 WHERE key = 2;
                 UPDATE public.thing SET key = 2 WHERE key = 0",
                insert_named("2")
            ),
            false,
        ),
        (
            "DELETE FROM public.thing WHERE key = 1; UPDATE public.thing SET key = 1 WHERE key = 2".to_owned(),
            true,
        ),
        // Another table of the name, whose rows are in the same places.
        (
            format!(
                "ALTER TABLE public.thing RENAME TO old_thing;
                 CREATE TABLE public.thing (LIKE public.old_thing INCLUDING ALL);
                 {};
                 UPDATE authz.resource_type SET target = 'public.thing' WHERE resource_type = 'thing'",
                insert_named("1")
            ),
            false,
        ),
        (
            "UPDATE authz.resource_type SET target = 'public.old_thing' WHERE resource_type = 'thing'".to_owned(),
            true,
        ),
        ("DROP TABLE public.old_thing".to_owned(), false),
        (
            "UPDATE authz.resource_type SET target = 'public.thing' WHERE resource_type = 'thing'".to_owned(),
            false,
        ),
        (format!("UPDATE public.thing SET squad = '{team}'"), true),
        ("TRUNCATE public.thing".to_owned(), false),
    ] {
        for keep in [false, true] {
            execute(&mut c, &format!("BEGIN; {sql}"));
            assert_eq!(can(&mut c, "1"), then, "inside of: {sql}");
            execute(&mut c, if keep { "COMMIT" } else { "ROLLBACK" });
        }
        assert_eq!(can(&mut c, "1"), then, "after: {sql}");
        assert_eq!(can(&mut reader, "1"), then, "elsewhere after: {sql}");
    }
}

/// A thing of no team, by the names of the columns.
fn insert_named(key: &str) -> String {
    format!(
        "INSERT INTO public.thing (tenant, key) VALUES ('{}', {key})",
        id("acme")
    )
}

/// Two transactions that each check what the other one changes cannot both have been first, however the rows are found.
#[test]
fn serializable_transactions_conflict_over_rows_that_are_found_without_their_index() {
    for remembered in [false, true] {
        let db = Db::new();
        let mut c = world(&db, "int");
        execute(&mut c, "CREATE UNIQUE INDEX ON public.thing (key)");
        // Each on pages of its own, of the table and of the index.
        for n in 1..=1000 {
            execute(&mut c, &insert(&n.to_string(), true));
        }
        let mut two = [(db.connect(), "1", "900"), (db.connect(), "900", "1")];
        for (one, checks, _) in &mut two {
            execute(
                one,
                &format!("SET default_transaction_isolation = serializable; {}", question("5")),
            );
            if remembered {
                assert!(can(one, checks));
            }
            execute(one, "BEGIN");
        }
        for (one, checks, changes) in &mut two {
            assert!(value::<bool>(one, &question(checks), &[]));
            execute(
                one,
                &format!("UPDATE public.thing SET team = NULL WHERE key = {changes}"),
            );
        }
        let ended = two.map(|(mut one, _, _)| one.batch_execute("COMMIT").err());
        let refused: Vec<&str> = ended.iter().flatten().filter_map(|e| Some(e.code()?.code())).collect();
        assert_eq!(refused, ["40001"], "remembered: {remembered}");
    }
}

/// A backend that has used the extension finds the rows of the next one's tables, with whatever numbers they have.
#[test]
fn the_extension_is_made_anew_under_a_backend() {
    let db = Db::with(Start::Extension);
    let mut c = world(&db, "int");
    let mut reader = db.connect();
    execute(&mut c, "CREATE UNIQUE INDEX ON public.thing (key)");
    execute(&mut c, &insert("1", true));
    assert!(can(&mut reader, "1"));
    drop(c);
    execute(
        &mut db.connect(),
        "DROP EXTENSION authz_ext CASCADE; DROP TABLE public.thing; CREATE EXTENSION authz_ext",
    );
    let mut c = world(&db, "int");
    execute(&mut c, "CREATE UNIQUE INDEX ON public.thing (key)");
    execute(&mut c, &insert("1", false));
    assert!(!can(&mut reader, "1"));
    execute(&mut c, &format!("UPDATE public.thing SET team = '{}'", id("team")));
    assert!(can(&mut reader, "1"));
}

/// An unlogged table is empty after a crash, and its rows come back in the same places.
#[test]
fn a_crash_takes_the_rows_of_an_unlogged_table() {
    let cluster = Cluster::start(&[]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut c = world(&db, "int");
    execute(
        &mut c,
        "ALTER TABLE public.thing SET UNLOGGED; CREATE UNIQUE INDEX ON public.thing (key)",
    );
    execute(&mut c, &insert("1", true));
    assert!(can(&mut c, "1"));
    execute(&mut c, "CHECKPOINT");
    drop(c);
    let name = db.name.clone();
    std::mem::forget(db);
    let cluster = cluster.crash(&[]);
    let mut c = cluster.server.connect(&name, "postgres");
    assert!(!can(&mut c, "1"));
    execute(&mut c, &insert("1", false));
    assert!(!can(&mut c, "1"));
    execute(&mut c, &format!("UPDATE public.thing SET team = '{}'", id("team")));
    assert!(can(&mut c, "1"));
}

/// What is broken off in the middle leaves nothing behind: no page held, no borrow, no place that is wrong.
#[test]
fn a_check_that_is_broken_off_leaves_nothing_behind() {
    let cluster = Cluster::start(&[]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut c = world(&db, "int");
    execute(
        &mut c,
        &format!(
            "CREATE UNIQUE INDEX ON public.thing (key);
             INSERT INTO public.thing SELECT '{}', n, CASE WHEN n % 2 = 0 THEN '{}'::uuid END
               FROM generate_series(1, 20000) AS n",
            id("acme"),
            id("team")
        ),
    );
    let many = format!(
        "SELECT count(*) FILTER (WHERE authz_can('{}', 'thing.view', n)) FROM generate_series(1, 20000) AS n,
                generate_series(1, 50)",
        id("alice")
    );
    execute(&mut c, "BEGIN");
    for milliseconds in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
        execute(
            &mut c,
            &format!("SAVEPOINT here; SET LOCAL statement_timeout = {milliseconds}"),
        );
        refused(&mut c, &many, "57014", &[]);
        execute(&mut c, "ROLLBACK TO here");
        assert!(can(&mut c, "2") && !can(&mut c, "3"));
    }
    execute(&mut c, "COMMIT");
    execute(&mut c, "VACUUM FULL public.thing");
    assert!(can(&mut c, "2") && !can(&mut c, "3"));
    assert!(!cluster.log().contains("leak"), "{}", cluster.log());
}

/// More rows than are remembered cost no more memory than those.
#[test]
fn many_rows_are_asked_about_within_bounds() {
    let db = Db::new();
    let mut c = world(&db, "int");
    execute(
        &mut c,
        &format!(
            "CREATE UNIQUE INDEX ON public.thing (key);
             INSERT INTO public.thing SELECT '{}', n FROM generate_series(1, 300000) AS n",
            id("acme")
        ),
    );
    let pid: i32 = value(&mut c, "SELECT pg_backend_pid()", &[]);
    let mut memory = |from: i32, to: i32| -> u64 {
        let asked: i64 = value(
            &mut c,
            &format!(
                "SELECT count(*) FROM generate_series({from}, {to}) AS n WHERE authz_can('{}', 'thing.view', n) IS NOT NULL",
                id("alice")
            ),
            &[],
        );
        assert_eq!(asked, i64::from(to - from + 1));
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the backend's status");
        let line = status
            .lines()
            .find(|l| l.starts_with("RssAnon:"))
            .expect("memory of its own");
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("kilobytes")
    };
    memory(1, 300_000);
    let before = memory(1, 150_000);
    let after = memory(1, 300_000);
    assert!(after < before + 1024, "{before} kB, and then {after}");
}
