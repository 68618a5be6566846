//! A row is looked for where it was last time. Whatever has become of the rows of a table since (new versions beside them or
//! elsewhere, others in their places, pages that are gone, tables written anew), each check answers for the row that has the
//! key now, as its own statement sees the data.

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::waiting::{soon, until_it_waits};
use authz_tests::{Db, Start, chance, execute, report, value};
use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt::Write;

const KEYS: i32 = 12;

/// Alice sees things of the team, which is one of acme's.
fn world(db: &Db, key: &str, unique: &str) -> Client {
    world_of(db, key, unique, "", "")
}

/// The same with a table that is made in parts.
fn world_of(db: &Db, key: &str, unique: &str, partitioned: &str, partitions: &str) -> Client {
    let mut c = db.connect();
    execute(
        &mut c,
        &format!(
            "CREATE TABLE public.thing (tenant uuid NOT NULL, key {key} NOT NULL, team uuid, note text,
                 CONSTRAINT thing_pkey PRIMARY KEY ({unique})) {partitioned};
             {partitions};
             INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, team_column)
             VALUES ('thing', 'public.thing', 'key', 'tenant', 'team');
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('thing.view', 'thing', 'view')"
        ),
    );
    make::tenant(&mut c, "globex");
    let tenant = make::tenant(&mut c, "acme");
    make::role(&mut c, "holder", &["thing.view"]);
    make::member(&mut c, tenant, "alice");
    make::team(&mut c, tenant, "team", None, None);
    make::assign(&mut c, tenant, id("alice"), "holder", "team", id("team"));
    for key in 1..=KEYS {
        execute(&mut c, &insert(key, key % 2 == 0));
    }
    c
}

fn insert(key: i32, inside: bool) -> String {
    format!(
        "INSERT INTO public.thing VALUES ('{}', {key}, {}, 'new') ON CONFLICT DO NOTHING",
        id("acme"),
        team(inside)
    )
}

fn team(inside: bool) -> String {
    if inside {
        format!("'{}'", id("team"))
    } else {
        "NULL".to_owned()
    }
}

/// A query of the keys about which authz_can says something else than the table says; each is asked about twice.
fn differences(more_arguments: &str) -> String {
    format!(
        "SELECT coalesce(string_agg(k::text, ', '), '') FROM generate_series(1, 2) AS r, generate_series(1, 3 * {KEYS}) AS k
         WHERE authz_can('{}', 'thing.view', k{more_arguments})
            IS DISTINCT FROM EXISTS (SELECT FROM public.thing AS t
                                     WHERE t.tenant = '{}' AND t.key::text = k::text AND t.team = '{}')",
        id("alice"),
        id("acme"),
        id("team")
    )
}

/// One statement that changes something. What cannot be done while a transaction reads the table is left to `alone`.
fn change(rng: &mut StdRng, alone: bool) -> String {
    let key = rng.random_range(1..=KEYS);
    let to = rng.random_range(1..=3 * KEYS);
    let inside = rng.random();
    let rewrites = [
        "VACUUM FULL public.thing",
        "CLUSTER public.thing USING thing_pkey",
        "TRUNCATE public.thing",
        "ALTER TABLE public.thing ALTER note TYPE varchar USING note || '.'",
        "ALTER TABLE public.thing ALTER note TYPE text USING note || '.'",
        "REINDEX TABLE public.thing",
    ];
    match rng.random_range(0..if alone { 12 } else { 10 }) {
        0 => format!("UPDATE public.thing SET note = note || 'x' WHERE key = '{key}'"),
        1 | 2 => format!("UPDATE public.thing SET team = {} WHERE key = '{key}'", team(inside)),
        3 => format!(
            "UPDATE public.thing SET key = '{to}' WHERE key = '{key}' AND NOT EXISTS (SELECT FROM public.thing WHERE key = '{to}')"
        ),
        4 => format!("DELETE FROM public.thing WHERE key = '{key}'"),
        5 => insert(to, inside),
        6 => insert(key, inside),
        // One row in the other's place.
        7 => format!("DELETE FROM public.thing WHERE key = '{key}'; {}", insert(key, inside)),
        8 => "VACUUM public.thing".to_owned(),
        9 => "UPDATE public.thing SET note = 'all'".to_owned(),
        // The last pages go back to the system.
        10 => "DELETE FROM public.thing; VACUUM public.thing".to_owned(),
        _ => rewrites[rng.random_range(0..rewrites.len())].to_owned(),
    }
}

