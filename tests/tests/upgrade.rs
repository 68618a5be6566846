//! pg_upgrade (R70): what is decided, sealed and guarded stays so, in a cluster whose transactions are counted elsewhere.

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, value};
use postgres::Client;
use serde_json::Value;

fn can(c: &mut Client, who: &str) -> bool {
    value(
        c,
        "SELECT authz_check($1::uuid, 'case.view', $2::uuid)",
        &[&id(who), &id("affair")],
    )
}

fn verify(c: &mut Client, anchor: &str) -> Value {
    value(c, "SELECT to_jsonb(v) FROM authz_audit_verify($1) AS v", &[&anchor])
}

fn seal(c: &mut Client) -> String {
    value(c, "SELECT head FROM authz_audit_seal()", &[])
}

/// R54: the chain verifies afterwards, an anchor from before holds, what was not sealed yet is sealed, and tampering shows.
#[test]
fn a_sealed_cluster_is_upgraded() {
    let old = Cluster::start(&[]);
    let db = Db::on(&old.server, Start::Fixture);
    let name = db.name.clone();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    for who in ["alice", "bob"] {
        make::member(&mut c, acme, who);
    }
    make::case(&mut c, acme, "affair");
    let held = make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    execute(
        &mut c,
        "INSERT INTO authz.access_audit_event (action_code, access_result, occurred_at)
         SELECT 'case.view', 'denied', '2025-01-01Z'::timestamptz + i * interval '1 day' FROM generate_series(1, 60) AS i;
         SELECT authz.prepare_audit_partitions(1);
         SELECT authz_protect('case_record', 'case', 'case_id', 'tenant_id', team => 'owning_team_id')",
    );
    assert!(can(&mut c, "alice") && !can(&mut c, "bob"));
    let anchor = seal(&mut c);
    let before = verify(&mut c, &anchor);
    assert_eq!(before["valid"], true, "{before}");
    // Not sealed when the old server stops.
    make::revoke(&mut c, held);
    assert!(!can(&mut c, "alice"));
    let counted: i64 = value(&mut c, "SELECT count(*) FROM authz.access_audit_event", &[]);
    let changes: i64 = value(&mut c, "SELECT count(*) FROM authz.access_change_event", &[]);
    let cluster: i64 = value(&mut c, "SELECT authz.cluster_id()", &[]);
    drop(c);
    // It goes with its cluster.
    std::mem::forget(db);

    let new = old.upgrade(&[]);
    let mut c = new.server.connect(&name, "postgres");
    assert_ne!(value::<i64>(&mut c, "SELECT authz.cluster_id()", &[]), cluster);
    assert_eq!(
        (
            value::<i64>(&mut c, "SELECT count(*) FROM authz.access_audit_event", &[]),
            value::<i64>(&mut c, "SELECT count(*) FROM authz.access_change_event", &[])
        ),
        (counted, changes),
        "nothing is lost or made up"
    );
    let after = verify(&mut c, &anchor);
    assert_eq!(after["valid"], true, "{after}");
    assert_eq!(after["events"], before["events"]);
    assert!(after["unsealed"].as_i64() > Some(0), "{after}");
    // It decides as before, tells others, records, and guards.
    let mut other = new.server.connect(&name, "postgres");
    assert!(!can(&mut other, "alice"));
    let again = make::assign(&mut c, acme, id("alice"), "viewer", "tenant", acme);
    assert!(can(&mut other, "alice"));
    make::revoke(&mut c, again);
    assert!(!can(&mut other, "alice"));
    assert_eq!(
        value::<i64>(&mut c, "SELECT count(*) FROM authz.access_change_event", &[]),
        changes + 2
    );
    refused(
        &mut c,
        "DELETE FROM authz.access_audit_event",
        "55000",
        &["append-only"],
    );
    refused(&mut c, "TRUNCATE authz.access_change_event", "55000", &["append-only"]);
    refused(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = NULL",
        "55000",
        &["not overwritten"],
    );
    let head = seal(&mut c);
    let sealed = verify(&mut c, &anchor);
    assert_eq!(
        (&sealed["valid"], &sealed["unsealed"]),
        (&true.into(), &0.into()),
        "{sealed}"
    );
    assert_eq!(verify(&mut c, &head)["valid"], true);
    // Of either cluster's events.
    for which in ["=", "<>"] {
        execute(
            &mut c,
            &format!(
                "BEGIN; ALTER TABLE authz.access_change_event DISABLE TRIGGER ALL;
                 UPDATE authz.access_change_event SET reason = 'forged' WHERE event_id =
                     (SELECT event_id FROM authz.access_change_event WHERE cluster_id {which} {cluster} LIMIT 1)"
            ),
        );
        assert_eq!(verify(&mut c, &anchor)["problem"], "changed", "{which}");
        execute(&mut c, "ROLLBACK");
    }
    assert_eq!(verify(&mut c, &anchor)["valid"], true);
}
