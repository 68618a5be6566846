//! Exports (R32, PITFALLS 28, 38, 39): request, approval, run, download and end, by a login role that may call the functions
//! and read nothing.

use authz_tests::exports::{Exports, act_as, chunk, define, download, exported, request, request_sql, run_export};
use authz_tests::make::{self, id};
use authz_tests::office::recorded;
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use uuid::Uuid;

fn run(export: Uuid) -> String {
    format!("SELECT authz_run_export('{export}')")
}

fn fetch(export: Uuid, chunk: i32) -> String {
    format!("SELECT authz_download_export('{export}', {chunk})")
}

fn approve(export: Uuid) -> String {
    format!("SELECT authz_approve_export('{export}')")
}

fn end(export: Uuid) -> String {
    format!("SELECT authz_end_export('{export}', 'not needed')")
}

/// Refused, and the refusal recorded although it rolls back (R53, PITFALLS 21).
#[track_caller]
fn denied(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) -> String {
    let before = recorded(c);
    let text = refused(c, call, sqlstate, words);
    assert_eq!(recorded(c) - before, 1, "recorded, once: {call}");
    text
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    lines.sort();
    lines
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

#[test]
fn r32_the_permission_is_asked_for_at_request_run_and_each_download() {
    let mut w = Exports::new();
    // Both permissions, at the scope, are needed to ask.
    denied(&mut w.of("mia"), &request_sql(""), "42501", &["permission denied"]);
    denied(&mut w.of("gus"), &request_sql(""), "42501", &["permission denied"]);
    denied(&mut w.of("tia"), &request_sql(""), "42501", &["permission denied"]);
    denied(
        &mut w.db.connect_as(&w.app),
        &request_sql(""),
        "42501",
        &["permission denied"],
    );
    for (name, permission) in [("half", "export.request"), ("other", "claim.export")] {
        make::role(&mut w.admin, name, &[permission]);
        make::member(&mut w.admin, id("acme"), name);
        make::assign(&mut w.admin, id("acme"), id(name), name, "tenant", id("acme"));
        denied(&mut w.of(name), &request_sql(""), "42501", &["permission denied"]);
    }
    let mut rex = w.of("rex");
    fill(&mut w, 40_000);
    let (pending, done) = (request(&mut rex, ""), request(&mut rex, ""));
    run_export(&mut rex, done);
    let (chunks, _) = chunk(&mut rex, done, 1);
    assert!(chunks > 2, "{chunks} chunks");
    // Half-way through the download the requester is revoked: nothing more, in the same connection, at once.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    denied(&mut rex, &fetch(done, 2), "42501", &["permission denied"]);
    denied(&mut rex, &fetch(done, 1), "42501", &["permission denied"]);
    denied(&mut rex, &run(pending), "42501", &["permission denied"]);
    assert_eq!(w.job(pending, "status").as_deref(), Some("pending"));
    // With the permission back, the download goes on where it was.
    let again = make::assign(&mut w.admin, id("acme"), id("rex"), "exporter", "tenant", id("acme"));
    assert_eq!(
        chunk(&mut rex, done, 2),
        chunk(&mut rex, done, 2),
        "the same bytes each time"
    );
    assert_eq!(chunk(&mut rex, done, 2).0, chunks);
    make::revoke(&mut w.admin, again);
    // Nor one who is suspended, or whose membership is.
    make::assign(&mut w.admin, id("acme"), id("rex"), "exporter", "tenant", id("acme"));
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    denied(&mut rex, &fetch(done, 2), "42501", &["permission denied"]);
}

/// More claims of acme, about 60 bytes each.
fn fill(w: &mut Exports, rows: i32) {
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
fn r32_rows_are_those_that_row_security_shows_the_requester() {
    let mut w = Exports::new();
    let mut tia = w.of("tia");
    let of_team = format!(", scope_type => 'team', scope_id => '{}'", id("north"));
    let text = exported(&mut tia, &of_team);
    assert!(text.contains(&id("c1").to_string()) && text.contains(&id("c2").to_string()));
    assert!(!text.contains(&id("c3").to_string()) && !text.contains(&id("c4").to_string()));
    // A scope narrows the rows of who sees more.
    let mut rex = w.of("rex");
    let text = exported(&mut rex, &of_team);
    assert_eq!(
        text.matches(",closed,").count() + text.matches(",open,").count(),
        2,
        "{text}"
    );
    let one = exported(
        &mut rex,
        &format!(", scope_type => 'claim', scope_id => '{}'", id("c3")),
    );
    assert!(one.contains(&id("c3").to_string()) && !one.contains(&id("c1").to_string()));
    // A principal of two tenants gets the rows of the one that is asked for.
    make::join(&mut w.admin, id("globex"), id("rex"));
    make::assign(
        &mut w.admin,
        id("globex"),
        id("rex"),
        "exporter",
        "tenant",
        id("globex"),
    );
    let mut rex = w.of("rex");
    let text = exported(&mut rex, "");
    assert!(!text.contains(&id("c4").to_string()), "{text}");
    // What a deny hides is not exported, either.
    make::rule(
        &mut w.admin,
        id("acme"),
        "deny",
        1,
        ("claim", Some(id("c1"))),
        ("any", None),
        Some("claim.view"),
    );
    let text = exported(&mut rex, "");
    assert!(!text.contains(&id("c1").to_string()), "{text}");
    // Scopes that say nothing of rows, or are none.
    refused_with_hint(
        &mut rex,
        &request_sql(&format!(", scope_type => 'team', scope_id => '{}'", id("nowhere"))),
        "42501",
        &["permission denied"],
    );
    refused(
        &mut rex,
        &request_sql(", scope_type => 'nothing', scope_id => 'x'"),
        "42704",
        &["nothing"],
    );
}

#[test]
fn r32_a_scope_contains_what_is_nested_in_it() {
    let mut w = Exports::new();
    let acme = id("acme");
    let group = make::organization(&mut w.admin, acme, "group", None);
    let branch = make::organization(&mut w.admin, acme, "branch", Some(group));
    let west = make::team(&mut w.admin, acme, "west", None, Some(branch));
    let inner = make::team(&mut w.admin, acme, "inner", Some(west), None);
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO public.claim (tenant_id, claim_id, team_id, status) VALUES ('{acme}', '{}', '{west}', 'west'), ('{acme}', '{}', '{inner}', 'inner')",
            id("w1"),
            id("w2")
        ),
    );
    let mut rex = w.of("rex");
    for (scope_type, scope, expected) in [
        ("organization", group, vec!["inner", "west"]),
        ("organization", branch, vec!["inner", "west"]),
        ("team", west, vec!["inner", "west"]),
        ("team", inner, vec!["inner"]),
    ] {
        let text = exported(
            &mut rex,
            &format!(", scope_type => '{scope_type}', scope_id => '{scope}', columns => '{{status}}'"),
        );
        let mut found: Vec<&str> = text.lines().skip(1).collect();
        found.sort();
        assert_eq!(found, expected, "{scope_type} {scope}");
    }
    let project = make::project(&mut w.admin, acme, "works", None);
    refused_with_hint(
        &mut rex,
        &request_sql(&format!(", scope_type => 'project', scope_id => '{project}'")),
        "22023",
        &["narrowed"],
    );
}

