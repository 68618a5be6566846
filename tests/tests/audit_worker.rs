//! R53: events of transactions that roll back survive, exactly once each, through background workers where the library
//! is preloaded and in the server's log where it is not; whatever crashes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use authz_tests::cluster::{Cluster, kill};
use authz_tests::make::{self, id};
use authz_tests::waiting::soon;
use authz_tests::{Db, Server, Start, execute, refused, value};
use postgres::Client;
use uuid::Uuid;

const PRELOADED: &[&str] = &["shared_preload_libraries = authz_ext", "max_prepared_transactions = 5"];

/// Alice may view the case `affair` and not edit it; every connection of `app` acts for her.
fn fill(db: &Db) {
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    make::member(&mut c, acme, "alice");
    make::case(&mut c, acme, "affair");
    make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    make::member(&mut c, acme, "bob");
    execute(&mut c, "SELECT authz.prepare_audit_partitions(1)");
}

fn act(c: &mut Client, request: &str) {
    execute(
        c,
        &format!(
            "SELECT authz_set_session('{}', NULL, '{{\"request_id\": \"{request}\"}}', false)",
            id("alice")
        ),
    );
}

fn require(permission: &str) -> String {
    format!("SELECT authz_require('{permission}', '{}'::uuid)", id("affair"))
}

fn check(permission: &str) -> String {
    format!(
        "SELECT authz_check('{}', '{permission}', '{}'::uuid)",
        id("alice"),
        id("affair")
    )
}

/// Events of a request.
fn events(c: &mut Client, request: &str) -> i64 {
    value(
        c,
        "SELECT count(*) FROM authz.access_audit_event WHERE request_id = $1",
        &[&request],
    )
}

fn statistics(c: &mut Client) -> (String, i64, i64, i64, i64) {
    let row = c
        .query_one(
            "SELECT audit_outlet, audit_queued, audit_written, audit_waiting, audit_logged FROM authz_stats()",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

/// Waits until nothing is on its way, and then a little for what should not come.
#[track_caller]
fn settle(c: &mut Client) {
    soon("the queue is empty", || statistics(c).3 == 0);
    std::thread::sleep(Duration::from_millis(200));
}

/// The events in a log, as JSON.
fn logged(log: &str) -> Vec<serde_json::Value> {
    log.lines()
        .filter_map(|line| line.split_once("authz_ext access event: "))
        .map(|(_, json)| serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}")))
        .collect()
}

#[test]
fn with_workers_every_event_of_a_rollback_is_written_once() {
    let cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
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
        act(&mut c, request);
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
    act(&mut c, "disconnected");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    drop(c);
    let mut c = db.connect();
    act(&mut c, "terminated");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    let pid: i32 = value(&mut c, "SELECT pg_backend_pid()", &[]);
    let _: bool = value(&mut admin, "SELECT pg_terminate_backend($1)", &[&pid]);
    for request in ["disconnected", "terminated"] {
        soon(request, || events(&mut admin, request) == 1);
    }

    // A prepared transaction that is rolled back has left its events in the log, when it was prepared.
    let mut c = db.connect();
    act(&mut c, "two");
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    execute(&mut c, "PREPARE TRANSACTION 'two'");
    execute(&mut c, "ROLLBACK PREPARED 'two'");
    settle(&mut admin);
    assert_eq!(events(&mut admin, "two"), 0);
    let lines = logged(&cluster.log());
    assert_eq!(
        lines.iter().filter(|l| l["request_id"] == "two").count(),
        1,
        "{lines:#?}"
    );
    let (_, queued, written, waiting, _) = statistics(&mut admin);
    assert_eq!((queued, waiting), (written, 0));
}

#[test]
fn without_workers_events_of_a_rollback_are_lines_of_json_in_the_log() {
    let cluster = Cluster::start(&["log_min_messages = error"]);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
    let mut c = db.connect();
    act(&mut c, "r");
    refused(&mut c, &require("case.edit"), "42501", &[]);
    execute(&mut c, "BEGIN");
    execute(&mut c, &require("case.view"));
    execute(&mut c, "ROLLBACK");
    execute(&mut c, &require("case.view"));
    assert_eq!(statistics(&mut c), ("log".to_owned(), 0, 0, 0, 2));
    assert_eq!(events(&mut c, "r"), 1);
    let lines = logged(&cluster.log());
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0]["access_result"], "denied");
    assert_eq!(lines[0]["policy_reason"], "no_grant");
    assert_eq!(lines[1]["access_result"], "allowed");
    for line in &lines {
        assert_eq!(line["principal_id"], id("alice").to_string());
        assert_eq!(line["action_code"].as_str().map(|a| a.starts_with("case.")), Some(true));
        assert_eq!(line["resource_id"], id("affair").to_string());
    }
    // A line of the log is a row when it is wanted, and only once.
    let texts: Vec<String> = lines.iter().map(ToString::to_string).collect();
    for _ in 0..2 {
        let refused: Vec<i32> = value(&mut c, "SELECT authz.deliver_access_events($1)", &[&texts]);
        assert!(refused.is_empty());
    }
    assert_eq!(events(&mut c, "r"), 3);
    // Many events of one transaction do not fill the memory, and none is missing.
    act(&mut c, "many");
    execute(&mut c, "BEGIN");
    execute(&mut c, "SAVEPOINT a");
    execute(
        &mut c,
        &format!(
            "SELECT count(authz_check('{}', 'case.view', '{}'::uuid)) FROM generate_series(1, 6000)",
            id("alice"),
            id("affair")
        ),
    );
    execute(&mut c, "SAVEPOINT b");
    execute(&mut c, &check("case.edit"));
    execute(&mut c, "ROLLBACK TO b");
    execute(&mut c, "ROLLBACK TO a");
    execute(&mut c, "ROLLBACK");
    let lines = logged(&cluster.log());
    assert_eq!(lines.iter().filter(|l| l["request_id"] == "many").count(), 6001);
    let ids: BTreeSet<&str> = lines.iter().filter_map(|l| l["audit_id"].as_str()).collect();
    assert_eq!(ids.len(), 6003);
}

