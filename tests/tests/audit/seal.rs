//! Sealing keeps to the order of commits and lets nobody wait; partitions are archived without a break in the chain (R54,
//! R56, PITFALLS 22).

use crate::{UNGUARDED, fill, fill_months, seal, seal_all, verify};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};

/// PITFALLS 22: sealing goes by the order of commits, so that a transaction that is still open neither waits nor is
/// passed over.
#[test]
fn sealing_waits_for_nobody_and_misses_nobody() {
    let db = Db::new();
    let mut c = db.connect();
    fill_months(&mut c);
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
    execute(&mut open, "SET statement_timeout = '60s'");
    execute(&mut open, &insert("meanwhile"));
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
    fill_months(&mut c);
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
    fill_months(&mut c);
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
    fill_months(&mut c);
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
