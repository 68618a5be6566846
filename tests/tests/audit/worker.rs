//! Events of transactions that roll back are written once each by background workers, where the library is preloaded (R53).

use crate::{events, fill, hold, require, statistics};
use authz_tests::cluster::{Cluster, PRELOADED};
use authz_tests::make::id;
use authz_tests::reading::{act, logged, settle};
use authz_tests::waiting::soon;
use authz_tests::{Db, Start, execute, refused, value};
use std::collections::BTreeSet;

#[test]
fn with_workers_every_event_of_a_rollback_is_written_once() {
    let cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&mut db.connect());
    let mut c = db.connect();
    let mut admin = db.connect();
    assert_eq!(statistics(&mut c).0, "worker");

    let cases: &[(&str, &[&str], i64)] = &[
        ("a denial alone", &["!require"], 1),
        ("a denial in a transaction", &["BEGIN", "!require", "ROLLBACK"], 1),
        (
            "checks of a transaction that is rolled back",
            &["BEGIN", "check", "check", "ROLLBACK"],
            2,
        ),
        (
            "checks of a transaction that fails",
            &["BEGIN", "check", "!SELECT 1 / 0", "COMMIT"],
            1,
        ),
        ("a check that is committed", &["BEGIN", "check", "COMMIT"], 1),
        (
            "a savepoint that is rolled back",
            &[
                "BEGIN",
                "check",
                "SAVEPOINT a",
                "check",
                "ROLLBACK TO a",
                "check",
                "COMMIT",
            ],
            3,
        ),
        (
            "a savepoint that is released and then lost",
            &["BEGIN", "SAVEPOINT a", "check", "RELEASE a", "check", "ROLLBACK"],
            2,
        ),
        (
            "savepoints in savepoints",
            &[
                "BEGIN",
                "SAVEPOINT a",
                "check",
                "SAVEPOINT b",
                "check",
                "RELEASE b",
                "ROLLBACK TO a",
                "check",
                "ROLLBACK TO a",
                "check",
                "COMMIT",
            ],
            4,
        ),
        (
            "a denial in a savepoint, and then a commit",
            &["BEGIN", "SAVEPOINT a", "!require", "ROLLBACK TO a", "COMMIT"],
            1,
        ),
        ("a denial that PL/pgSQL catches", &["caught"], 1),
        (
            "a prepared transaction that is committed",
            &["BEGIN", "check", "PREPARE TRANSACTION 'one'", "COMMIT PREPARED 'one'"],
            1,
        ),
        ("another after it", &["BEGIN", "check", "ROLLBACK"], 1),
    ];
    for (request, steps, expected) in cases {
        act(&mut c, "alice", request);
        for step in *steps {
            match *step {
                "check" => execute(&mut c, &require("case.view")),
                "caught" => execute(
                    &mut c,
                    &format!(
                        "DO $$ BEGIN PERFORM authz_require('case.edit', '{}'::uuid);
                         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$",
                        id("affair")
                    ),
                ),
                "!require" => drop(refused(&mut c, &require("case.edit"), "42501", &[])),
                failing if failing.starts_with('!') => drop(refused(&mut c, &failing[1..], "22012", &[])),
                sql => execute(&mut c, sql),
            }
        }
        settle(&mut admin);
        assert_eq!(events(&mut admin, request), *expected, "{request}");
    }
    // What a worker writes says who did it: not the worker.
    let strange: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.access_audit_event WHERE db_role <> 'postgres' OR asked_by <> principal_id OR xact IS NULL",
        &[],
    );
    assert_eq!(strange, 0);
    let denied: i64 = value(
        &mut admin,
        "SELECT count(*) FROM authz.access_audit_event WHERE access_result = 'denied' AND policy_reason = 'no_grant' AND resource_type = 'case'",
        &[],
    );
    assert_eq!(denied, 4);

    // Who ends a connection ends its transaction.
    act(&mut c, "alice", "disconnected");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    drop(c);
    let mut c = db.connect();
    act(&mut c, "alice", "terminated");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    let pid: i32 = value(&mut c, "SELECT pg_backend_pid()", &[]);
    let _: bool = value(&mut admin, "SELECT pg_terminate_backend($1)", &[&pid]);
    for request in ["disconnected", "terminated"] {
        soon(request, || events(&mut admin, request) == 1);
    }

    // A prepared transaction that is rolled back has left its events in the log, when it was prepared.
    let mut c = db.connect();
    act(&mut c, "alice", "two");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    execute(&mut c, "PREPARE TRANSACTION 'two'");
    execute(&mut c, "ROLLBACK PREPARED 'two'");
    settle(&mut admin);
    assert_eq!(events(&mut admin, "two"), 0);
    let lines = logged(&cluster);
    assert_eq!(
        lines.iter().filter(|l| l["request_id"] == "two").count(),
        1,
        "{lines:#?}"
    );
    let (_, queued, written, waiting, _) = statistics(&mut admin);
    assert_eq!((queued, waiting), (written, 0));
}

