//! R54, R56: sealed events cannot be changed, removed or added to without its being named, not even by a superuser who
//! switches triggers off; sealing keeps to the order of commits and lets nobody wait; partitions are archived without a
//! break in the chain.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use authz_tests::make::{self, id};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};
use postgres::{Client, GenericClient};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

#[derive(Debug)]
struct Verdict {
    valid: bool,
    events: i64,
    archived: i64,
    unsealed: i64,
    head: String,
    problem: String,
    table: String,
    key: String,
    detail: String,
}

#[track_caller]
fn verify(c: &mut impl GenericClient, anchor: Option<&str>) -> Verdict {
    let row = c
        .query_one(
            "SELECT valid, events, archived, unsealed, head, coalesce(problem, ''), coalesce(problem_table, ''),
                    coalesce(problem_key, ''), coalesce(detail, '') FROM authz_audit_verify($1)",
            &[&anchor],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    Verdict {
        valid: row.get(0),
        events: row.get(1),
        archived: row.get(2),
        unsealed: row.get(3),
        head: row.get(4),
        problem: row.get(5),
        table: row.get(6),
        key: row.get(7),
        detail: row.get(8),
    }
}

/// Seals, batches and events that were new.
fn seal(c: &mut impl GenericClient) -> (i64, i64) {
    let row = c
        .query_one("SELECT seals, events FROM authz_audit_seal()", &[])
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    (row.get(0), row.get(1))
}

/// Seals until nothing is left: transactions of other databases count as well for what is closed. Seals and events.
fn seal_all(c: &mut Client) -> (i64, i64) {
    let begin = Instant::now();
    let mut all = (0, 0);
    loop {
        let (seals, events) = seal(c);
        all = (all.0 + seals, all.1 + events);
        if verify(c, None).unsealed == 0 {
            return all;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "something keeps events from being sealed"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Events of several months, transactions and batches.
fn fill(c: &mut Client) {
    let acme = make::tenant(c, "acme");
    make::role(c, "viewer", &["case.view"]);
    make::member(c, acme, "alice");
    make::case(c, acme, "affair");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    for n in 0..40 {
        execute(
            c,
            &format!(
                "INSERT INTO authz.access_audit_event (tenant_id, principal_id, action_code, resource_type, resource_id,
                        access_result, policy_reason, request_id, source_ip, user_agent, occurred_at, context, asked_by)
                 SELECT gen_random_uuid(), gen_random_uuid(), 'case.view', 'case', i::text, 'allowed', 'r', 'q' || i,
                        '10.0.0.1'::inet + i, 'agent', '2025-01-01Z'::timestamptz + {n} * interval '3 days' + i * interval '1 hour',
                        jsonb_build_object('n', i, 'x', 1.50), gen_random_uuid()
                   FROM generate_series(1, 15) AS i"
            ),
        );
        match n {
            5 => execute(c, "SELECT authz.prepare_audit_partitions(1)"),
            n if n % 4 == 3 => drop(seal(c)),
            _ => {}
        }
    }
    execute(c, "SELECT authz.prepare_audit_partitions(1)");
    execute(
        c,
        &format!(
            "SELECT authz_check('{}', 'case.view', '{}'::uuid)",
            id("alice"),
            id("affair")
        ),
    );
    seal_all(c);
}

/// The tables that are sealed and that have sealed rows here, with their keys.
fn tables(c: &mut Client) -> Vec<(String, &'static str)> {
    c.query("SELECT DISTINCT table_name FROM authz.audit_seal", &[])
        .unwrap()
        .iter()
        .map(|row| row.get::<_, String>(0))
        .map(|table| {
            let key = if table == "access_audit_event" {
                "audit_id"
            } else {
                "event_id"
            };
            (table, key)
        })
        .collect()
}

const UNGUARDED: &str = "ALTER TABLE authz.audit_seal DISABLE TRIGGER ALL;
    DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'authz'::regnamespace AND c.relkind IN ('r', 'p')
                    AND c.relname ~ '^access_(audit|change)_event'
        LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', t); END LOOP; END $$;";

/// What a tamperer did, and which keys name it.
struct Tampering {
    what: String,
    sql: String,
    named: BTreeSet<String>,
    /// Does it need a head from before to be seen?
    anchored: bool,
}

fn tamper(c: &mut Client, rng: &mut StdRng) -> Tampering {
    let tables = tables(c);
    let (table, key) = tables.choose(rng).unwrap().clone();
    let keys: Vec<String> = c
        .query(&format!("SELECT {key}::text FROM authz.{table} ORDER BY 1"), &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (one, other) = (keys.choose(rng).unwrap().clone(), keys.choose(rng).unwrap().clone());
    let columns: Vec<(String, String)> = c
        .query(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
              WHERE attrelid = ('authz.' || $1)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            &[&table],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let (column, kind) = columns.choose(rng).unwrap().clone();
    let names = columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let seals: i64 = value(c, "SELECT max(seal_no) FROM authz.audit_seal", &[]);
    let number = rng.random_range(1..=seals);
    let set = |names: &[&String]| names.iter().map(|n| (*n).clone()).collect::<BTreeSet<_>>();
    let every = || keys.iter().cloned().collect::<BTreeSet<_>>();
    let (what, sql, named, anchored) = match rng.random_range(0..15) {
        0..4 => {
            let new = match (column.as_str(), kind.as_str()) {
                ("change_type", _) => "CASE change_type WHEN 'insert' THEN 'update' ELSE 'insert' END".to_owned(),
                ("access_result", _) => "CASE access_result WHEN 'allowed' THEN 'denied' ELSE 'allowed' END".to_owned(),
                ("occurred_at", _) => "occurred_at + interval '1 microsecond'".to_owned(),
                ("xact", _) => "(xact::text::bigint + 1)::text::xid8".to_owned(),
                (_, "uuid") => "md5(random()::text)::uuid".to_owned(),
                (_, "jsonb") => format!("coalesce({column}, '{{}}') || '{{\"forged\": true}}'"),
                (_, "inet") => format!("coalesce({column}, '10.9.9.9') + 1"),
                (_, "bigint") => format!("coalesce({column}, 0) + 1"),
                (_, "timestamp with time zone") => format!("coalesce({column}, now()) + interval '1 microsecond'"),
                (_, "boolean") => format!("NOT coalesce({column}, false)"),
                _ => format!("coalesce({column}::text, '') || 'x'"),
            };
            let new = if kind == "name" { format!("({new})::name") } else { new };
            (
                format!("{table}.{column} changed"),
                format!(
                    "WITH t AS (UPDATE authz.{table} SET {column} = {new} WHERE {key} = '{one}' RETURNING {key}::text)
                     SELECT set_config('test.key', (SELECT * FROM t), true)"
                ),
                set(&[&one]),
                false,
            )
        }
        4 => (
            format!("a row of {table} deleted"),
            format!("DELETE FROM authz.{table} WHERE {key} = '{one}'"),
            set(&[&one]),
            false,
        ),
        5 => (
            format!("several rows of {table} deleted"),
            format!("DELETE FROM authz.{table} WHERE {key} IN ('{one}', '{other}')"),
            set(&[&one, &other]),
            false,
        ),
        6 => (
            format!("a row of {table} inserted late"),
            format!(
                "CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM authz.{table} WHERE {key} = '{one}';
                 UPDATE forged SET {key} = gen_random_uuid();
                 SELECT set_config('test.key', (SELECT {key}::text FROM forged), true);
                 INSERT INTO authz.{table} ({names}) SELECT {names} FROM forged"
            ),
            BTreeSet::new(),
            false,
        ),
        13 => {
            let place = ["cluster_id", "xact"].choose(rng).unwrap();
            (
                format!("a row of {table} inserted without {place}"),
                format!(
                    "ALTER TABLE authz.{table} ALTER {place} DROP NOT NULL;
                     CREATE TEMP TABLE forged ON COMMIT DROP AS SELECT * FROM authz.{table} WHERE {key} = '{one}';
                     UPDATE forged SET {key} = gen_random_uuid(), {place} = NULL;
                     SELECT set_config('test.key', (SELECT {key}::text FROM forged), true);
                     INSERT INTO authz.{table} ({names}) SELECT {names} FROM forged"
                ),
                BTreeSet::new(),
                false,
            )
        }
        7 if table == "access_audit_event" && one != other => (
            "the contents of two rows exchanged".to_owned(),
            format!(
                "UPDATE authz.access_audit_event AS a SET principal_id = b.principal_id, tenant_id = b.tenant_id
                   FROM authz.access_audit_event AS b
                  WHERE a.audit_id <> b.audit_id AND a.audit_id IN ('{one}', '{other}') AND b.audit_id IN ('{one}', '{other}')"
            ),
            set(&[&one, &other]),
            false,
        ),
        8 if table == "access_audit_event" => {
            let partition = ["access_audit_event_y2025m01", "access_audit_event_y2025m02", "access_audit_event_y2025m03"]
                .choose(rng)
                .unwrap();
            let how = [
                format!("DROP TABLE authz.{partition}"),
                format!("ALTER TABLE authz.access_audit_event DETACH PARTITION authz.{partition}"),
                format!("TRUNCATE authz.{partition}"),
            ];
            (format!("partition {partition} removed"), how.choose(rng).unwrap().clone(), every(), false)
        }
        9 => (
            format!("{table} emptied"),
            format!("TRUNCATE authz.{table} CASCADE"),
            every(),
            false,
        ),
        10 => {
            let change = [
                "events = events + 1",
                "sealed_at = sealed_at + interval '1 microsecond'",
                "previous_hash = sha256(previous_hash)",
                "seal_hash = sha256(seal_hash)",
                "leaves = overlay(leaves PLACING '\\x00'::bytea FROM 30)",
                "leaves = substr(leaves, 57)",
                "columns = columns[2:]",
                "to_key = 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "from_xact = to_xact",
                "cluster_id = cluster_id + 1",
                "table_name = CASE table_name WHEN 'access_audit_event' THEN 'access_change_event' ELSE 'access_audit_event' END",
            ]
            .choose(rng)
            .unwrap();
            (
                format!("seal {number}: {change}"),
                format!("UPDATE authz.audit_seal SET {change} WHERE seal_no = {number}"),
                [number, number + 1].iter().map(ToString::to_string).collect(),
                false,
            )
        }
        11 => (
            "a seal deleted".to_owned(),
            format!("DELETE FROM authz.audit_seal WHERE seal_no = {number}"),
            [number.to_string()].into(),
            number == seals,
        ),
        12 => (
            "the last seals deleted".to_owned(),
            format!("DELETE FROM authz.audit_seal WHERE seal_no >= {number}"),
            [number.to_string()].into(),
            true,
        ),
        _ => (
            "the last seals deleted, a row removed, and everything sealed again".to_owned(),
            format!(
                "DELETE FROM authz.audit_seal; DELETE FROM authz.{table} WHERE {key} = '{one}'; SELECT authz_audit_seal()"
            ),
            (1..=seals).map(|n| n.to_string()).collect(),
            true,
        ),
    };
    Tampering {
        what,
        sql,
        named,
        anchored,
    }
}

#[test]
fn each_of_500_random_tamperings_by_a_superuser_is_named() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let before = verify(&mut c, None);
    assert!(
        before.valid && before.unsealed == 0 && before.events > 600,
        "{before:?}"
    );
    let seed = 20_261;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut kinds = BTreeSet::new();
    for n in 0..500 {
        let tampering = tamper(&mut c, &mut rng);
        kinds.insert(
            tampering
                .what
                .split(|ch: char| ch.is_ascii_digit())
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        execute(&mut c, "BEGIN; SET LOCAL test.key = ''");
        execute(&mut c, UNGUARDED);
        execute(&mut c, &tampering.sql);
        let new_key: String = value(&mut c, "SELECT current_setting('test.key')", &[]);
        let verdict = verify(&mut c, tampering.anchored.then_some(before.head.as_str()));
        assert!(!verdict.valid, "seed {seed}, {n}: {} was not seen", tampering.what);
        assert!(
            tampering.named.contains(&verdict.key) || (!new_key.is_empty() && verdict.key == new_key),
            "seed {seed}, {n}: {} is not named by {verdict:?}",
            tampering.what
        );
        assert!(!verdict.detail.is_empty() && !verdict.table.is_empty() && !verdict.problem.is_empty());
        execute(&mut c, "ROLLBACK");
    }
    assert!(kinds.len() > 20, "{kinds:#?}");
    let after = verify(&mut c, Some(&before.head));
    assert!(after.valid, "{after:?}");
}

/// PITFALLS 22: sealing goes by the order of commits, so that a transaction that is still open neither waits nor is
/// passed over.
#[test]
fn sealing_waits_for_nobody_and_misses_nobody() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let insert = |name: &str| {
        format!("INSERT INTO authz.access_audit_event (action_code, access_result) VALUES ('{name}', 'allowed')")
    };
    let mut open = db.connect();
    execute(&mut open, "BEGIN");
    execute(&mut open, &insert("open"));
    execute(&mut c, &insert("later, committed earlier"));
    assert_eq!(
        seal(&mut c),
        (0, 0),
        "the later one is not closed while the earlier one is open"
    );
    assert_eq!(verify(&mut c, None).unsealed, 1);
    execute(&mut open, &insert("open, too"));
    execute(&mut open, "COMMIT");
    assert_eq!(seal_all(&mut c).1, 3);
    // Nobody's insert waits while a sealer has not committed.
    execute(&mut c, "BEGIN");
    seal(&mut c);
    let begin = Instant::now();
    execute(&mut open, "SET statement_timeout = '2s'");
    execute(&mut open, &insert("meanwhile"));
    assert!(begin.elapsed() < Duration::from_secs(1));
    execute(&mut c, "COMMIT");
    assert!(verify(&mut c, None).valid);
    refused_with_hint(
        &mut c,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT authz_audit_seal()",
        "25001",
        &["READ COMMITTED"],
    );
    execute(&mut c, "ROLLBACK");
}

#[test]
fn many_writers_and_sealers_at_once_make_one_chain_of_every_event() {
    let db = Db::new();
    fill(&mut db.connect());
    let before: i64 = value(&mut db.connect(), "SELECT count(*) FROM authz.access_audit_event", &[]);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mut c = db.connect();
            scope.spawn(move || {
                for i in 0..150 {
                    let end = if i % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
                    execute(
                        &mut c,
                        &format!(
                            "BEGIN; INSERT INTO authz.access_audit_event (action_code, access_result) VALUES ('{n}', 'allowed'); {}; {end}",
                            if i % 7 == 0 { "SELECT pg_sleep(0.01)" } else { "SELECT 1" }
                        ),
                    );
                }
            });
        }
        for _ in 0..2 {
            let mut c = db.connect();
            scope.spawn(move || {
                for _ in 0..40 {
                    seal(&mut c);
                    let verdict = verify(&mut c, None);
                    assert!(verdict.valid, "{verdict:?}");
                }
            });
        }
    });
    let mut c = db.connect();
    seal_all(&mut c);
    let verdict = verify(&mut c, None);
    assert!(verdict.valid, "{verdict:?}");
    let sealed: i64 = value(
        &mut c,
        "SELECT sum(events)::bigint FROM authz.audit_seal WHERE table_name = 'access_audit_event'",
        &[],
    );
    assert_eq!(sealed, before + 4 * 120);
}

#[test]
fn one_transaction_with_many_events_is_several_batches() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result) SELECT 'bulk', 'allowed' FROM generate_series(1, 25000)",
    );
    assert_eq!(seal_all(&mut c), (3, 25_000));
    assert!(verify(&mut c, None).valid);
    let one: String = value(
        &mut c,
        "SELECT audit_id::text FROM authz.access_audit_event WHERE action_code = 'bulk' ORDER BY random() LIMIT 1",
        &[],
    );
    execute(&mut c, "BEGIN");
    execute(&mut c, UNGUARDED);
    execute(
        &mut c,
        &format!("DELETE FROM authz.access_audit_event WHERE audit_id = '{one}'"),
    );
    let verdict = verify(&mut c, None);
    assert_eq!((verdict.problem.as_str(), &verdict.key), ("removed", &one));
    execute(&mut c, "ROLLBACK");
}

