//! What an export goes through, from the request to its end (R32, PITFALLS 17).

use crate::content::lines;
use crate::{approve, fetch, run};
use authz_tests::exports::{Exports, download, request, request_sql, run_export};
use authz_tests::make::id;
use authz_tests::{denied, execute, refused, refused_with_hint, value};
use uuid::Uuid;

pub fn end(export: Uuid) -> String {
    format!("SELECT authz_end_export('{export}', 'not needed')")
}

#[test]
fn r32_an_export_is_requested_run_and_downloaded_and_each_step_is_recorded() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    assert_eq!(w.job(export, "status").as_deref(), Some("pending"));
    denied(&mut rex, &fetch(export, 1), "55000", &["pending", "authz_run_export"]);
    assert_eq!(run_export(&mut rex, export), 3);
    let bytes = download(&mut rex, export);
    // As COPY writes it: quotes, commas, line feeds, empty texts, NULL, `\.`; what is classified as pii is masked.
    let copied = w.copy(&format!(
        "SELECT claim_id, status, amount, NULL AS holder, note, filed_at AT TIME ZONE 'UTC' || '+00' AS filed_at FROM public.claim WHERE tenant_id = '{}'",
        id("acme")
    ));
    assert_eq!(
        lines(&bytes),
        lines(&copied),
        "\n{}\n{}",
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(&copied)
    );
    let whole: bool = value(
        &mut w.admin,
        "SELECT content_sha256 = sha256($1) AND byte_count = octet_length($1) AND row_count = 3 AND chunk_count = 1
                AND status = 'completed' AND completed_at IS NOT NULL
           FROM authz.data_export_job WHERE export_id = $2",
        &[&bytes, &export],
    );
    assert!(whole, "the job says what was written");
    denied(&mut rex, &run(export), "55000", &["completed"]);
    for (action, expected) in [("export.request", 1), ("export.run", 1), ("export.download", 1)] {
        assert_eq!(w.events(action, "rex", "allowed"), expected, "{action}");
    }
    let said: bool = value(
        &mut w.admin,
        "SELECT bool_and(resource_type = 'data_export_job' AND resource_id = $1::uuid::text AND tenant_id = $2)
                AND bool_or(action_code = 'export.run' AND context ->> 'sha256' = encode(sha256($3), 'hex') AND context ->> 'rows' = '3')
                AND bool_or(action_code = 'export.download' AND context ->> 'chunk' = '1')
           FROM authz.access_audit_event WHERE principal_id = $4",
        &[&export, &id("acme"), &bytes, &id("rex")],
    );
    assert!(
        said,
        "events name the job, its tenant, the chunk, and the hash of the content"
    );
    let mine: Vec<Uuid> = rex
        .query("SELECT export_id FROM authz_exports()", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(mine, [export]);
    assert!(
        w.of("mia")
            .query("SELECT FROM authz_exports()", &[])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn r32_what_has_expired_is_neither_run_nor_downloaded_and_its_content_is_removed() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let (late, done) = (
        request(&mut rex, ", lifetime => '2 minutes'"),
        request(&mut rex, ", lifetime => '2 minutes'"),
    );
    for export in [late, done] {
        assert_eq!(w.job(export, "expires_at - requested_at").as_deref(), Some("00:02:00"));
    }
    let stays = request(&mut rex, "");
    for export in [done, stays] {
        run_export(&mut rex, export);
    }
    download(&mut rex, done);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.data_export_job SET expires_at = statement_timestamp() WHERE export_id IN ('{late}', '{done}')"
        ),
    );
    denied(&mut rex, &run(late), "55000", &["expired"]);
    denied(&mut rex, &fetch(done, 1), "55000", &["expired"]);
    assert_eq!(w.chunks(), 2, "maintenance has not come by");
    let closed: i64 = value(
        &mut w.admin,
        "SELECT done FROM authz_maintain() WHERE step = 'exports expired'",
        &[],
    );
    assert_eq!(closed, 2);
    assert_eq!(w.chunks(), 1);
    for export in [late, done] {
        assert_eq!(w.job(export, "status").as_deref(), Some("expired"));
    }
    denied(&mut rex, &fetch(done, 1), "55000", &["expired"]);
    download(&mut rex, stays);
    // No longer than the definition says, and not for a time that compares as short and is long.
    let long = request(&mut rex, ", lifetime => '10 years'");
    let within: bool = value(
        &mut w.admin,
        "SELECT expires_at <= requested_at + interval '24 hours' FROM authz.data_export_job WHERE export_id = $1",
        &[&long],
    );
    assert!(within);
    refused(&mut rex, &request_sql(", lifetime => '0'"), "22023", &["positive"]);
    // Who asked for it may end it before, and so may who approves.
    execute(&mut rex, &end(stays));
    assert_eq!((w.job(stays, "status").as_deref(), w.chunks()), (Some("expired"), 0));
    denied(&mut rex, &fetch(stays, 1), "55000", &["expired"]);
    denied(&mut w.of("gus"), &end(long), "42501", &["permission denied"]);
    refused(
        &mut rex,
        &format!("SELECT authz_end_export('{long}', ' ')"),
        "22023",
        &["reason"],
    );
    execute(&mut w.of("ann"), &end(long));
    assert_eq!(w.job(long, "ended_by"), Some(id("ann").to_string()));
    // Content that is lost is said to be lost.
    let lost = request(&mut rex, "");
    run_export(&mut rex, lost);
    execute(&mut w.admin, "DELETE FROM authz.data_export_chunk");
    denied(&mut rex, &fetch(lost, 1), "55000", &["gone"]);
}