#[test]
fn r32_sensitive_columns_are_masked_or_approved_by_somebody_else() {
    let mut w = Exports::new();
    let (mut rex, mut ann) = (w.of("rex"), w.of("ann"));
    let masked = exported(&mut rex, "");
    assert!(!masked.contains("Ost") && !masked.contains("Jon"), "{masked}");
    let export = request(&mut rex, ", unmasked => true");
    assert_eq!(w.job(export, "includes_sensitive_data").as_deref(), Some("true"));
    denied(&mut rex, &run(export), "55000", &["not approved", "export.approve"]);
    let waiting: Vec<Uuid> = ann
        .query("SELECT export_id FROM authz_exports()", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(waiting, [export], "who may approve sees what waits for it");
    execute(&mut ann, &approve(export));
    denied(&mut ann, &approve(export), "55000", &["approved before"]);
    // The approver gets nothing by that.
    denied(&mut ann, &run(export), "42501", &["permission denied"]);
    run_export(&mut rex, export);
    let text = String::from_utf8(download(&mut rex, export)).unwrap();
    assert!(
        text.contains("\"Ina \"\"I\"\" Ost\"") && text.contains("\"Jon, Jr\""),
        "{text}"
    );
    assert_eq!(w.events("export.approve", "ann", "allowed"), 1);
    denied(&mut ann, &fetch(export, 1), "42501", &["permission denied"]);
    // An approval gives nothing: who may not see a class in a row does not see it in an export, either.
    make::role(
        &mut w.admin,
        "counter",
        &["export.request", "claim.export", "claim.view"],
    );
    make::assign(&mut w.admin, id("acme"), id("mia"), "counter", "tenant", id("acme"));
    let mut mia = w.of("mia");
    let blind = request(&mut mia, ", unmasked => true");
    execute(&mut ann, &approve(blind));
    assert_eq!(run_export(&mut mia, blind), 3);
    let text = String::from_utf8(download(&mut mia, blind)).unwrap();
    assert!(!text.contains("Ost") && !text.contains("Jon"), "{text}");
    // Where there is nothing to unmask, nothing needs approval.
    let plain = request(&mut rex, ", unmasked => true, columns => '{claim_id,status}'");
    assert_eq!(w.job(plain, "includes_sensitive_data").as_deref(), Some("false"));
    denied(&mut ann, &approve(plain), "55000", &["needs no approval"]);
    run_export(&mut rex, plain);
    // Rejected is over.
    let export = request(&mut rex, ", unmasked => true");
    execute(&mut ann, &end(export));
    assert_eq!(w.job(export, "status").as_deref(), Some("failed"));
    denied(&mut rex, &run(export), "55000", &["failed", "not needed"]);
    denied(&mut ann, &approve(export), "55000", &["failed"]);
}

#[test]
fn pitfall_38_nobody_approves_the_own_export_nor_through_a_second_identity() {
    let mut w = Exports::new();
    let acme = id("acme");
    // Rex may approve as well, and has another principal with the same address, written another way.
    make::assign(&mut w.admin, acme, id("rex"), "approver", "tenant", acme);
    make::member(&mut w.admin, acme, "rex2");
    make::assign(&mut w.admin, acme, id("rex2"), "approver", "tenant", acme);
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET email = 'Rex@acme.example ' WHERE principal_id = '{}';
             INSERT INTO authz.profile (user_id, email) VALUES ('{}', 'rex@acme.example')",
            id("rex"),
            id("rex2")
        ),
    );
    let robot: Uuid = "00000000-0000-4000-8000-00000000000a".parse().unwrap();
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.principal (principal_type, external_id, principal_id) VALUES ('service', 'robot', '{robot}')"
        ),
    );
    make::join(&mut w.admin, acme, robot);
    make::assign(&mut w.admin, acme, robot, "approver", "tenant", acme);
    let mut rex = w.of("rex");
    let export = request(&mut rex, ", unmasked => true");
    denied(&mut rex, &approve(export), "42501", &["permission denied"]);
    denied(&mut w.of("rex2"), &approve(export), "42501", &["permission denied"]);
    denied(&mut w.of("greg"), &approve(export), "42501", &["permission denied"]);
    denied(&mut w.of("mia"), &approve(export), "42501", &["permission denied"]);
    denied(
        &mut w.db.connect_as(&w.app),
        &approve(export),
        "42501",
        &["permission denied"],
    );
    let mut machine = w.db.connect_as(&w.app);
    execute(
        &mut machine,
        &format!("SELECT authz_set_session('{robot}', is_local => false)"),
    );
    denied(&mut machine, &approve(export), "42501", &["permission denied"]);
    // Whoever logged in as Rex is Rex, though the session says Ann.
    let own = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "GRANT {} TO {own}; UPDATE authz.principal SET db_role = '{own}' WHERE principal_id = '{}'",
            w.app,
            id("rex")
        ),
    );
    let mut disguised = w.db.connect_as(&own);
    act_as(&mut disguised, "ann");
    denied(&mut disguised, &approve(export), "42501", &["permission denied"]);
    // Nor under break-glass, which gives everything.
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, started_at, expires_at)
             VALUES ('break_glass', '{}', '{acme}', 'fire', now(), now() + interval '1 hour')",
            id("ann")
        ),
    );
    denied(&mut w.of("ann"), &approve(export), "42501", &["permission denied"]);
    // Nor by plain SQL.
    for approver in ["rex", "rex2"] {
        refused(
            &mut w.admin,
            &format!(
                "UPDATE authz.data_export_job SET approved_by = '{}' WHERE export_id = '{export}'",
                id(approver)
            ),
            "23514",
            &[],
        );
    }
    assert_eq!(w.job(export, "approved_by"), None);
}

