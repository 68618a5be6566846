//! Changes at random on the primary, while sessions of the standby compare what the check says with what the table says, each
//! by one snapshot. Then the standby is promoted under them, and the changes go on there.

use authz_tests::cluster::Cluster;
use authz_tests::make::id;
use authz_tests::waiting::soon;
use authz_tests::{Db, Server, Start, chance, execute, report, value};
use postgres::error::SqlState;
use postgres::{Client, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Keys that there are; as many again are asked about.
const KEYS: i32 = 12;
/// Changes before, and after, the standby is promoted.
const CHANGES: usize = 100;
/// With keys of their own, with keys of a tenant's own, in partitions.
const TABLES: [&str; 3] = ["thing", "own", "part"];
/// Who is in the way of replay is cancelled; and who waits too long for a table gives way, before the writer has to.
const GIVEN_WAY: [SqlState; 3] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
];
/// What the table says is read from all of it.
const READ_ALL: &str = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
    SET lock_timeout = '200ms'";

fn unique(table: &str) -> String {
    let columns = if table == "own" { "tenant, key" } else { "key" };
    format!("UNIQUE INDEX CONCURRENTLY {table}_key ON public.{table} ({columns})")
}

fn create(table: &str) -> String {
    let index = unique(table).replace("CONCURRENTLY ", "");
    let columns = "(tenant uuid NOT NULL, key int NOT NULL, team uuid, note text)";
    let parts = match table {
        "part" => {
            "PARTITION BY HASH (key);
             CREATE TABLE public.part_0 PARTITION OF public.part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
        }
        _ => "",
    };
    format!("CREATE TABLE public.{table} {columns} {parts}; CREATE {index}")
}

fn insert(table: &str, key: i32, inside: bool) -> String {
    let team = if inside {
        format!("'{}'", id("team"))
    } else {
        "NULL".to_owned()
    };
    let tenant = id("acme");
    format!("INSERT INTO public.{table} VALUES ('{tenant}', {key}, {team}, 'new') ON CONFLICT DO NOTHING")
}

fn can(table: &str) -> String {
    let tenant = match table {
        "own" => format!(", '{}'", id("acme")),
        _ => String::new(),
    };
    format!("authz_can('{}', '{table}.view', k{tenant})", id("alice"))
}

/// Alice may see the one row of a key, if it is the team's.
fn truth(table: &str) -> String {
    format!(
        "(SELECT count(*) = 1 AND coalesce(bool_and(team = '{}'), false) FROM public.{table} WHERE key = k)",
        id("team")
    )
}

/// The answers, by the check or by the table, about all keys of all tables.
fn answers(of: fn(&str) -> String) -> String {
    let [thing, own, part] = TABLES.map(of);
    format!("SELECT array_agg(ARRAY[{thing}, {own}, {part}]::text ORDER BY k) FROM generate_series(1, 2 * {KEYS}) AS k")
}

/// Where the two differ, in one statement.
fn differences() -> String {
    let differ = TABLES.map(|table| format!("{} IS DISTINCT FROM {}", can(table), truth(table)));
    format!(
        "SELECT coalesce(string_agg(k::text || ARRAY[{}]::text, ', '), '') FROM generate_series(1, 2 * {KEYS}) AS k
          WHERE {}",
        differ.join(", "),
        differ.join(" OR ")
    )
}