/// R56
#[test]
fn partitions_are_archived_without_breaking_the_chain() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let before = verify(&mut c, None);
    let archived: Vec<(String, i64)> = c
        .query(
            "SELECT partition::text, events FROM authz_archive_audit('2025-03-15Z')",
            &[],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)))
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(
        archived.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["authz.access_audit_event_y2025m01", "authz.access_audit_event_y2025m02"]
    );
    let events: i64 = archived.iter().map(|(_, n)| n).sum();
    let after = verify(&mut c, Some(&before.head));
    assert!(after.valid, "{after:?}");
    assert_eq!((after.archived, after.events), (events, before.events - events));
    // The tables are still there, guarded, and can be dropped when they are kept elsewhere.
    let there: i64 = value(&mut c, "SELECT count(*) FROM authz.access_audit_event_y2025m01", &[]);
    assert_eq!(there, archived[0].1);
    refused_with_hint(&mut c, "DELETE FROM authz.access_audit_event_y2025m01", "55000", &[]);
    refused_with_hint(&mut c, "TRUNCATE authz.access_audit_event_y2025m01", "55000", &[]);
    execute(&mut c, "DROP TABLE authz.access_audit_event_y2025m02");
    assert!(verify(&mut c, Some(&before.head)).valid);
    // Events of an archived month that come late are kept, sealed, and guarded by the chain.
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('late', 'allowed', '2025-01-15')",
    );
    seal_all(&mut c);
    execute(&mut c, "SELECT authz.prepare_audit_partitions(1)");
    assert!(verify(&mut c, Some(&before.head)).valid);
    execute(&mut c, "BEGIN");
    execute(&mut c, UNGUARDED);
    execute(
        &mut c,
        "DELETE FROM authz.access_audit_event WHERE action_code = 'late'",
    );
    assert_eq!(verify(&mut c, None).problem, "removed");
    execute(&mut c, "ROLLBACK");
    // That a partition was archived cannot be taken back, nor said of one that was not.
    execute(&mut c, "BEGIN");
    execute(&mut c, UNGUARDED);
    execute(
        &mut c,
        "DELETE FROM authz.audit_seal WHERE seal_kind = 'archive' AND seal_no = (SELECT min(seal_no) FROM authz.audit_seal WHERE seal_kind = 'archive')",
    );
    assert_eq!(verify(&mut c, None).problem, "removed");
    execute(&mut c, "ROLLBACK; BEGIN");
    execute(&mut c, UNGUARDED);
    execute(&mut c, "DROP TABLE authz.access_audit_event_y2025m03");
    assert_eq!(verify(&mut c, None).problem, "removed");
    execute(&mut c, "ROLLBACK");
    // While somebody's transaction is open that may still add to it, a partition is not archived.
    let mut open = db.connect();
    execute(&mut open, "BEGIN; SELECT pg_current_xact_id()");
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('late', 'allowed', '2025-03-15')",
    );
    refused_with_hint(
        &mut c,
        "SELECT authz_archive_audit('2025-04-01Z')",
        "55000",
        &["still runs"],
    );
    execute(&mut open, "COMMIT");
    seal_all(&mut c);
    execute(&mut c, "SELECT authz_archive_audit('2025-04-01Z')");
    assert!(verify(&mut c, Some(&before.head)).valid);
    assert!(verify(&mut c, Some(&after.head)).valid);
    // A view of the whole can be had by attaching it again.
    execute(
        &mut c,
        "ALTER TABLE authz.access_audit_event ATTACH PARTITION authz.access_audit_event_y2025m03 FOR VALUES FROM ('2025-03-01Z') TO ('2025-04-01Z')",
    );
    assert!(verify(&mut c, None).valid);
}

#[test]
fn an_anchor_of_another_chain_is_refused() {
    let db = Db::new();
    let mut c = db.connect();
    fill(&mut c);
    let head: String = value(&mut c, "SELECT authz_audit_head()", &[]);
    assert!(verify(&mut c, Some(&head)).valid);
    let none = format!("authz1:0:{}", "0".repeat(64));
    assert!(verify(&mut c, Some(&none)).valid);
    let number: i64 = head.split(':').nth(1).and_then(|n| n.parse().ok()).unwrap();
    for (anchor, problem) in [
        (format!("authz1:{number}:{}", "f".repeat(64)), "changed"),
        (format!("authz1:1:{}", "f".repeat(64)), "changed"),
        (format!("authz1:{}:{}", number + 1, "f".repeat(64)), "removed"),
    ] {
        let verdict = verify(&mut c, Some(&anchor));
        assert_eq!((verdict.valid, verdict.problem.as_str()), (false, problem), "{anchor}");
    }
    for anchor in ["", "authz1:", "authz1:1:xyz", "authz2:1:00", "authz1:-1:é"] {
        refused(
            &mut c,
            &format!("SELECT authz_audit_verify('{anchor}')"),
            "22023",
            &["anchor"],
        );
    }
}
