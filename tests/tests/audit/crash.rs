//! Events survive their workers and the server, whoever is killed when (R53).

use crate::{check_sql, events, fill, hold, require};
use authz_tests::cluster::{Cluster, PRELOADED, kill};
use authz_tests::make::id;
use authz_tests::reading::{act, logged, set_act, settle};
use authz_tests::waiting::soon;
use authz_tests::{Db, Server, Start, execute, refused, value};
use postgres::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn events_survive_the_end_of_their_workers_and_of_the_server() {
    let mut cluster = Cluster::start(PRELOADED);
    let db = Db::on(&cluster.server, Start::Fixture);
    fill(&mut db.connect());
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
        let mut holder = hold(connect(&cluster));
        let mut c = connect(&cluster);
        act(&mut c, "alice", "kept");
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
    let _holder = hold(connect(&cluster));
    let mut c = connect(&cluster);
    act(&mut c, "alice", "resized");
    for _ in 0..5 {
        refused(&mut c, &require("case.edit"), "42501", &[]);
    }
    let mut other = PRELOADED.to_vec();
    other.push("authz.audit_queue_size = 1MB");
    let cluster = cluster.crash(&other);
    let mut c = connect(&cluster);
    settle(&mut c);
    let lines = logged(&cluster);
    let kept = lines.iter().filter(|l| l["request_id"] == "resized").count() as i64;
    assert_eq!(kept + events(&mut c, "resized"), 5);
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
    fill(&mut db.connect());
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
    if c.batch_execute(&set_act("alice", &format!("{worker}/{n}"))).is_err() {
        return false;
    }
    match n % 3 {
        0 => c.batch_execute(&check_sql("case.view")).is_ok(),
        1 => c
            .batch_execute(&format!("BEGIN; {}; ROLLBACK", check_sql("case.edit")))
            .is_ok(),
        _ => c
            .batch_execute(&require("case.edit"))
            .is_err_and(|e| e.code().is_some_and(|code| code.code() == "42501")),
    }
}