#[test]
fn pitfall_40_what_was_asked_for_is_what_is_approved_and_run() {
    let mut w = Exports::new();
    let (mut rex, mut ann) = (w.of("rex"), w.of("ann"));
    let export = request(
        &mut rex,
        ", unmasked => true, filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"open\"}]'",
    );
    execute(&mut ann, &approve(export));
    for change in [
        "columns = '{claim_id,secret}'",
        "filters = '[]'",
        "scope_type = 'platform', scope_id = NULL, tenant_id = NULL",
        "tenant_id = NULL",
        "requested_by = approved_by",
        "export_type = 'other'",
        "includes_sensitive_data = false",
        "file_format = 'jsonl'",
        "fingerprint = NULL",
        "expires_at = expires_at + interval '1 year'",
        "request_reason = 'another'",
    ] {
        refused(
            &mut w.admin,
            &format!("UPDATE authz.data_export_job SET {change} WHERE export_id = '{export}'"),
            "55000",
            &["not overwritten"],
        );
    }
    for statement in ["DELETE FROM authz.data_export_job", "TRUNCATE authz.data_export_job"] {
        refused_with_hint(&mut w.admin, statement, "55000", &["authz_end_export"]);
    }
    refused(
        &mut w.admin,
        &format!("UPDATE authz.data_export_job SET status = 'completed' WHERE export_id = '{export}'"),
        "55000",
        &["cannot become"],
    );
    // What it would read has changed: another definition, another class, another column or table of the same name.
    for (change, back) in [
        (define(", approval_above => 'pii'"), define("")),
        (
            "UPDATE authz.data_classification SET classification = 'confidential' WHERE column_name = 'holder'"
                .to_owned(),
            "UPDATE authz.data_classification SET classification = 'pii' WHERE column_name = 'holder'".to_owned(),
        ),
        (
            "ALTER TABLE public.claim RENAME amount TO was; ALTER TABLE public.claim RENAME secret TO amount"
                .to_owned(),
            "ALTER TABLE public.claim RENAME amount TO secret; ALTER TABLE public.claim RENAME was TO amount"
                .to_owned(),
        ),
    ] {
        execute(&mut w.admin, &change);
        refused(&mut rex, &run(export), "55000", &[]);
        execute(&mut w.admin, &back);
    }
    // A definition that is closed, a table that is not protected any more.
    execute(&mut w.admin, "UPDATE authz.export_definition SET closed_at = now()");
    denied(&mut rex, &run(export), "55000", &["closed"]);
    refused_with_hint(&mut rex, &request_sql(""), "42704", &["claims"]);
    execute(&mut w.admin, &define(""));
    execute(&mut w.admin, "ALTER TABLE public.claim NO FORCE ROW LEVEL SECURITY");
    refused_with_hint(&mut rex, &run(export), "55000", &["authz_protect"]);
    execute(&mut w.admin, "ALTER TABLE public.claim FORCE ROW LEVEL SECURITY");
    assert_eq!(run_export(&mut rex, export), 2);
    // A job that was written by hand was asked for by nobody.
    let by_hand: Uuid = value(
        &mut w.admin,
        "INSERT INTO authz.data_export_job (export_id, tenant_id, requested_by, export_type, scope_type, scope_id, status,
                                            includes_sensitive_data, approved_by, requested_at, completed_at, expires_at)
         VALUES (gen_random_uuid(), $1, $2, 'claims', 'tenant', $1::uuid::text, 'pending', true, $3, now(), NULL, now() + interval '1 day')
         RETURNING export_id",
        &[&id("acme"), &id("rex"), &id("ann")],
    );
    denied(&mut rex, &run(by_hand), "55000", &["authz_request_export"]);
}