fn try_to(c: &mut Client, sql: &str, done: &str) {
    for statement in sql.split("; ") {
        if let Err(e) = c.batch_execute(statement) {
            panic!("{}\nin: {statement}\nafter: {done}", report(&e));
        }
    }
}

fn one_run(key: &str, unique: &str, more_arguments: &str) {
    one_run_in(|db| world(db, key, unique), more_arguments);
}

fn one_run_in(world: impl Fn(&Db) -> Client, more_arguments: &str) {
    let seed = chance::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let db = Db::new();
    let mut writer = world(&db);
    let mut readers = [db.connect(), db.connect(), db.connect()];
    let begin = [
        "BEGIN",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
    ];
    let differences = differences(more_arguments);
    let mut open = [false; 3];
    let mut done = format!("AUTHZ_SEED={seed}\n");
    for _ in 0..700 {
        if rng.random_bool(0.1) {
            for (reader, open) in readers.iter_mut().zip(&mut open) {
                if std::mem::take(open) {
                    execute(reader, "COMMIT");
                }
            }
        }
        let sql = change(&mut rng, open == [false; 3]);
        let statements: Vec<&str> = sql.split("; ").collect();
        // Not all of them can run inside a transaction, whatever the table.
        let ordinary = !["VACUUM", "CLUSTER", "REINDEX"].iter().any(|w| sql.contains(w));
        if ordinary && rng.random_bool(0.2) {
            // What never was is seen by nobody else, and afterwards not by the writer either.
            let _ = writeln!(done, "undone: {sql}");
            try_to(
                &mut writer,
                &format!("BEGIN; SAVEPOINT here; {}", statements.join("; ")),
                &done,
            );
            assert_eq!(value::<String>(&mut writer, &differences, &[]), "", "inside of: {done}");
            try_to(&mut writer, "ROLLBACK TO here", &done);
            assert_eq!(value::<String>(&mut writer, &differences, &[]), "", "after: {done}");
            try_to(&mut writer, "ROLLBACK", &done);
        } else {
            let _ = writeln!(done, "{sql}");
            try_to(&mut writer, &sql, &done);
        }
        assert_eq!(value::<String>(&mut writer, &differences, &[]), "", "after: {done}");
        for ((reader, open), begin) in readers.iter_mut().zip(&mut open).zip(begin) {
            if !*open && rng.random_bool(0.3) {
                execute(reader, begin);
                *open = true;
            }
            assert_eq!(value::<String>(reader, &differences, &[]), "", "{begin}, after: {done}");
        }
    }
}

#[test]
fn a_row_is_found_wherever_it_has_gone() {
    one_run("int", "key", "");
}

#[test]
fn so_is_one_whose_key_is_a_text() {
    one_run("text", "key", "");
}

#[test]
fn so_is_one_whose_key_is_its_tenants() {
    one_run("bigint", "tenant, key", &format!(", '{}'", id("acme")));
}

/// In partitions a row moves when its key does, and each of them may hold the key.
#[test]
fn so_is_one_that_moves_between_partitions() {
    let partitions: Vec<String> = (0..3)
        .map(|n| {
            format!(
                "CREATE TABLE public.thing_{n} PARTITION OF public.thing FOR VALUES WITH (MODULUS 3, REMAINDER {n})"
            )
        })
        .collect();
    let partitions = partitions.join("; ");
    one_run_in(
        |db| world_of(db, "int", "key", "PARTITION BY HASH (key)", &partitions),
        "",
    );
}

