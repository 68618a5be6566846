//! What is in the file: formats and chunks, and that only the functions give it out (R23, R32).

use crate::{approve, fetch, run};
use authz_tests::dump::{Dump, Format};
use authz_tests::exports::{Exports, chunk, exported, request, request_sql, run_export};
use authz_tests::make::id;
use authz_tests::session::act_as;
use authz_tests::{execute, refused, refused_with_hint, value};

pub fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    lines.sort();
    lines
}

#[test]
fn r32_jsonl_has_one_object_a_line() {
    let w = Exports::new();
    let mut rex = w.of("rex");
    let text = exported(&mut rex, ", file_format => 'jsonl'");
    let rows: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).expect("a line of JSON"))
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(
        rows.iter()
            .any(|r| r["note"] == "two\nlines" && r["holder"].is_null() && r["status"] == "open")
    );
    refused_with_hint(&mut rex, &request_sql(", file_format => 'xml'"), "22023", &["xml"]);
}

/// More claims of acme, about 60 bytes each.
pub fn fill(w: &mut Exports, rows: i32) {
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO public.claim (tenant_id, claim_id, team_id, status, amount, holder, note)
             SELECT '{}', gen_random_uuid(), '{}', 'open', n, 'holder ' || n, 'note, with a comma ' || n FROM generate_series(1, {rows}) AS n",
            id("acme"),
            id("north")
        ),
    );
}

#[test]
fn r32_chunks_of_whole_rows_make_up_the_file_and_can_be_resumed() {
    let mut w = Exports::new();
    fill(&mut w, 40_000);
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    assert_eq!(run_export(&mut rex, export), 40_003);
    let (chunks, first) = chunk(&mut rex, export, 1);
    let mut bytes = first.clone();
    for number in 2..=chunks {
        let (_, part) = chunk(&mut rex, export, number);
        assert!(part.len() <= 1 << 21);
        bytes.extend(part);
    }
    assert!(bytes.starts_with(b"claim_id,status,amount,holder,note,filed_at\n"));
    let copied = w.copy(&format!(
        "SELECT claim_id, status, amount, NULL AS holder, note, filed_at AT TIME ZONE 'UTC' || '+00' AS filed_at FROM public.claim WHERE tenant_id = '{}'",
        id("acme")
    ));
    assert!(lines(&bytes) == lines(&copied));
    let whole: bool = value(
        &mut w.admin,
        "SELECT content_sha256 = sha256($1) FROM authz.data_export_job WHERE export_id = $2",
        &[&bytes, &export],
    );
    assert!(whole);
    // Another connection goes on anywhere.
    assert_eq!(chunk(&mut w.of("rex"), export, 1).1, first);
    for wrong in [0, -1, chunks + 1] {
        refused_with_hint(&mut rex, &fetch(export, wrong), "22023", &["no chunk"]);
    }
    refused_with_hint(
        &mut rex,
        &format!("SELECT authz_download_export('{export}', NULL)"),
        "22023",
        &["no chunk"],
    );
}

#[test]
fn r23_the_content_is_reached_by_no_other_way() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    run_export(&mut rex, export);
    // PITFALLS 28: COPY TO has a check of its own, and nothing to copy.
    for statement in [
        "SELECT FROM authz.data_export_chunk",
        "COPY authz.data_export_chunk TO STDOUT",
        "COPY (SELECT content FROM authz.data_export_chunk) TO STDOUT",
        "SELECT FROM authz.data_export_job",
        "SELECT FROM public.claim",
        "SELECT authz.write_export(gen_random_uuid(), 'public.claim'::regclass, 'SELECT 1', 'csv', 1)",
        "SELECT authz.lock_export('export.download', gen_random_uuid(), 'any')",
        "SELECT authz.export_literal(25, '1')",
        "UPDATE authz.data_export_job SET status = 'completed'",
    ] {
        refused(&mut rex, statement, "42501", &["permission denied"]);
    }
    // Through COPY each chunk leaves its event all the same.
    let before = w.events("export.download", "rex", "allowed");
    let mut bytes = Vec::new();
    let mut out = rex
        .copy_out(&format!(
            "COPY (SELECT content FROM authz_download_export('{export}')) TO STDOUT"
        ))
        .unwrap();
    std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
    drop(out);
    assert!(!bytes.is_empty());
    assert_eq!(w.events("export.download", "rex", "allowed"), before + 1);
    // Chunks are not changed, nor dumped; a changed one would be noticed.
    refused(
        &mut w.admin,
        "UPDATE authz.data_export_chunk SET content = 'x'",
        "55000",
        &[],
    );
    execute(
        &mut w.admin,
        "SET session_replication_role = replica; UPDATE authz.data_export_chunk SET content = content || 'x'; RESET session_replication_role",
    );
    refused_with_hint(&mut rex, &fetch(export, 1), "XX001", &["not what was written"]);
    let dump = authz_tests::run(w.db.command("pg_dump").args(["--data-only"]));
    assert!(dump.contains("COPY authz.data_export_job") && !dump.contains("data_export_chunk"));
    let unlogged: bool = value(
        &mut w.admin,
        "SELECT bool_and(c.relpersistence = 'u') FROM pg_class AS c
          WHERE c.oid IN (SELECT 'authz.data_export_chunk'::regclass UNION SELECT reltoastrelid FROM pg_class WHERE oid = 'authz.data_export_chunk'::regclass)",
        &[],
    );
    assert!(unlogged);
}

#[test]
fn r32_a_dump_has_definitions_and_jobs_and_no_content() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let (done, pending) = (request(&mut rex, ""), request(&mut rex, ", unmasked => true"));
    run_export(&mut rex, done);
    execute(&mut w.of("ann"), &approve(pending));
    // One whose source is gone must not keep the rest from being restored (PITFALLS 34).
    execute(
        &mut w.admin,
        "CREATE TABLE public.brief (tenant_id uuid, brief_id uuid, PRIMARY KEY (tenant_id, brief_id));
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('brief.view', 'brief', 'view');
         SELECT FROM authz_protect('public.brief', 'brief', 'brief_id', 'tenant_id');
         SELECT authz_define_export('briefs', 'public.brief', '{brief_id}', 'brief.view');
         SELECT authz_unprotect('public.brief'); DROP TABLE public.brief",
    );
    let restored = Dump::of(&w.db, Format::Custom).restored();
    let mut r = restored.connect();
    let there: Vec<String> = value(
        &mut r,
        "SELECT array_agg(status || ' ' || coalesce(approved_by::text, '-') ORDER BY requested_at) FROM authz.data_export_job",
        &[],
    );
    assert_eq!(there, ["completed -".to_owned(), format!("pending {}", id("ann"))]);
    let mut rex = restored.connect_as(&w.app);
    act_as(&mut rex, "rex");
    // Another table of the same name is not the one that was asked for, and content is not in dumps.
    refused(&mut rex, &run(pending), "55000", &["not what was asked for"]);
    refused(&mut rex, &fetch(done, 1), "55000", &["gone"]);
    assert_eq!(exported(&mut rex, "").lines().count(), 5, "and a new one goes");
}