#[test]
fn r32_row_limits_come_from_obligations_and_nothing_is_cut_silently() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = now() WHERE role_code = 'exporter';
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from) VALUES
            ('exporter', 'claim.view', NULL, now()), ('exporter', 'export.request', '{\"max_records\": 2}', now()),
            ('exporter', 'claim.export', '{\"max_records\": 1000}', now())",
    );
    denied(&mut rex, &run(export), "54000", &["More than 2", "filter"]);
    assert_eq!(
        w.job(export, "status").as_deref(),
        Some("pending"),
        "it can be run again"
    );
    assert_eq!(w.chunks(), 0);
    let two = request(
        &mut rex,
        ", filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"open\"}]'",
    );
    assert_eq!(run_export(&mut rex, two), 2, "as many as are allowed");
    // The least of the limits applies: the definition's own, too.
    execute(&mut w.admin, &define(", max_rows => 1"));
    let export = request(&mut rex, "");
    denied(&mut rex, &run(export), "54000", &["More than 1"]);
    // A writable CTE hides nothing from it (PITFALLS 28).
    denied(
        &mut rex,
        &format!("WITH x AS (SELECT authz_run_export('{export}') AS n) SELECT 1 FROM x WHERE n > 0"),
        "54000",
        &["More than 1"],
    );
    // A tighter obligation counts for what was written before.
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = clock_timestamp() WHERE role_code = 'exporter' AND permission_code = 'export.request' AND valid_until IS NULL;
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from)
         VALUES ('exporter', 'export.request', '{\"max_records\": 1, \"allowed_fields\": [\"claim_id\", \"status\"]}', clock_timestamp())",
    );
    denied(&mut rex, &fetch(two, 1), "42501", &["permission denied"]);
    // Fields as well, also those that one only filters by.
    denied(&mut rex, &request_sql(""), "42501", &["claim_id, status"]);
    denied(
        &mut rex,
        &request_sql(", columns => '{status}', filters => '[{\"column\": \"amount\", \"op\": \">\", \"value\": 15}]'"),
        "42501",
        &["claim_id, status"],
    );
    let text = exported(
        &mut rex,
        ", columns => '{status}', filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"closed\"}]'",
    );
    assert_eq!(text, "status\nclosed\n");
    // One that cannot be read leaves nothing.
    execute(
        &mut w.admin,
        "UPDATE authz.role_permission SET valid_until = clock_timestamp() WHERE role_code = 'exporter' AND permission_code = 'export.request' AND valid_until IS NULL;
         INSERT INTO authz.role_permission (role_code, permission_code, obligations, valid_from)
         VALUES ('exporter', 'export.request', '{\"max_records\": \"many\"}', clock_timestamp())",
    );
    execute(&mut w.admin, &define(""));
    let export = request(&mut rex, "");
    denied(&mut rex, &run(export), "54000", &["More than 0"]);
}

#[test]
fn r32_so_many_requests_in_a_window_and_two_at_once_count_both() {
    let mut w = Exports::new();
    execute(&mut w.admin, &define(", rate_limit => 2, rate_window => '2 seconds'"));
    let mut rex = w.of("rex");
    request(&mut rex, "");
    request(&mut rex, "");
    let begin = Instant::now();
    denied(&mut rex, &request_sql(""), "53400", &["too many", "2 may be requested"]);
    std::thread::sleep(Duration::from_millis(2100).saturating_sub(begin.elapsed()));
    request(&mut rex, "");
    // Two at once when one is left (PITFALLS 39).
    execute(&mut w.admin, &define(", rate_limit => 2, rate_window => '1 hour'"));
    let (mut first, mut second) = (w.of("rex"), w.of("rex"));
    execute(&mut first, "BEGIN");
    request(&mut first, "");
    let waiting = std::thread::spawn(move || {
        second
            .batch_execute(&request_sql(""))
            .map_err(|e| e.code().unwrap().code().to_owned())
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "the second waits for the first");
    execute(&mut first, "COMMIT");
    assert_eq!(waiting.join().unwrap(), Err("53400".to_owned()));
    // Another principal has a count of its own, and what was rolled back does not count.
    let mut tia = w.of("tia");
    let of_team = format!(", scope_type => 'team', scope_id => '{}'", id("north"));
    for _ in 0..6 {
        execute(&mut tia, "BEGIN");
        request(&mut tia, &of_team);
        execute(&mut tia, "ROLLBACK");
    }
    request(&mut tia, &of_team);
}

#[test]
fn pitfall_39_of_two_runners_at_once_one_runs() {
    let mut w = Exports::new();
    let (mut first, mut second, mut ann) = (w.of("rex"), w.of("rex"), w.of("ann"));
    let export = request(&mut first, "");
    execute(&mut first, "BEGIN");
    run_export(&mut first, export);
    denied(&mut second, &run(export), "55000", &["being worked on"]);
    denied(&mut ann, &end(export), "55000", &["being worked on"]);
    execute(&mut first, "ROLLBACK");
    execute(&mut second, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT");
    execute(&mut second, "SELECT FROM authz_exports()");
    run_export(&mut first, export);
    // One that cannot see it yet fails all the same.
    refused(&mut second, &run(export), "40001", &[]);
    execute(&mut second, "ROLLBACK");
    denied(&mut second, &run(export), "55000", &["completed"]);
    // Many at once.
    let export = request(&mut first, "");
    let barrier = Arc::new(Barrier::new(4));
    let runners: Vec<_> = (0..4)
        .map(|_| {
            let (mut c, barrier) = (w.of("rex"), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                c.batch_execute(&run(export))
                    .map_err(|e| e.code().unwrap().code().to_owned())
            })
        })
        .collect();
    let outcomes: Vec<_> = runners.into_iter().map(|r| r.join().unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|o| o.as_ref().err().is_none_or(|e| e == "55000")),
        "{outcomes:?}"
    );
    assert_eq!(w.chunks(), 2);
}