/// The same key in two partitions is ambiguous, whichever of the rows was found before; what is detached is not there.
#[test]
fn a_key_that_is_in_two_partitions_is_ambiguous() {
    let db = Db::new();
    let of = |tenant: &str| {
        format!(
            "CREATE TABLE public.thing_{tenant} PARTITION OF public.thing FOR VALUES IN ('{}')",
            id(tenant)
        )
    };
    let mut c = world_of(
        &db,
        "int",
        "tenant, key",
        "PARTITION BY LIST (tenant)",
        &format!("{}; {}", of("acme"), of("globex")),
    );
    let ask = format!("SELECT authz_can('{}', 'thing.view', 2)", id("alice"));
    let asked = format!("SELECT authz_can('{}', 'thing.view', 2, '{}')", id("alice"), id("acme"));
    let mut can = |sql: &str| -> [bool; 3] {
        execute(&mut c, sql);
        [&ask, &ask, &asked].map(|question| value(&mut c, question, &[]))
    };
    assert_eq!(can(""), [true; 3]);
    for index in [
        "",
        "CREATE UNIQUE INDEX ON public.thing_acme (key); CREATE UNIQUE INDEX ON public.thing_globex (key)",
    ] {
        assert_eq!(can(index), [true; 3]);
        let other = format!("INSERT INTO public.thing VALUES ('{}', 2, NULL, 'other')", id("globex"));
        assert_eq!(can(&other), [false, false, true]);
        assert_eq!(
            can("ALTER TABLE public.thing DETACH PARTITION public.thing_globex"),
            [true; 3]
        );
        let attach = format!(
            "ALTER TABLE public.thing ATTACH PARTITION public.thing_globex FOR VALUES IN ('{}')",
            id("globex")
        );
        assert_eq!(can(&attach), [false, false, true]);
        assert_eq!(can("DELETE FROM public.thing WHERE note = 'other'"), [true; 3]);
        let swap = format!("UPDATE public.thing SET tenant = '{}' WHERE key = 2", id("globex"));
        assert_eq!(can(&swap), [false; 3]);
        let back = format!("UPDATE public.thing SET tenant = '{}' WHERE key = 2", id("acme"));
        assert_eq!(can(&back), [true; 3]);
    }
}

/// DETACH CONCURRENTLY: for those whose snapshot is older the rows are still there, for everybody else they are not, however
/// long it waits for the former.
#[test]
fn a_partition_that_is_being_detached_is_there_for_older_snapshots_only() {
    let db = Db::new();
    let partitions = "CREATE TABLE public.thing_low PARTITION OF public.thing FOR VALUES FROM (MINVALUE) TO (7)
             PARTITION BY LIST (key);
         CREATE TABLE public.thing_low_rest PARTITION OF public.thing_low DEFAULT;
         CREATE TABLE public.thing_high PARTITION OF public.thing FOR VALUES FROM (7) TO (MAXVALUE)";
    let mut c = world_of(&db, "int", "key", "PARTITION BY RANGE (key)", partitions);
    let (mut old, mut detacher) = (db.connect(), db.connect());
    let differences = differences("");
    let mut seen = Vec::new();
    let mut look = |c: &mut Client| {
        let rows: i64 = value(c, "SELECT count(*) FROM public.thing", &[]);
        seen.push((rows, value::<String>(c, &differences, &[])));
    };
    execute(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    look(&mut old);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            execute(
                &mut detacher,
                "ALTER TABLE public.thing DETACH PARTITION public.thing_low CONCURRENTLY",
            );
        });
        soon("the partition is being detached", || {
            value(
                &mut c,
                "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)",
                &[],
            )
        });
        look(&mut c);
        look(&mut old);
        execute(&mut old, "COMMIT");
        look(&mut old);
    });
    look(&mut c);
    look(&mut old);
    let expected = [12, 6, 12, 6, 6, 6].map(|rows| (rows, String::new()));
    assert_eq!(seen, expected);
}