/// Neither the limit of requests nor the job would be left of a download that is rolled back.
#[test]
fn r32_a_rollback_gives_nothing_out() {
    let w = Exports::new();
    let mut rex = w.of("rex");
    execute(&mut rex, "BEGIN");
    let export = request(&mut rex, "");
    execute(&mut rex, "SAVEPOINT s");
    run_export(&mut rex, export);
    execute(&mut rex, "RELEASE s; SAVEPOINT t");
    refused_with_hint(&mut rex, &fetch(export, 1), "55000", &["is not committed"]);
    execute(&mut rex, "ROLLBACK TO t; COMMIT");
    assert!(!download(&mut rex, export).is_empty());
}

/// PITFALLS 17: nobody waits for the row, whose authority could end meanwhile.
#[test]
fn pitfall_17_a_download_waits_for_nobody() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    run_export(&mut rex, export);
    execute(
        &mut w.admin,
        &format!("BEGIN; SELECT FROM authz.data_export_job WHERE export_id = '{export}' FOR UPDATE"),
    );
    refused_with_hint(&mut rex, &fetch(export, 1), "55000", &["being worked on"]);
    execute(&mut w.admin, "ROLLBACK");
    assert!(!download(&mut rex, export).is_empty());
}

#[test]
fn r32_a_worker_runs_it_by_the_requesters_authority() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let (masked, sensitive) = (request(&mut rex, ""), request(&mut rex, ", unmasked => true"));
    let mut worker = w.db.connect_as(&w.app);
    let row = worker.query("SELECT * FROM authz_runnable_exports()", &[]).unwrap();
    assert_eq!(row.len(), 1, "what is not approved is not runnable");
    let (export, who, tenant): (Uuid, Uuid, Uuid) = (row[0].get(0), row[0].get(1), row[0].get(2));
    assert_eq!((export, who, tenant), (masked, id("rex"), id("acme")));
    denied(&mut worker, &run(export), "42501", &["permission denied"]);
    execute(
        &mut worker,
        &format!(
            "BEGIN; SELECT authz_set_session('{who}', '{tenant}'); {}; COMMIT",
            run(export)
        ),
    );
    assert_eq!(w.job(export, "status").as_deref(), Some("completed"));
    denied(&mut worker, &fetch(export, 1), "42501", &["permission denied"]);
    execute(&mut w.of("ann"), &approve(sensitive));
    let runnable: i64 = value(&mut worker, "SELECT count(*) FROM authz_runnable_exports()", &[]);
    assert_eq!(runnable, 1);
}

/// Nothing half done, and no other error than the one that is documented, where no event can be written.
#[test]
fn exports_in_a_read_only_transaction_are_refused_with_a_hint() {
    let w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    let done = request(&mut rex, "");
    run_export(&mut rex, done);
    execute(&mut rex, "SET default_transaction_read_only = on");
    for call in [
        request_sql(""),
        run(export),
        approve(export),
        fetch(done, 1),
        end(export),
    ] {
        refused_with_hint(
            &mut rex,
            &call,
            "0A000",
            &["read-only", "read-write transaction on the primary"],
        );
    }
    execute(&mut rex, "SET default_transaction_read_only = off");
    assert_eq!(run_export(&mut rex, export), 3);
}