#[test]
fn r32_what_has_expired_is_neither_run_nor_downloaded_and_its_content_is_removed() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let (late, done) = (
        request(&mut rex, ", lifetime => '2 seconds'"),
        request(&mut rex, ", lifetime => '2 seconds'"),
    );
    let begin = Instant::now();
    let stays = request(&mut rex, "");
    for export in [done, stays] {
        run_export(&mut rex, export);
    }
    download(&mut rex, done);
    std::thread::sleep(Duration::from_millis(2100).saturating_sub(begin.elapsed()));
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

#[test]
fn r32_unknown_and_other_peoples_exports_are_refused_in_the_same_words() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, ", unmasked => true");
    let unknown = Uuid::from_u128(7);
    for name in ["gus", "mia", "tia", "greg"] {
        let mut c = w.of(name);
        for call in [run, approve, end, |e| fetch(e, 1)] {
            let there = denied(&mut c, &call(export), "42501", &["permission denied"]);
            let not_there = denied(&mut c, &call(unknown), "42501", &["permission denied"]);
            assert_eq!(there, not_there, "{name}");
        }
    }
    // Also while it is locked: no waiting, no other words.
    execute(
        &mut w.admin,
        &format!("BEGIN; SELECT FROM authz.data_export_job WHERE export_id = '{export}' FOR UPDATE"),
    );
    let mut gus = w.of("gus");
    denied(&mut gus, &run(export), "42501", &["permission denied"]);
    execute(&mut w.admin, "ROLLBACK");
    // A session of another tenant does not reach it, though the principal does.
    make::join(&mut w.admin, id("globex"), id("rex"));
    execute(
        &mut rex,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("rex"),
            id("globex")
        ),
    );
    denied(&mut rex, &run(export), "42501", &["permission denied"]);
    denied(&mut rex, &request_sql(""), "42501", &["permission denied"]);
    // Which definitions there are, only who may ask learns.
    let other = |sql: String| sql.replace("'claims'", "'other'");
    denied(&mut gus, &other(request_sql("")), "42501", &["permission denied"]);
    let mut rex = w.of("rex");
    refused_with_hint(&mut rex, &other(request_sql("")), "42704", &["other"]);
    refused(
        &mut rex,
        &request_sql("").replace("the yearly report", " "),
        "22023",
        &["reason"],
    );
}

#[test]
fn r32_masks_are_those_of_the_column_and_changing_one_stops_what_was_approved() {
    let mut w = Exports::new();
    execute(
        &mut w.admin,
        "SELECT authz_mask('public.claim', 'holder', 'partial', '{\"first\": 1}'); SELECT authz_classify('public.claim', 'note', 'confidential');
         SELECT authz_mask('public.claim', 'note', 'hash')",
    );
    let mut rex = w.of("rex");
    let text = exported(&mut rex, ", columns => '{holder,note}'");
    assert!(
        text.contains("J****") && text.contains("I****") && !text.contains("Jon"),
        "{text}"
    );
    assert!(!text.contains("lines"), "{text}");
    let hash = text
        .lines()
        .find(|l| l.starts_with("J****"))
        .unwrap()
        .split(',')
        .nth(1)
        .unwrap();
    assert_eq!(hash.len(), 32, "hashed by the secret of the database: {text}");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "SELECT authz_mask('public.claim', 'holder', 'partial', '{\"first\": 9}')",
    );
    denied(&mut rex, &run(export), "55000", &["not what was asked for"]);
}

#[test]
fn r42_safe_views_are_sources_too() {
    let mut w = Exports::new();
    let owner = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "CREATE SCHEMA support; GRANT USAGE ON SCHEMA support TO {owner};
             SELECT authz_create_safe_view('support.claim', 'public.claim', owner => '{owner}');
             SELECT authz_define_export('seen', 'support.claim', '{{claim_id,status,holder}}', 'claim.export')"
        ),
    );
    let seen = |more: &str| request_sql(more).replace("'claims'", "'seen'");
    let mut rex = w.of("rex");
    let mut export = |sql: String| -> Uuid { value(&mut rex, &sql, &[]) };
    let (masked, open) = (export(seen("")), export(seen(", unmasked => true")));
    execute(&mut w.of("ann"), &approve(open));
    let mut rex = w.of("rex");
    assert_eq!(run_export(&mut rex, masked), 3);
    let text = String::from_utf8(download(&mut rex, masked)).unwrap();
    assert!(!text.contains("Jon"), "masked though its reader may see it: {text}");
    run_export(&mut rex, open);
    assert!(String::from_utf8(download(&mut rex, open)).unwrap().contains("Jon"));
    let of_team = format!(", scope_type => 'team', scope_id => '{}'", id("south"));
    let narrow: Uuid = value(&mut rex, &seen(&of_team), &[]);
    assert_eq!(run_export(&mut rex, narrow), 1);
    // One that is not safe any more is none.
    let later: Uuid = value(&mut rex, &seen(""), &[]);
    execute(&mut w.admin, "ALTER VIEW support.claim SET (security_barrier = false)");
    refused_with_hint(&mut rex, &run(later), "55000", &["security_barrier"]);
    execute(&mut w.admin, "DROP VIEW support.claim; DROP SCHEMA support");
    refused(&mut rex, &run(later), "55000", &[]);
    execute(&mut w.admin, &format!("DROP OWNED BY {owner}"));
}