#[test]
fn each_database_gets_its_own_events() {
    let cluster = Cluster::start(PRELOADED);
    let databases: Vec<Db> = (0..4).map(|_| Db::on(&cluster.server, Start::Fixture)).collect();
    databases.iter().for_each(|db| fill(&mut db.connect()));
    std::thread::scope(|scope| {
        for db in &databases {
            scope.spawn(|| {
                let mut c = db.connect();
                act(&mut c, "alice", &db.name);
                for _ in 0..100 {
                    refused(&mut c, &require("case.edit"), "42501", &[]);
                }
            });
        }
    });
    for db in &databases {
        let mut c = db.connect();
        settle(&mut c);
        assert_eq!(events(&mut c, &db.name), 100);
        assert_eq!(
            value::<i64>(&mut c, "SELECT count(*) FROM authz.access_audit_event", &[]),
            100
        );
    }
}

#[test]
fn a_full_queue_neither_blocks_nor_loses_silently() {
    let mut settings = PRELOADED.to_vec();
    settings.push("authz.audit_queue_size = 64kB");
    let cluster = Cluster::start(&settings);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&mut db.connect());
    let holder = hold(db.connect());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut c = db.connect();
                execute(&mut c, "SET statement_timeout = '60s'");
                act(&mut c, "alice", "full");
                for _ in 0..300 {
                    refused(&mut c, &require("case.edit"), "42501", &[]);
                }
            });
        }
    });
    let mut c = db.connect();
    let (_, queued, _, _, counted) = statistics(&mut c);
    assert_eq!(queued + counted, 900);
    assert!(
        queued > 50 && counted > 300,
        "{queued} in the queue, {counted} in the log"
    );
    drop(holder);
    settle(&mut c);
    let in_table: BTreeSet<String> = c
        .query("SELECT audit_id::text FROM authz.access_audit_event", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let lines = logged(&cluster);
    let in_log: BTreeSet<String> = lines
        .iter()
        .map(|l| l["audit_id"].as_str().expect("each has an id").to_owned())
        .collect();
    assert!(in_table.is_disjoint(&in_log));
    assert_eq!(in_table.len() + in_log.len(), 900);
    // There is room again.
    for _ in 0..300 {
        act(&mut c, "alice", "afterwards");
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    settle(&mut c);
    let after = events(&mut c, "afterwards");
    let lost = logged(&cluster)
        .iter()
        .filter(|l| l["request_id"] == "afterwards")
        .count() as i64;
    assert_eq!(after + lost, 300);
    assert!(after > 0);
}

#[test]
fn a_standby_has_no_writers_until_it_is_promoted() {
    let mut settings = PRELOADED.to_vec();
    settings.push("wal_level = replica");
    let primary = Cluster::start(&settings);
    let db = Db::on(&primary.server, Start::Fixture);
    fill(&mut db.connect());
    // Something waits in the primary's queue while the copy is made: it is the primary's alone.
    let mut c = db.connect();
    act(&mut c, "alice", "primary");
    let holder = hold(db.connect());
    refused(&mut c, &require("case.edit"), "42501", &[]);
    let standby = primary.standby_with(PRELOADED);
    drop(holder);
    soon("the primary writes it", || events(&mut c, "primary") == 1);
    let mut s = standby.server.connect(&db.name, "postgres");
    soon("the standby has it", || events(&mut s, "primary") == 1);
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'authz_ext%'";
    assert_eq!(value::<i64>(&mut s, workers, &[]), 0);
    act(&mut s, "alice", "standby");
    refused(&mut s, &require("case.edit"), "0A000", &["standby"]);
    // The chain can be verified there.
    execute(&mut c, "SELECT authz_audit_seal()");
    soon("the seal arrives", || {
        value::<i64>(&mut s, "SELECT seals FROM authz_audit_verify() WHERE valid", &[]) >= 1
    });
    standby.promote();
    soon("the launcher starts", || value::<i64>(&mut s, workers, &[]) >= 1);
    act(&mut s, "alice", "promoted");
    refused(&mut s, &require("case.edit"), "42501", &[]);
    soon("the former standby writes", || events(&mut s, "promoted") == 1);
    assert_eq!(events(&mut s, "primary"), 1);
}
