//! An index is locked on a standby for as long as it is searched, and not longer: who waits for it does not search what it was
//! before, and what is broken off leaves no lock that would keep replay waiting.

use super::{can, heedless, insert, question, world};
use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::waiting::until_it_waits;
use authz_tests::{Db, Start, execute, refused, report, value};
use postgres::Client;

const INDEXED: &str =
    "CREATE UNIQUE INDEX thing_key ON public.thing (key); CREATE INDEX thing_team ON public.thing (team)";

/// The locks on indexes of things that the session holds or waits for.
fn locks(c: &mut Client) -> i64 {
    value(
        c,
        "SELECT count(*) FROM pg_locks AS l JOIN pg_index AS i ON i.indexrelid = l.relation
          WHERE l.pid = pg_backend_pid() AND i.indrelid = 'public.thing'::regclass",
        &[],
    )
}

/// The standby replays what has been written so far, also by transactions that have not ended or have been undone.
fn replay_all(db: &Db, standby: &Cluster) {
    let mut c = db.connect();
    // A commit after which all of it is flushed.
    execute(&mut c, "SELECT pg_logical_emit_message(true, 'flush', '')");
    standby.catch_up(&mut c);
}

/// The primary makes an index anew, without the rows that are dead there and alive for an old snapshot of the standby.
#[test]
fn who_waits_for_an_index_that_is_made_anew_does_not_miss_what_is_not_in_it() {
    let primary = heedless();
    let db = Db::on(&primary.server, Start::Fixture);
    let mut c = world(&db);
    execute(&mut c, INDEXED);
    for key in 1..=3 {
        execute(&mut c, &insert(key, true));
    }
    let standby = primary.standby_with(&["hot_standby_feedback = off"]);
    // Replay would end the old transactions when the catalogs are cleaned, which this keeps as they are.
    execute(
        &mut c,
        "SELECT pg_create_logical_replication_slot('catalogs', 'pgoutput')",
    );
    standby.catch_up(&mut c);
    let list = format!(
        "SELECT count(*)::text FROM authz_resources('{}', 'thing.view')",
        id("alice")
    );
    let mut askers =
        [question(1) + "::text", list].map(|question| (question, standby.server.connect(&db.name, "postgres")));
    for (question, asker) in &mut askers {
        // They know the table, but not where this row is.
        execute(asker, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        value::<String>(asker, &question.replace(", 1)", ", 2)"), &[]);
    }
    let mut watcher = standby.server.connect(&db.name, "postgres");
    execute(&mut c, "DELETE FROM public.thing WHERE key = 1");
    execute(
        &mut c,
        "BEGIN; REINDEX INDEX public.thing_key; REINDEX INDEX public.thing_team",
    );
    replay_all(&db, &standby);
    let answers = std::thread::scope(|scope| {
        let asking = askers.each_mut().map(|(question, asker)| {
            let pid: i32 = value(asker, "SELECT pg_backend_pid()", &[]);
            (pid, scope.spawn(|| value::<String>(asker, question, &[])))
        });
        for (pid, _) in &asking {
            until_it_waits(&mut watcher, *pid);
        }
        execute(&mut c, "COMMIT");
        asking.map(|(_, asking)| asking.join().expect("no panic"))
    });
    assert_eq!(answers, ["true", "3"]);
    for (_, asker) in &mut askers {
        execute(asker, "COMMIT");
        assert!(!can(asker, 1) && can(asker, 2));
    }
}

/// Transactions that go on after a search of theirs was broken off, or that have a cursor between two searches, are in nobody's
/// way: replay, which waits as long as it takes, drops the indexes.
#[test]
fn what_is_broken_off_holds_no_index() {
    let primary = heedless();
    let db = Db::on(&primary.server, Start::Fixture);
    let mut c = world(&db);
    execute(&mut c, INDEXED);
    execute(
        &mut c,
        &format!(
            "INSERT INTO public.thing SELECT '{}', n, CASE WHEN n % 2 = 0 THEN '{}'::uuid END FROM generate_series(1, 20000) AS n",
            id("acme"),
            id("team")
        ),
    );
    let standby = primary.standby_with(&["hot_standby_feedback = on", "max_standby_streaming_delay = -1"]);
    standby.catch_up(&mut c);
    let mut two = [(); 2].map(|()| standby.server.connect(&db.name, "postgres"));
    let [searcher, waiter] = &mut two;

    // Broken off while it searches.
    let list = format!(
        "SELECT count(*) FROM generate_series(1, 100) AS n, authz_resources('{}', 'thing.view', max_rows => 20000 + n)",
        id("alice")
    );
    let many = format!(
        "SELECT count(*) FILTER (WHERE authz_can('{}', 'thing.view', n)) FROM generate_series(1, 20000) AS n,
                generate_series(1, 50)",
        id("alice")
    );
    execute(searcher, "BEGIN");
    for sql in [&list, &many] {
        for milliseconds in [1, 2, 3, 5, 8, 13, 21] {
            execute(
                searcher,
                &format!("SAVEPOINT here; SET LOCAL statement_timeout = {milliseconds}"),
            );
            refused(searcher, sql, "57014", &[]);
            execute(searcher, "ROLLBACK TO here");
            assert_eq!(locks(searcher), 0);
        }
    }
    assert!(value::<bool>(searcher, &question(2), &[]) && !value::<bool>(searcher, &question(3), &[]));
    assert_eq!(locks(searcher), 0);

    // Broken off while it waits, inside of a transaction that goes on.
    execute(
        &mut c,
        "BEGIN; REINDEX INDEX public.thing_key; REINDEX INDEX public.thing_team",
    );
    replay_all(&db, &standby);
    execute(waiter, "BEGIN; SET LOCAL lock_timeout = '10ms'");
    for search in [
        question(2),
        format!("SELECT authz_resources('{}', 'thing.view')", id("alice")),
    ] {
        execute(
            waiter,
            &format!(
                "DO $$ BEGIN
                     EXECUTE $search$ {search} $search$;
                     RAISE 'it did not wait';
                 EXCEPTION WHEN lock_not_available THEN NULL;
                 END $$"
            ),
        );
        assert_eq!(locks(waiter), 0);
    }
    execute(&mut c, "ROLLBACK");
    replay_all(&db, &standby);
    let mut wait_no_more = || -> bool { value(waiter, &question(2), &[]) };
    assert!(wait_no_more());

    // A cursor, of which more is fetched when its index is gone.
    execute(
        searcher,
        &format!(
            "DECLARE rows NO SCROLL CURSOR FOR SELECT authz_can('{}', 'thing.view', n) FROM generate_series(2, 5) AS n",
            id("alice")
        ),
    );
    let mut fetch = || -> bool {
        let row = searcher.query_one("FETCH rows", &[]);
        row.unwrap_or_else(|e| panic!("{}", report(&e))).get(0)
    };
    assert!(fetch() && !fetch());
    for index in ["thing_key", "thing_team"] {
        // Ends when it has waited for nobody here, and replay when it has not either.
        execute(&mut db.connect(), &format!("DROP INDEX CONCURRENTLY public.{index}"));
        replay_all(&db, &standby);
    }
    assert!(fetch() && !fetch());
    assert!(wait_no_more());
    drop(two);
    for fault in ["don't own a lock", "leak", "PANIC", "TRAP", "terminated by signal"] {
        assert!(!standby.log().contains(fault), "{fault}: {}", standby.log());
    }
}