/// Statements that change something, one after the other; and what else has to be done before others can see the result.
fn change(rng: &mut StdRng) -> Vec<String> {
    let table = TABLES[rng.random_range(0..TABLES.len())];
    let key = rng.random_range(1..=KEYS);
    let to = rng.random_range(1..=2 * KEYS);
    let inside = rng.random();
    let t = format!("public.{table}");
    let again = insert(table, key, inside);
    let one = |sql: String| vec![sql];
    match rng.random_range(0..26) {
        0..=2 => one(format!(
            "UPDATE {t} SET team = CASE WHEN team IS NULL THEN '{}'::uuid END WHERE key = {key}",
            id("team")
        )),
        3 => one(format!("UPDATE {t} SET note = note || 'x'")),
        4 | 5 => one(format!(
            "UPDATE {t} SET key = {to} WHERE key = {key} AND NOT EXISTS (SELECT FROM {t} WHERE key = {to})"
        )),
        6 => one(format!("DELETE FROM {t} WHERE key = {key}")),
        7 | 8 => one(again),
        9 => vec![format!("DELETE FROM {t} WHERE key = {key}"), again],
        // Line pointers are used again.
        10 | 11 => vec![
            format!("DELETE FROM {t} WHERE key = {key}"),
            format!("VACUUM {t}"),
            again,
        ],
        // Pages go back to the system.
        12 => vec![
            format!("DELETE FROM {t} WHERE key <> {key}"),
            format!("VACUUM (FREEZE) {t}"),
            again,
        ],
        13 => one(format!("VACUUM FULL {t}")),
        14 => one(format!(
            "ALTER TABLE {t} ALTER note TYPE varchar; ALTER TABLE {t} ALTER note TYPE text USING note || '.'"
        )),
        15 => one(format!("TRUNCATE {t}; {again}")),
        16 => vec![format!("REINDEX TABLE {t}")],
        17 => vec![format!("REINDEX TABLE CONCURRENTLY {t}")],
        // Meanwhile two rows have the key.
        18 | 19 if table != "part" => vec![
            format!("DROP INDEX CONCURRENTLY public.{table}_key"),
            insert(table, key, true),
            insert(table, key, false),
            format!("DELETE FROM {t} AS one USING {t} AS other WHERE one.key = other.key AND one.ctid < other.ctid"),
            format!("CREATE {}", unique(table)),
        ],
        18 => one(format!(
            "DROP INDEX public.part_key; CREATE {}",
            unique("part").replace("CONCURRENTLY ", "")
        )),
        // A partition goes, and comes back, both times empty. Of one with rows, what a statement sees that waits for its lock
        // meanwhile depends on what it knew before: PostgreSQL's plan, or which partitions the check found.
        19 | 20 => {
            let way = if inside { "" } else { "CONCURRENTLY" };
            vec![
                "TRUNCATE public.part_0".to_owned(),
                format!("ALTER TABLE public.part DETACH PARTITION public.part_0 {way}"),
                "LOCK TABLE public.part; TRUNCATE public.part_0;
                 ALTER TABLE public.part ATTACH PARTITION public.part_0 FOR VALUES WITH (MODULUS 2, REMAINDER 0)"
                    .to_owned(),
            ]
        }
        // More subtransactions than a snapshot has room for, which are undone.
        21 => one(format!(
            "DO $$ BEGIN
                 FOR i IN 1..70 LOOP
                     BEGIN UPDATE {t} SET team = '{}', key = key WHERE key = {key};
                     EXCEPTION WHEN division_by_zero THEN NULL; END;
                 END LOOP;
                 PERFORM pg_sleep(0.005);
                 IF {inside} THEN RAISE 'undone'; END IF;
             EXCEPTION WHEN raise_exception THEN NULL; END $$",
            id("team")
        )),
        22 | 23 => one(format!(
            "DROP TABLE {t}; {}; {again}; UPDATE authz.resource_type SET target = '{t}' WHERE resource_type = '{table}'",
            create(table)
        )),
        24 => vec![
            format!("ALTER TABLE {t} SET TABLESPACE elsewhere"),
            format!("ALTER TABLE {t} SET TABLESPACE pg_default"),
        ],
        _ => one(format!("DELETE FROM {t}")),
    }
}

fn change_all(c: &mut Client, rng: &mut StdRng, done: &mut String) {
    execute(c, "SET deadlock_timeout = '10s'");
    for _ in 0..CHANGES {
        for sql in change(rng) {
            done.push_str(&sql);
            done.push('\n');
            if let Err(e) = c.batch_execute(&sql) {
                panic!("{}\nin: {sql}\nafter: {done}", report(&e));
            }
        }
    }
}

/// How a session looks.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Statement by statement, prepared once.
    Prepared,
    /// Several statements by one snapshot: the check before anything else has touched the table.
    OneSnapshot,
    /// A cursor, between whose rows other statements run.
    Cursor,
}

/// Sessions that go on until they are told to stop.
struct Readers<'a> {
    server: &'a Server,
    database: &'a str,
    stop: AtomicBool,
    /// How often each has compared.
    compared: [AtomicU64; 3],
}

impl Readers<'_> {
    fn connect(&self) -> Client {
        let mut connected = None;
        soon("a connection", || {
            connected = self.server.try_connect(self.database, "postgres").ok();
            connected.as_mut().is_some_and(|c| c.batch_execute(READ_ALL).is_ok())
        });
        connected.expect("a connection")
    }

    fn go_on(&self, number: usize, way: Way) {
        let mut c = self.connect();
        while !self.stop.load(Relaxed) {
            match look(&mut c, way) {
                Ok(differences) => assert_eq!(differences, [""; 0], "{way:?}"),
                // Replay ends sessions, too.
                Err(e) if e.as_db_error().is_none() || e.code().is_some_and(|c| GIVEN_WAY.contains(c)) => {}
                // Replay drops indexes under a transaction that has locked their table, as the primary would not, and then
                // PostgreSQL's planner fails; the check alone does not.
                Err(e)
                    if e.code() == Some(&SqlState::INTERNAL_ERROR)
                        && report(&e).contains("could not open relation") => {}
                Err(e) => panic!("{way:?}: {}", report(&e)),
            }
            self.compared[number].fetch_add(1, Relaxed);
            if c.is_closed() || c.batch_execute("ROLLBACK").is_err() {
                c = self.connect();
            }
        }
    }

    /// Waits until each has compared some more.
    fn some_more(&self) {
        let before = self.compared.each_ref().map(|c| c.load(Relaxed));
        soon("everybody has compared something", || {
            self.compared
                .iter()
                .zip(before)
                .all(|(now, before)| now.load(Relaxed) > before + 3)
        });
    }
}