/// A check that has to wait for who takes a part away from its table does not answer from that part, whether it knew the table
/// before or not.
#[test]
fn who_waits_for_a_part_to_be_taken_away_does_not_look_in_it() {
    for (partitioned, part, away) in [
        (
            "PARTITION BY RANGE (key)",
            "CREATE TABLE public.part PARTITION OF public.thing DEFAULT",
            "ALTER TABLE public.thing DETACH PARTITION public.part",
        ),
        (
            "",
            "CREATE TABLE public.part (PRIMARY KEY (key)) INHERITS (public.thing)",
            "ALTER TABLE public.part NO INHERIT public.thing",
        ),
    ] {
        let db = Db::new();
        let mut c = world_of(&db, "int", "key", partitioned, part);
        let ask = format!("SELECT authz_can('{}', 'thing.view', 102)", id("alice"));
        let row = format!("INSERT INTO public.part VALUES ('{}', 102, {})", id("acme"), team(true));
        execute(&mut c, &row);
        let (mut knows, mut begins) = (db.connect(), db.connect());
        assert!(value::<bool>(&mut knows, &ask, &[]));
        execute(&mut c, &format!("BEGIN; {away}"));
        let mut watcher = db.connect();
        let answers = std::thread::scope(|scope| {
            let askers = [&mut knows, &mut begins].map(|asker| {
                let pid: i32 = value(asker, "SELECT pg_backend_pid()", &[]);
                (pid, scope.spawn(|| value::<bool>(asker, &ask, &[])))
            });
            for (pid, _) in &askers {
                until_it_waits(&mut watcher, *pid);
            }
            execute(&mut c, "COMMIT");
            askers.map(|(_, asker)| asker.join().expect("no panic"))
        });
        assert_eq!(answers, [false, false], "{away}");
    }
}

/// A cursor sees what was there when it was opened, although later statements of its transaction have found later versions.
#[test]
fn a_cursor_keeps_to_its_own_version() {
    let db = Db::new();
    let mut c = world(&db, "int", "key");
    let ask = format!(
        "SELECT authz_can('{}', 'thing.view', 2) FROM generate_series(1, 4)",
        id("alice")
    );
    let mut tx = c.transaction().expect("a transaction");
    execute(&mut tx, &format!("DECLARE before NO SCROLL CURSOR FOR {ask}"));
    assert!(value::<bool>(&mut tx, "FETCH before", &[]));
    execute(&mut tx, "UPDATE public.thing SET team = NULL WHERE key = 2");
    for _ in 0..3 {
        assert!(!value::<bool>(&mut tx, &format!("{ask} LIMIT 1"), &[]));
        assert!(value::<bool>(&mut tx, "FETCH before", &[]));
    }
}

/// Pages leave the buffers and come back elsewhere.
#[test]
fn a_page_that_has_left_its_buffer_is_found_again() {
    let cluster = Cluster::start(&["shared_buffers = 128kB"]);
    let db = Db::on(&cluster.server, Start::Fixture);
    let mut c = world(&db, "int", "key");
    execute(
        &mut c,
        "CREATE TABLE filler AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 4000)",
    );
    for _ in 0..5 {
        assert_eq!(value::<String>(&mut c, &differences(""), &[]), "");
        execute(
            &mut c,
            "SELECT count(*) FROM filler; UPDATE public.thing SET team = NULL WHERE key = 4",
        );
    }
}

/// Being asked about counts as a use of a page, so that it stays in its buffer longer than what is read once.
#[test]
fn a_page_that_is_asked_about_stays() {
    let cluster = Cluster::start(&[]);
    let db = Db::on(&cluster.server, Start::Fixture);
    execute(&mut world(&db, "int", "key"), "CREATE EXTENSION pg_buffercache");
    let name = db.name.clone();
    std::mem::forget(db);
    let cluster = cluster.restart(&[]);
    let mut c = cluster.server.connect(&name, "postgres");
    let ask = format!(
        "SELECT bool_and(authz_can('{}', 'thing.view', 2)) FROM generate_series(1, 500)",
        id("alice")
    );
    assert!(value::<bool>(&mut c, &ask, &[]));
    let uses: i16 = value(
        &mut c,
        "SELECT usagecount FROM pg_buffercache
          WHERE relfilenode = pg_relation_filenode('thing') AND relforknumber = 0 AND relblocknumber = 0",
        &[],
    );
    assert!(uses >= 4, "{uses}");
}
