//! Partitions are there when they are needed, made once, and making them lets nobody wait (R50).

use crate::{check, count};
use authz_tests::make;
use authz_tests::waiting::soon;
use authz_tests::{Db, execute, refused_with_hint, report, value};
use postgres::error::SqlState;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn the_first_event_of_a_month_that_nobody_prepared_makes_its_partition() {
    let db = Db::new();
    let mut c = db.connect();
    make::affair(&mut c);
    let others = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'authz.access_audit_event'::regclass";
    assert_eq!(value::<i64>(&mut c, others, &[]), 1);
    assert!(check(&mut c, "case.view"));
    soon("a background worker makes partitions", || {
        value::<i64>(&mut c, others, &[]) >= 5
    });
    assert!(check(&mut c, "case.view"));
    let placed: String = value(
        &mut c,
        "SELECT string_agg(DISTINCT tableoid::regclass::text, ' ') FROM authz.access_audit_event",
        &[],
    );
    let month: String = value(
        &mut c,
        "SELECT to_char(now() AT TIME ZONE 'UTC', '\"authz.access_audit_event_y\"YYYY\"m\"MM')",
        &[],
    );
    assert_eq!(placed, month, "the first event was moved, the second went there");
    assert_eq!(count(&mut c), 2);
}

#[test]
fn preparing_moves_rows_waits_for_nobody_and_lets_nobody_wait() {
    let db = Db::new();
    let mut c = db.connect();
    for month in [
        "2025-01-31 23:59:59.999999Z",
        "2025-02-01 00:00Z",
        "2024-02-29Z",
        "1999-12-31Z",
    ] {
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'allowed', '{month}')"
            ),
        );
    }
    // Somebody is writing, and does not end.
    let mut writer = db.connect();
    execute(
        &mut writer,
        "BEGIN; INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'allowed', '2025-01-01')",
    );
    execute(&mut c, "SET statement_timeout = '60s'");
    refused_with_hint(&mut c, "SELECT authz.prepare_audit_partitions(0)", "55P03", &[]);
    let (begun, begins) = channel();
    let preparing = std::thread::spawn({
        let mut p = db.connect();
        move || {
            // It gives up after a while, and is asked again until the writer has ended.
            loop {
                let _ = begun.send(());
                match p.batch_execute("SELECT authz.prepare_audit_partitions(0)") {
                    Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
                    done => return done.map_err(|e| report(&e)),
                }
            }
        }
    });
    begins.recv().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut other = db.connect();
    execute(
        &mut other,
        "SET lock_timeout = '1s'; INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'denied', '2025-02-02')",
    );
    execute(&mut writer, "COMMIT");
    assert_eq!(preparing.join().unwrap(), Ok(()));
    let placed: Vec<String> = c
        .query(
            "SELECT tableoid::regclass || ' ' || count(*) FROM authz.access_audit_event GROUP BY tableoid ORDER BY 1",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let expected = [
        "authz.access_audit_event_y1999m12 1",
        "authz.access_audit_event_y2024m02 1",
        "authz.access_audit_event_y2025m01 2",
        "authz.access_audit_event_y2025m02 2",
    ];
    assert_eq!(placed, expected);
    // Moving has left the guard in place.
    refused_with_hint(&mut c, "DELETE FROM authz.access_audit_event", "55000", &[]);
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at) VALUES ('x', 'denied', '2031-02-02');",
    );
    refused_with_hint(&mut c, "DELETE FROM authz.access_audit_event_default", "55000", &[]);
    assert_eq!(value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(0)", &[]), 1);
    assert_eq!(value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(0)", &[]), 0);
}

#[test]
fn two_that_prepare_at_once_make_each_partition_once() {
    let db = Db::new();
    let made: i32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut c = db.connect();
                scope.spawn(move || value::<i32>(&mut c, "SELECT authz.prepare_audit_partitions(11)", &[]))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(made, 12);
}