/// Compares; what differs is returned.
fn look(c: &mut Client, way: Way) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    match way {
        Way::Prepared => {
            let compare = c.prepare(&differences())?;
            for _ in 0..20 {
                found.push(c.query_one(&compare, &[])?.get(0));
            }
        }
        Way::OneSnapshot => {
            c.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
            std::thread::sleep(std::time::Duration::from_millis(10));
            for _ in 0..3 {
                let said: Vec<String> = match c.query_one(&answers(can), &[]) {
                    Err(e) if e.code() == Some(&SqlState::INTERNAL_ERROR) => return Ok(vec![report(&e)]),
                    answered => answered?.get(0),
                };
                let is: Vec<String> = c.query_one(&answers(truth), &[])?.get(0);
                let differ = said.iter().zip(&is).zip(1..).filter(|((said, is), _)| said != is);
                found.extend(differ.map(|((said, is), key)| format!("{key}: {said} and {is}")));
            }
            c.batch_execute("COMMIT")?;
        }
        Way::Cursor => {
            let rows = TABLES.map(|table| {
                format!(
                    "SELECT k, {} IS DISTINCT FROM {} FROM generate_series(1, 2 * {KEYS}) AS k",
                    can(table),
                    truth(table)
                )
            });
            c.batch_execute(&format!(
                "BEGIN; DECLARE rows NO SCROLL CURSOR FOR {}",
                rows.join(" UNION ALL ")
            ))?;
            loop {
                let rows = c.query("FETCH 5 FROM rows", &[])?;
                if rows.is_empty() {
                    break;
                }
                found.extend(
                    rows.iter()
                        .filter(|r| r.get(1))
                        .map(|r| format!("{} by the cursor", r.get::<_, i32>(0))),
                );
                found.push(c.query_one(&differences(), &[])?.get(0));
            }
            c.batch_execute("COMMIT")?;
        }
    }
    found.retain(|difference| !difference.is_empty());
    Ok(found)
}

#[test]
fn sessions_of_a_standby_see_what_the_table_shows_them_and_go_on_when_it_is_promoted() {
    let seed = chance::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = format!("AUTHZ_SEED={seed}\n");
    let primary = Cluster::start(&[
        "wal_level = replica",
        "max_wal_senders = 4",
        "autovacuum = off",
        "allow_in_place_tablespaces = on",
    ]);
    let db = Db::on(&primary.server, Start::Fixture);
    let mut c = db.connect();
    for table in TABLES {
        execute(&mut c, &create(table));
        for key in 1..=KEYS {
            execute(&mut c, &insert(table, key, key % 2 == 0));
        }
    }
    super::registered(&mut c, &TABLES);
    let standby = primary.standby_with(&[
        ["hot_standby_feedback = off", "hot_standby_feedback = on"][rng.random_range(0..2)],
        "max_standby_streaming_delay = 100ms",
        "max_standby_archive_delay = 100ms",
        "allow_in_place_tablespaces = on",
    ]);
    execute(&mut c, "CREATE TABLESPACE elsewhere LOCATION ''");
    let readers = Readers {
        server: &standby.server,
        database: &db.name,
        stop: AtomicBool::new(false),
        compared: Default::default(),
    };
    /// Tells them to stop, whatever becomes of the test.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&readers.stop);
        let (readers, standby) = (&readers, &standby);
        for (number, way) in [Way::Prepared, Way::OneSnapshot, Way::Cursor].into_iter().enumerate() {
            scope.spawn(move || {
                let _stop = Stop(&readers.stop);
                readers.go_on(number, way);
            });
        }
        readers.some_more();
        change_all(&mut c, &mut rng, &mut done);
        standby.catch_up(&mut c);
        readers.some_more();

        // One transaction sees the same before and after, and a statement after it what there is then.
        let mut open = readers.connect();
        execute(&mut open, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        let mut seen = || -> [Vec<String>; 2] { [can, truth].map(|of| value(&mut open, &answers(of), &[])) };
        let before = seen();
        assert_eq!(before[0], before[1]);
        standby.promote();
        assert_eq!(seen(), before);
        let mut c = standby.server.connect(&db.name, "postgres");
        for table in TABLES {
            execute(&mut c, &format!("DELETE FROM public.{table} WHERE key % 3 = 0"));
            execute(&mut c, &format!("VACUUM public.{table}"));
        }
        assert_eq!(seen(), before);
        execute(&mut open, "COMMIT");
        assert_eq!(value::<String>(&mut open, &differences(), &[]), "");
        readers.some_more();
        change_all(&mut c, &mut rng, &mut done);
        readers.some_more();
    });
    let log = standby.log();
    for fault in ["leak", "PANIC", "TRAP", "terminated by signal"] {
        assert!(!log.contains(fault), "{fault}: {log}");
    }
}