#[test]
fn each_database_gets_its_own_events() {
    let cluster = Cluster::start(PRELOADED);
    let databases: Vec<Db> = (0..4).map(|_| Db::on(&cluster.server, Start::Fixture)).collect();
    databases.iter().for_each(fill);
    std::thread::scope(|scope| {
        for db in &databases {
            scope.spawn(|| {
                let mut c = db.connect();
                act(&mut c, &db.name);
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

/// What is in the queue cannot be written while somebody holds the table.
fn hold(db: &Db) -> Client {
    let mut holder = db.connect();
    execute(
        &mut holder,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
    );
    holder
}

#[test]
fn a_full_queue_neither_blocks_nor_loses_silently() {
    let mut settings = PRELOADED.to_vec();
    settings.push("authz.audit_queue_size = 64kB");
    let cluster = Cluster::start(&settings);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
    let holder = hold(&db);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut c = db.connect();
                act(&mut c, "full");
                for _ in 0..300 {
                    refused(&mut c, &require("case.edit"), "42501", &[]);
                }
            });
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
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
    let lines = logged(&cluster.log());
    let in_log: BTreeSet<String> = lines
        .iter()
        .map(|l| l["audit_id"].as_str().expect("each has an id").to_owned())
        .collect();
    assert!(in_table.is_disjoint(&in_log));
    assert_eq!(in_table.len() + in_log.len(), 900);
    // There is room again.
    for _ in 0..300 {
        act(&mut c, "afterwards");
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    settle(&mut c);
    let after = events(&mut c, "afterwards");
    let lost = logged(&cluster.log())
        .iter()
        .filter(|l| l["request_id"] == "afterwards")
        .count() as i64;
    assert_eq!(after + lost, 300);
    assert!(after > 0);
}

#[test]
fn events_survive_the_end_of_their_workers_and_of_the_server() {
    let mut cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
    let name = db.name.clone();
    let connect = |cluster: &Cluster| cluster.server.connect(&name, "postgres");
    let mut expected = 0;
    for round in [
        "writer terminated",
        "launcher terminated",
        "writer killed",
        "stopped",
        "crashed",
    ] {
        let mut holder = connect(&cluster);
        execute(
            &mut holder,
            "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
        );
        let mut c = connect(&cluster);
        act(&mut c, "kept");
        for _ in 0..20 {
            refused(&mut c, &require("case.edit"), "42501", &[]);
        }
        expected += 20;
        let pid_of = |c: &mut Client, kind: &str| -> i32 {
            let sql = "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = $1";
            soon(kind, || value::<i32>(c, sql, &[&kind]) != 0);
            value(c, sql, &[&kind])
        };
        match round {
            "writer terminated" | "launcher terminated" => {
                let kind = format!("authz_ext audit {}", round.split(' ').next().unwrap_or_default());
                let pid = pid_of(&mut c, &kind);
                assert!(value::<bool>(&mut c, "SELECT pg_terminate_backend($1)", &[&pid]));
                execute(&mut holder, "COMMIT");
            }
            "writer killed" => {
                let pid = pid_of(&mut c, "authz_ext audit writer");
                kill(pid as u32);
                // Until it has noticed, it still takes connections, and ends them then.
                soon("the server noticed", || c.batch_execute("SELECT").is_err());
                soon("the server is back", || {
                    cluster.server.try_connect(&name, "postgres").is_ok()
                });
                // The connections of the test noticed as well.
                drop((c, holder));
            }
            "stopped" => {
                drop((c, holder));
                cluster = cluster.restart(PRELOADED);
            }
            _ => cluster = cluster.crash(PRELOADED),
        }
        let mut c = connect(&cluster);
        settle(&mut c);
        soon(round, || events(&mut c, "kept") == expected);
        settle(&mut c);
        assert_eq!(events(&mut c, "kept"), expected, "{round}");
    }
    // A queue of another size: nothing that waits in the old one is lost.
    let mut holder = connect(&cluster);
    execute(
        &mut holder,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE",
    );
    let mut c = connect(&cluster);
    act(&mut c, "resized");
    for _ in 0..5 {
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    let mut other = PRELOADED.to_vec();
    other.push("authz.audit_queue_size = 1MB");
    let cluster = cluster.crash(&other);
    let mut c = connect(&cluster);
    settle(&mut c);
    let lines = logged(&cluster.log());
    let kept = lines.iter().filter(|l| l["request_id"] == "resized").count() as i64;
    assert_eq!(kept + events(&mut c, "resized"), 5);
}

#[test]
fn events_of_a_database_without_the_extension_or_of_none_go_to_the_log() {
    let cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    let keeper = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
    let mut c = db.connect();
    act(&mut c, "uninstalled");
    // The writer has to wait until the extension is dropped.
    execute(
        &mut c,
        "BEGIN; LOCK TABLE authz.access_audit_event IN ACCESS EXCLUSIVE MODE; SAVEPOINT a",
    );
    refused(&mut c, &require("case.edit"), "42501", &[]);
    execute(&mut c, "ROLLBACK TO a; DROP EXTENSION authz_ext; COMMIT");
    let mut k = keeper.connect();
    settle(&mut k);
    let count = |cluster: &Cluster, request: &str| {
        logged(&cluster.log())
            .iter()
            .filter(|l| l["request_id"] == request)
            .count()
    };
    assert_eq!(count(&cluster, "uninstalled"), 1);

    let dropped = Db::on(&cluster.server, Start::Fixture);
    fill(&dropped);
    let holder = hold(&dropped);
    let mut c = dropped.connect();
    act(&mut c, "dropped");
    for _ in 0..3 {
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    let mut admin = cluster.server.connect("postgres", "postgres");
    execute(&mut admin, &format!("DROP DATABASE {} WITH (FORCE)", dropped.name));
    drop((c, holder));
    soon("the lines of the dropped database", || count(&cluster, "dropped") == 3);
    // Others go on.
    fill(&keeper);
    act(&mut k, "others");
    refused(&mut k, &require("case.edit"), "42501", &[]);
    soon("others go on", || events(&mut k, "others") == 1);
}

#[test]
fn a_standby_has_no_writers_until_it_is_promoted() {
    let mut settings = PRELOADED.to_vec();
    settings.push("wal_level = replica");
    let primary = Cluster::start(&settings);
    let db = Db::on(&primary.server, Start::Fixture);
    fill(&db);
    // Something waits in the primary's queue while the copy is made: it is the primary's alone.
    let mut c = db.connect();
    act(&mut c, "primary");
    let holder = hold(&db);
    refused(&mut c, &require("case.edit"), "42501", &[]);
    let standby = primary.standby_with(PRELOADED);
    drop(holder);
    soon("the primary writes it", || events(&mut c, "primary") == 1);
    let mut s = standby.server.connect(&db.name, "postgres");
    soon("the standby has it", || events(&mut s, "primary") == 1);
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'authz_ext%'";
    assert_eq!(value::<i64>(&mut s, workers, &[]), 0);
    act(&mut s, "standby");
    refused(&mut s, &require("case.edit"), "0A000", &["standby"]);
    // The chain can be verified there.
    execute(&mut c, "SELECT authz_audit_seal()");
    soon("the seal arrives", || {
        value::<i64>(&mut s, "SELECT seals FROM authz_audit_verify() WHERE valid", &[]) >= 1
    });
    standby.promote();
    soon("the launcher starts", || value::<i64>(&mut s, workers, &[]) >= 1);
    act(&mut s, "promoted");
    refused(&mut s, &require("case.edit"), "42501", &[]);
    soon("the former standby writes", || events(&mut s, "promoted") == 1);
    assert_eq!(events(&mut s, "primary"), 1);
}

/// Rounds of the crash test: some for every day, 200 for a release.
fn rounds() -> u32 {
    std::env::var("AUTHZ_CRASH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8)
}

/// In every round several connections check, require and seal until a process is killed with signal 9: a backend, a
/// worker, or the postmaster. What was acknowledged is there, once; the chain verifies against the last head that was
/// acknowledged; and no check that begins after a revocation was acknowledged allows, before the kill or after it.
#[test]
fn every_acknowledged_event_survives_kill_9() {
    let mut cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&db);
    let name = db.name.clone();
    let mut anchor = "authz1:0:".to_owned() + &"0".repeat(64);
    let (mut acknowledged, mut revoked): (u64, u64) = (0, 0);
    for round in 0..rounds() {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..3)
            .map(|n| {
                let (server, name, stop, done) = (cluster.server.clone(), name.clone(), stop.clone(), done.clone());
                std::thread::spawn(move || work(&server, &name, &format!("{round}.{n}"), &stop, &done))
            })
            .collect();
        let sealer = {
            let (server, name, stop) = (cluster.server.clone(), name.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut head = None;
                let Ok(mut c) = server.try_connect(&name, "postgres") else {
                    return head;
                };
                while !stop.load(Ordering::Relaxed) {
                    match c.query_one("SELECT head FROM authz_audit_seal()", &[]) {
                        Ok(row) => head = Some(row.get::<_, String>(0)),
                        Err(_) => return head,
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                head
            })
        };
        let revoker = {
            let (server, name, stop) = (cluster.server.clone(), name.clone(), stop.clone());
            std::thread::spawn(move || grant_and_revoke(&server, &name, &stop))
        };
        let at_least = 20 + u64::from(round % 7) * 15;
        soon("there is load", || done.load(Ordering::Relaxed) >= at_least);
        let mut witness = cluster.server.connect(&name, "postgres");
        let victim = {
            let c = &mut witness;
            let kind = ["client backend", "authz_ext audit writer", "authz_ext audit launcher"][round as usize / 2 % 3];
            c.query(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = $1 AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1",
                &[&kind],
            )
            .ok()
            .and_then(|rows| rows.first().map(|row| row.get::<_, i32>(0)))
        };
        match victim {
            Some(pid) if round % 2 == 0 => {
                let hit = std::process::Command::new("kill")
                    .args(["-9", &pid.to_string()])
                    .status();
                // Until the server notices that it was hit, it goes on. (A writer may have ended by itself before.)
                if hit.is_ok_and(|status| status.success()) {
                    soon("the server has noticed", || witness.simple_query("SELECT 1").is_err());
                }
            }
            _ => cluster = cluster.crash(PRELOADED),
        }
        stop.store(true, Ordering::Relaxed);
        let kept: Vec<(String, u64)> = workers.into_iter().map(|w| w.join().unwrap()).collect();
        if let Some(head) = sealer.join().unwrap() {
            anchor = head;
        }
        let (revocations, last) = revoker.join().unwrap();
        revoked += revocations;
        soon("the server is back", || {
            cluster
                .server
                .try_connect(&name, "postgres")
                .is_ok_and(|mut c| c.simple_query("SELECT 1").is_ok())
        });
        let mut c = cluster.server.connect(&name, "postgres");
        if let Some(expected) = last {
            let allowed: bool = value(&mut c, MAY_BOB, &[&id("bob"), &id("affair")]);
            assert_eq!(allowed, expected, "round {round}: what was acknowledged about bob");
        }
        settle(&mut c);
        for (worker, n) in &kept {
            acknowledged += n;
            let there: Vec<i64> = c
                .query(
                    "SELECT DISTINCT (regexp_replace(request_id, '^.*/', ''))::bigint FROM authz.access_audit_event
                      WHERE request_id LIKE $1 || '/%'",
                    &[worker],
                )
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            let there: BTreeSet<u64> = there.into_iter().map(|n| n as u64).collect();
            let missing: Vec<u64> = (0..*n).filter(|n| !there.contains(n)).collect();
            assert!(
                missing.is_empty(),
                "round {round}: of {worker} {missing:?} of {n} are missing"
            );
        }
        let twice: i64 = value(
            &mut c,
            "SELECT count(*) FROM (SELECT FROM authz.access_audit_event GROUP BY request_id HAVING count(*) > 1) AS x",
            &[],
        );
        assert_eq!(twice, 0, "round {round}");
        let verdict = c
            .query_one("SELECT valid, detail FROM authz_audit_verify($1)", &[&anchor])
            .unwrap();
        assert!(
            verdict.get::<_, bool>(0),
            "round {round}: {:?}",
            verdict.get::<_, Option<String>>(1)
        );
    }
    println!(
        "{} rounds, {acknowledged} acknowledged events, {revoked} revocations",
        rounds()
    );
    assert!(revoked > 0);
}

const MAY_BOB: &str = "SELECT authz_can($1::uuid, 'case.view', $2::uuid)";

/// Gives Bob a role and takes it from him, in turns, and asks another connection in between. How often it was taken, and
/// what was acknowledged last; nothing, if the kill came before an answer.
fn grant_and_revoke(server: &Server, name: &str, stop: &AtomicBool) -> (u64, Option<bool>) {
    let (Ok(mut writer), Ok(mut reader)) = (
        server.try_connect(name, "postgres"),
        server.try_connect(name, "postgres"),
    ) else {
        return (0, None);
    };
    let (bob, affair) = (id("bob"), id("affair"));
    let mut revoked = 0;
    // What a former round left is not known.
    let mut steps = [
        (
            "UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at)
              WHERE principal_id = $1 AND revoked_at IS NULL",
            false,
        ),
        (
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             SELECT tenant_id, $1, 'viewer', 'tenant', tenant_id::text FROM authz.tenant",
            true,
        ),
    ]
    .iter()
    .cycle();
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let Some((change, expected)) = steps.next() else { break };
        if writer.execute(*change, &[&bob]).is_err() {
            return (revoked, None);
        }
        last = Some(*expected);
        revoked += u64::from(!expected);
        if let Ok(row) = reader.query_one(MAY_BOB, &[&bob, &affair]) {
            assert_eq!(row.get::<_, bool>(0), *expected, "after {change}");
        }
    }
    (revoked, last)
}

/// Checks (committed or rolled back) and denials, numbered; how many were acknowledged.
fn work(server: &Server, name: &str, worker: &str, stop: &AtomicBool, done: &AtomicU64) -> (String, u64) {
    let mut n = 0;
    if let Ok(mut c) = server.try_connect(name, "postgres") {
        while !stop.load(Ordering::Relaxed) && one(&mut c, worker, n) {
            n += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    (worker.to_owned(), n)
}

fn one(c: &mut Client, worker: &str, n: u64) -> bool {
    let begin = format!(
        "SELECT authz_set_session('{}', NULL, '{{\"request_id\": \"{worker}/{n}\"}}', false)",
        id("alice")
    );
    if c.batch_execute(&begin).is_err() {
        return false;
    }
    match n % 3 {
        0 => c.batch_execute(&check("case.view")).is_ok(),
        1 => c
            .batch_execute(&format!("BEGIN; {}; ROLLBACK", check("case.edit")))
            .is_ok(),
        _ => c
            .batch_execute(&require("case.edit"))
            .is_err_and(|e| e.code().is_some_and(|code| code.code() == "42501")),
    }
}

/// Later keys are greater, so that inserts meet in the same pages of the index.
#[test]
fn ids_of_events_grow_with_time() {
    let db = Db::new();
    fill(&db);
    let mut c = db.connect();
    let mut last = Uuid::nil();
    for _ in 0..5 {
        let next: Uuid = value(
            &mut c,
            "SELECT authz.record_access('x', NULL, NULL, NULL, 'allowed')",
            &[],
        );
        assert!(next > last);
        last = next;
        std::thread::sleep(Duration::from_millis(2));
    }
}
