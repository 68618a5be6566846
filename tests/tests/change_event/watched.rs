//! Every table of authority is watched, and every other has a reason not to be (R51).

use authz_tests::{Db, Start};
use std::collections::BTreeSet;

/// Tables of schema authz whose changes leave no event, and why.
const NOT_WATCHED: [(&str, &str); 14] = [
    ("access_audit_event", "append-only: evidence itself"),
    ("access_change_event", "append-only: the events"),
    ("audit_seal", "append-only: the chain over both"),
    ("data_export_chunk", "content; its hash stands in the job"),
    ("export_rate", "a counter; each request is a job"),
    ("hierarchy_lock", "a lock"),
    ("profile", "what is known of a person; gives no authority"),
    ("reveal_charge", "a counter; each reveal is an access event"),
    ("reveal_lock", "a lock"),
    ("sod_lock", "a lock"),
    ("sod_use", "append-only: what was done under which role"),
    (
        "tenant_principal_profile",
        "what a tenant may know of a person; gives no authority",
    ),
    (
        "work_assignment",
        "who works on what; gives no authority, rows are closed",
    ),
    ("work_load", "a counter"),
];

/// R51: each table of schema authz leaves change events, or stands above with a reason.
#[test]
fn every_table_leaves_events_or_has_a_reason_not_to() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let not_watched: BTreeSet<String> = c
        .query(
            "SELECT c.relname::text FROM pg_class AS c
              WHERE c.relnamespace = 'authz'::regnamespace AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
                AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgfoid = 'authz.record_change()'::regprocedure)",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(not_watched, NOT_WATCHED.iter().map(|t| t.0.to_owned()).collect());
}

/// Every table whose changes are announced is watched, whatever helper added it, in every mode of a session.
#[test]
fn every_authority_table_is_watched() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let bad: Vec<String> = c
        .query(
            "SELECT t.tgrelid::regclass::text FROM pg_trigger AS t WHERE t.tgname = 'invalidate'
             UNION SELECT unnest('{authz.signing_key,authz.sod_constraint}'::text[])
             EXCEPT
             SELECT t.tgrelid::regclass::text FROM pg_trigger AS t
              WHERE t.tgfoid = 'authz.record_change()'::regprocedure GROUP BY t.tgrelid
             HAVING array_agg(t.tgname || ' ' || t.tgenabled::text ORDER BY t.tgname)
                  = '{record_delete A,record_insert A,record_replicated R,record_truncate A,record_update A}'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert_eq!(bad, Vec::<String>::new());
}
