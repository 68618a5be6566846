//! Approval by somebody else, of what was asked for (R32, PITFALLS 38, 40); two at once (PITFALLS 39).

use crate::course::end;
use crate::{approve, run};
use authz_tests::exports::{Exports, define, request, request_sql, run_export};
use authz_tests::make::{self, id};
use authz_tests::session::act_as;
use authz_tests::waiting::until_it_waits;
use authz_tests::{denied, execute, refused, refused_with_hint, value};
use std::sync::{Arc, Barrier};
use uuid::Uuid;

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
fn r32_so_many_requests_in_a_window_and_two_at_once_count_both() {
    let mut w = Exports::new();
    execute(&mut w.admin, &define(", rate_limit => 2, rate_window => '1 hour'"));
    let mut rex = w.of("rex");
    request(&mut rex, "");
    request(&mut rex, "");
    denied(&mut rex, &request_sql(""), "53400", &["too many", "2 may be requested"]);
    execute(
        &mut w.admin,
        "UPDATE authz.export_rate SET requested_at = ARRAY(SELECT r - interval '1 hour' FROM unnest(requested_at) AS r)",
    );
    request(&mut rex, "");
    // Two at once when one is left (PITFALLS 39).
    let (mut first, mut second) = (w.of("rex"), w.of("rex"));
    execute(&mut first, "BEGIN");
    request(&mut first, "");
    let pid: i32 = value(&mut second, "SELECT pg_backend_pid()", &[]);
    let waiting = std::thread::spawn(move || {
        second
            .batch_execute(&request_sql(""))
            .map_err(|e| e.code().unwrap().code().to_owned())
    });
    until_it_waits(&mut w.admin, pid);
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