#[test]
fn r32_filters_are_typed_comparisons_and_nothing_else() {
    let mut w = Exports::new();
    execute(&mut w.admin, &define(", rate_limit => 100"));
    let mut rex = w.of("rex");
    let statuses = |c: &mut Client, filters: &str| {
        let text = exported(c, &format!(", columns => '{{status}}', filters => '{filters}'"));
        let mut found: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        found.sort();
        found
    };
    for (filters, expected) in [
        (r#"[{"column": "amount", "op": ">", "value": 15}]"#, vec!["closed"]),
        (r#"[{"column": "amount", "op": "is_null"}]"#, vec!["open"]),
        (
            r#"[{"column": "amount", "op": "is_not_null"}, {"column": "status", "op": "<>", "value": "closed"}]"#,
            vec!["open"],
        ),
        (
            r#"[{"column": "status", "op": "in", "value": ["closed", "nothing"]}]"#,
            vec!["closed"],
        ),
        (r#"[{"column": "status", "op": "in", "value": []}]"#, vec![]),
        (
            r#"[{"column": "filed_at", "op": ">=", "value": "2026-01-03"}]"#,
            vec!["closed"],
        ),
        // A mask applies before the filter: what is masked cannot be guessed.
        (r#"[{"column": "holder", "op": "=", "value": "Jon, Jr"}]"#, vec![]),
        (
            r#"[{"column": "holder", "op": "is_null"}]"#,
            vec!["closed", "open", "open"],
        ),
        (r#"[{"column": "note", "op": "=", "value": "x'' OR true --"}]"#, vec![]),
        (
            r#"[{"column": "note", "op": "=", "value": "x\\\\'' OR true --"}]"#,
            vec![],
        ),
    ] {
        assert_eq!(statuses(&mut rex, filters), expected, "{filters}");
    }
    for wrong in [
        r#"[{"column": "secret", "op": "=", "value": "x"}]"#,
        r#"[{"column": "status\" OR true --", "op": "=", "value": "x"}]"#,
        r#"[{"column": "status", "op": "= ''x'' OR", "value": "x"}]"#,
        r#"[{"column": "status", "op": "like", "value": "%"}]"#,
        r#"[{"column": "status", "op": "=", "value": null}]"#,
        r#"[{"column": "status", "op": "="}]"#,
        r#"[{"column": "status", "op": "=", "value": ["a"]}]"#,
        r#"[{"column": "status", "op": "in", "value": "a"}]"#,
        r#"[{"column": "amount", "op": ">", "value": "much"}]"#,
        r#"[{"column": "claim_id", "op": "=", "value": "x"}]"#,
        r#"[{"op": "=", "value": "x"}]"#,
        r#"["status"]"#,
        r#"{"column": "status", "op": "=", "value": "x"}"#,
        r#""x""#,
    ] {
        refused_with_hint(&mut rex, &request_sql(&format!(", filters => '{wrong}'")), "22023", &[]);
    }
    for wrong in ["{}", "{status,status}", "{secret}", "{tenant_id}", "{ctid}", "{NULL}"] {
        refused_with_hint(
            &mut rex,
            &request_sql(&format!(", columns => '{wrong}'")),
            "22023",
            &["columns"],
        );
    }
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
fn r32_row_security_holds_whoever_runs_it() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    // The owner of the database, who sees every row, gets none of them through this.
    act_as(&mut w.admin, "rex");
    refused_with_hint(&mut w.admin, &run(export), "55000", &["row security"]);
    execute(&mut w.admin, &format!("SET ROLE {}", w.app));
    assert_eq!(run_export(&mut w.admin, export), 3, "by the role that acts");
    execute(&mut w.admin, "RESET ROLE");
    // Nor does somebody's definer function open more: the rows are those of the role that acts.
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        &format!(
            "CREATE FUNCTION public.helpful(e uuid) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT authz_run_export(e)';
             CREATE POLICY only_open ON public.claim AS RESTRICTIVE TO {} USING (status = 'open')",
            w.app
        ),
    );
    let rows: i64 = value(&mut rex, "SELECT public.helpful($1)", &[&export]);
    assert_eq!(rows, 2, "policies for the role hold as well");
    execute(&mut rex, "SET row_security = off");
    let export = request(&mut rex, "");
    refused(&mut rex, &run(export), "42501", &["row-level security"]);
}

/// What an export runs of others (policies here) gets no rights that the calling code does not have: a definer function
/// of theirs must not become its caller by way of an export.
#[test]
fn a_definer_function_does_not_become_its_caller() {
    let mut w = Exports::new();
    let mallory = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "CREATE TABLE public.trap (tenant_id uuid NOT NULL, id uuid PRIMARY KEY);
             INSERT INTO public.trap VALUES ('{acme}', '{acme}');
             INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('trap.view', 'trap', 'view');
             INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('exporter', 'trap.view');
             SELECT FROM authz_protect('public.trap', 'trap', 'id', 'tenant_id');
             SELECT authz_classify('public.trap', c, 'public', 'for all') FROM unnest('{{id,tenant_id}}'::text[]) AS c;
             ALTER TABLE public.trap OWNER TO {mallory};
             GRANT CREATE ON SCHEMA public TO {mallory};
             SELECT authz_create_safe_view('public.trap_view', 'public.trap');
             SELECT authz_define_export('traps', 'public.trap_view', '{{id}}', 'trap.view');
             SELECT authz_define_export('trap_rows', 'public.trap', '{{id}}', 'trap.view');
             CREATE TABLE public.caught (who text); GRANT INSERT ON public.caught TO PUBLIC;
             GRANT EXECUTE ON FUNCTION authz_request_export, authz_run_export TO {mallory};
             SET ROLE {mallory};
             CREATE FUNCTION public.catch() RETURNS boolean LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO public.caught VALUES (current_user); RETURN true; END';
             CREATE POLICY trap ON public.trap AS RESTRICTIVE USING (public.catch());
             CREATE FUNCTION public.harmless(kind text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
                 $$ SELECT authz_run_export(authz_request_export(kind, 'why not', '{acme}')) $$;
             RESET ROLE",
            acme = id("acme")
        ),
    );
    let mut rex = w.of("rex");
    act_as(&mut w.admin, "rex");
    for kind in ["traps", "trap_rows"] {
        for c in [&mut w.admin, &mut rex] {
            let rows: i64 = value(c, "SELECT public.harmless($1)", &[&kind]);
            assert_eq!(rows, 1, "{kind}");
        }
    }
    // Nor by what PostgreSQL runs as a table's owner while a superuser maintains it.
    execute(
        &mut w.admin,
        &format!(
            "SET ROLE {mallory};
             CREATE FUNCTION public.indexed(id integer) RETURNS bigint IMMUTABLE LANGUAGE sql AS
                 $$ SELECT public.authz_run_export(public.authz_request_export('traps', 'why not', '{}')) $$;
             CREATE TABLE public.lure (id integer); CREATE INDEX ON public.lure (public.indexed(id));
             RESET ROLE; INSERT INTO public.lure VALUES (1); TRUNCATE public.caught; ANALYZE public.lure",
            id("acme")
        ),
    );
    let caught: Vec<String> = value(&mut w.admin, "SELECT array_agg(DISTINCT who) FROM public.caught", &[]);
    assert_eq!(caught, [mallory]);
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

#[test]
fn definitions_are_made_by_the_owner_of_the_source_and_checked() {
    let mut w = Exports::new();
    let with = |source: &str, columns: &str, permission: &str, more: &str| {
        format!("SELECT authz_define_export('test', '{source}', '{columns}', '{permission}'{more})")
    };
    for (sql, code, word) in [
        (
            with("public.claim", "{claim_id,nothing}", "claim.export", ""),
            "42703",
            "nothing",
        ),
        (
            with("public.claim", "{claim_id,claim_id}", "claim.export", ""),
            "42701",
            "claim_id",
        ),
        (with("public.claim", "{}", "claim.export", ""), "22023", "one by one"),
        (
            with("public.claim", "{claim_id}", "claim.nothing", ""),
            "42704",
            "claim.nothing",
        ),
        (
            "SELECT authz_define_export('test', NULL, '{claim_id}', 'claim.export')".to_owned(),
            "22023",
            "missing",
        ),
        (
            "SELECT authz_define_export('test', 'public.claim', '{claim_id}', NULL)".to_owned(),
            "22023",
            "missing",
        ),
        (
            with(
                "public.claim",
                "{claim_id}",
                "claim.export",
                ", approval_above => 'secret'",
            ),
            "22023",
            "below secret",
        ),
        (
            with("public.claim", "{claim_id}", "claim.export", ", max_rows => 0"),
            "22023",
            "positive",
        ),
        (
            with("pg_catalog.pg_authid", "{rolname}", "claim.export", ""),
            "42809",
            "system",
        ),
        (
            with("authz.principal", "{email}", "claim.export", ""),
            "55000",
            "protected",
        ),
    ] {
        refused(&mut w.admin, &sql, code, &[word]);
    }
    execute(
        &mut w.admin,
        "ALTER TABLE public.claim ADD COLUMN fresh text; CREATE TABLE public.plain (a int); CREATE VIEW public.seen AS SELECT * FROM public.claim",
    );
    refused_with_hint(
        &mut w.admin,
        &with("public.claim", "{fresh}", "claim.export", ""),
        "55000",
        &["fresh", "authz_classify"],
    );
    refused_with_hint(
        &mut w.admin,
        &with("public.plain", "{a}", "claim.export", ""),
        "55000",
        &["authz_protect"],
    );
    // A view that is not safe reads with its owner's eyes (PITFALLS 24).
    refused(
        &mut w.admin,
        &with("public.seen", "{claim_id}", "claim.export", ""),
        "55000",
        &[],
    );
    let count: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.export_definition WHERE export_type = 'test'",
        &[],
    );
    assert_eq!(count, 0);
    // Whoever may write definitions still needs to own the source: a definition lends its owner's privileges.
    let other = w.db.role();
    execute(
        &mut w.admin,
        &format!(
            "GRANT USAGE ON SCHEMA authz TO {other}; GRANT SELECT, INSERT, UPDATE ON authz.export_definition TO {other};
             GRANT EXECUTE ON FUNCTION authz_define_export, authz.check_export_source TO {other}; GRANT ALL ON public.claim TO {other}"
        ),
    );
    let mut c = w.db.connect_as(&other);
    refused(
        &mut c,
        &with("public.claim", "{claim_id}", "claim.export", ""),
        "42501",
        &["must be owner"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.export_definition (export_type, source, columns, permission_code) VALUES ('x', 'public.claim', '{claim_id}', 'claim.export')",
        "42501",
        &["must be owner"],
    );
    execute(&mut w.admin, &format!("ALTER TABLE public.claim OWNER TO {other}"));
    execute(&mut c, &with("public.claim", "{claim_id}", "claim.export", ""));
    refused_with_hint(
        &mut w.admin,
        "DELETE FROM authz.export_definition",
        "55000",
        &["closed_at"],
    );
    // Changes of definitions are on record (R51).
    let changes: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.access_change_event WHERE table_name = 'export_definition' AND row_key = 'test'",
        &[],
    );
    assert_eq!(changes, 1);
    assert_eq!(exported(&mut w.of("rex"), "").lines().count(), 5);
    execute(
        &mut w.admin,
        &format!(
            "ALTER TABLE public.claim OWNER TO CURRENT_USER; REVOKE ALL ON public.claim FROM {other}; REVOKE ALL ON ALL TABLES IN SCHEMA authz FROM {other}; REVOKE ALL ON SCHEMA authz FROM {other}"
        ),
    );
}

#[test]
fn r32_who_is_revoked_while_rows_are_read_gets_nothing() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let export = request(&mut rex, "");
    execute(
        &mut w.admin,
        "CREATE FUNCTION public.slowly() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(0.4) IS NOT NULL';
         CREATE POLICY slow ON public.claim AS RESTRICTIVE USING (public.slowly())",
    );
    let running = std::thread::spawn(move || {
        let before = recorded(&mut rex);
        refused(&mut rex, &run(export), "42501", &["permission denied"]);
        recorded(&mut rex) - before
    });
    std::thread::sleep(Duration::from_millis(600));
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("rex")
        ),
    );
    assert_eq!(running.join().unwrap(), 1);
    assert_eq!((w.job(export, "status").as_deref(), w.chunks()), (Some("pending"), 0));
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
    let dump = std::env::temp_dir().join(format!("{}.dump", w.db.name));
    authz_tests::run(w.db.command("pg_dump").args(["--format=custom", "--file"]).arg(&dump));
    let restored = authz_tests::Db::with(authz_tests::Start::Empty);
    authz_tests::run(
        restored
            .command("pg_restore")
            .args(["--exit-on-error", "--dbname", &restored.name])
            .arg(&dump),
    );
    std::fs::remove_file(&dump).unwrap();
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

#[test]
fn nothing_that_callers_plant_takes_the_place_of_what_is_called() {
    let mut w = Exports::new();
    // PITFALLS 16: temporary tables and functions, operators in public, a search_path of the caller's.
    execute(&mut w.admin, &format!("GRANT CREATE ON SCHEMA public TO {}", w.app));
    let mut rex = w.of("rex");
    execute(
        &mut rex,
        "CREATE TEMP TABLE data_export_job (export_id uuid); CREATE TEMP TABLE claim (claim_id uuid);
         CREATE FUNCTION public.always(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.always);
         CREATE FUNCTION public.sha256(text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea';
         SET search_path = pg_temp, public, pg_catalog; SET DateStyle = 'German'; SET extra_float_digits = -10; SET IntervalStyle = iso_8601",
    );
    let text = exported(
        &mut rex,
        ", columns => '{status,filed_at}', filters => '[{\"column\": \"status\", \"op\": \"=\", \"value\": \"closed\"}]'",
    );
    assert_eq!(text, "status,filed_at\nclosed,2026-01-03 00:00:00+00\n");
    // One that fits the call of a mask better than ours.
    let export = request(&mut rex, ", unmasked => true");
    execute(&mut w.of("ann"), &approve(export));
    execute(
        &mut rex,
        "CREATE FUNCTION public.authz_row(text, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    );
    refused_with_hint(&mut rex, &run(export), "42501", &["not part of authz_ext"]);
    execute(&mut w.admin, &format!("DROP OWNED BY {}", w.app));
}

/// R32, R40: a class that rises is that of what is run and downloaded later.
#[test]
fn r32_a_class_that_rises_holds_for_what_was_asked_for_before() {
    let mut w = Exports::new();
    let mut rex = w.of("rex");
    let raise = |admin: &mut postgres::Client, class: &str| {
        execute(
            admin,
            &format!("UPDATE authz.data_classification SET classification = '{class}' WHERE column_name = 'note'"),
        );
    };
    let (early, done) = (request(&mut rex, ""), request(&mut rex, ""));
    run_export(&mut rex, done);
    assert!(String::from_utf8(download(&mut rex, done)).unwrap().contains("lines"));
    raise(&mut w.admin, "pii");
    denied(
        &mut rex,
        &run(early),
        "55000",
        &["not what was asked for", "Ask for a new one"],
    );
    denied(&mut rex, &fetch(done, 1), "55000", &["not what was asked for"]);
    let text = exported(&mut rex, "");
    assert!(!text.contains("lines"), "masked now: {text}");
    // An approval was one of what the class was.
    let open = request(&mut rex, ", unmasked => true");
    execute(&mut w.of("ann"), &approve(open));
    raise(&mut w.admin, "sensitive_pii");
    denied(&mut rex, &run(open), "55000", &["not what was asked for"]);
    // While its rows are read.
    raise(&mut w.admin, "internal");
    let racing = request(&mut rex, "");
    let mut other = w.db.connect();
    execute(&mut other, "BEGIN; LOCK authz.data_export_chunk IN EXCLUSIVE MODE");
    let runner = std::thread::spawn(move || {
        let refusal = refused(&mut rex, &run(racing), "55000", &["not what was asked for"]);
        (rex, refusal)
    });
    authz_tests::reading::soon("the run waits for the table of chunks", || {
        value(
            &mut w.admin,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'authz.data_export_chunk'::regclass)",
            &[],
        )
    });
    raise(&mut w.admin, "pii");
    execute(&mut other, "COMMIT");
    let (mut rex, _) = runner.join().unwrap();
    assert_eq!(
        w.job(racing, "status").as_deref(),
        Some("pending"),
        "nothing was written"
    );
    denied(&mut rex, &run(racing), "55000", &["not what was asked for"]);
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
