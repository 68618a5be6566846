//! The reference domain: controlled writes (R30), ownership with history (R17), documents stricter than their case
//! (R25), soft deletion (R26), tenant-scoped keys (R28), built with the public surface (R71).

use authz_tests::casework::{Casework, act, assign, session};
use authz_tests::make::{self, id};
use authz_tests::office::recorded;
use authz_tests::{Db, Start, execute, refused, refused_with_hint, report, run, value};
use postgres::Client;
use std::sync::{Arc, Barrier};
use uuid::Uuid;

fn status(c: &mut Client, decision: Uuid) -> String {
    value(
        c,
        "SELECT status FROM casework.case_decision WHERE decision_id = $1",
        &[&decision],
    )
}

/// A call in acme about case one.
fn on_case(function: &str, actor: &str) -> String {
    format!(
        "SELECT {function}('{}', '{}', '{}', 'because')",
        id("acme"),
        id("one"),
        id(actor)
    )
}

/// Refused, and the refusal recorded although it rolls back (R53, PITFALLS 21).
#[track_caller]
fn denied(c: &mut Client, call: &str, sqlstate: &str, words: &[&str]) -> String {
    let before = recorded(c);
    let text = refused(c, call, sqlstate, words);
    assert_eq!(recorded(c) - before, 1, "recorded, once: {call}");
    text
}

#[test]
fn r30_a_decision_is_drafted_submitted_and_approved_by_another_one() {
    let w = Casework::new();
    let mut owner = w.owner();
    let d = w.draft();
    execute(&mut w.of("ann"), &act("submit", d, "ann"));
    execute(&mut w.of("ben"), &act("approve", d, "ben"));
    let row = owner
        .query_one(
            "SELECT status, drafted_by, submitted_by, decided_by, decided_at IS NOT NULL FROM casework.case_decision",
            &[],
        )
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get(1), row.get(2), row.get(3), row.get(4)),
        ("approved", id("ann"), id("ann"), id("ben"), true)
    );
    let way: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(from_status || ' ' || to_status || ' ' || reason ORDER BY occurred_at)
           FROM casework.case_decision_transition WHERE decision_id = $1",
        &[&d],
    );
    assert_eq!(way, ["draft submitted because", "submitted approved because"]);
    let events: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(action_code || ' ' || access_result || ' ' || (context ->> 'to') ORDER BY occurred_at)
           FROM authz.access_audit_event WHERE resource_type = 'decision' AND resource_id = $1::text
            AND principal_id = asked_by AND tenant_id = $2",
        &[&d.to_string(), &id("acme")],
    );
    assert_eq!(
        events,
        ["decision.submit allowed submitted", "decision.approve allowed approved"]
    );
    // All of it or nothing.
    let d = w.submitted();
    let mut ben = w.of("ben");
    execute(&mut ben, &format!("BEGIN; {}; ROLLBACK", act("reject", d, "ben")));
    assert_eq!(status(&mut owner, d), "submitted");
    let left: i64 = value(
        &mut owner,
        "SELECT count(*) FROM casework.case_decision_transition WHERE to_status = 'rejected'",
        &[],
    );
    assert_eq!(left, 0);
    execute(&mut ben, &act("reject", d, "ben"));
    assert_eq!(status(&mut owner, d), "rejected");
}

#[test]
fn r30_only_legal_transitions() {
    let w = Casework::new();
    let (mut ann, mut ben, mut owner) = (w.of("ann"), w.of("ben"), w.owner());
    let draft = w.draft();
    for verb in ["approve", "reject"] {
        denied(&mut ben, &act(verb, draft, "ben"), "55000", &["draft", "hint"]);
    }
    let approved = w.submitted();
    execute(&mut ben, &act("approve", approved, "ben"));
    let rejected = w.submitted();
    execute(&mut ben, &act("reject", rejected, "ben"));
    let withdrawn = w.submitted();
    execute(&mut ann, &act("withdraw", withdrawn, "ann"));
    for d in [approved, rejected, withdrawn] {
        let before = status(&mut owner, d);
        for verb in ["approve", "reject"] {
            denied(&mut ben, &act(verb, d, "ben"), "55000", &[&before]);
        }
        for verb in ["submit", "withdraw"] {
            denied(&mut ann, &act(verb, d, "ann"), "55000", &[&before]);
        }
        assert_eq!(status(&mut owner, d), before);
        // Nor by plain SQL of the database's owner, who is not held back by privileges.
        refused_with_hint(
            &mut owner,
            &format!("UPDATE casework.case_decision SET status = 'submitted' WHERE decision_id = '{d}'"),
            "55000",
            &["cannot become"],
        );
    }
    // What is submitted is not edited, and what happened stays.
    refused_with_hint(
        &mut owner,
        "UPDATE casework.case_decision SET outcome = 'other' WHERE status <> 'draft'",
        "55000",
        &["edited"],
    );
    for statement in [
        "DELETE FROM casework.case_decision",
        "DELETE FROM casework.case_decision_transition",
        "TRUNCATE casework.case_decision_transition",
        "UPDATE casework.case_decision_transition SET reason = 'another'",
        "UPDATE casework.case_decision SET drafted_by = gen_random_uuid()",
    ] {
        refused_with_hint(&mut owner, statement, "55000", &[]);
    }
}

#[test]
fn r30_four_eyes() {
    let w = Casework::new();
    let mut dora = w.of("dora");
    // Ann may approve as well, in general.
    execute(&mut dora, &assign("ann", "dora", "approver"));
    execute(&mut dora, &assign("ben", "dora", "investigator"));
    // The author.
    let d = w.submitted();
    denied(
        &mut w.of("ann"),
        &act("approve", d, "ann"),
        "23514",
        &["separation of duty"],
    );
    denied(
        &mut w.of("ann"),
        &act("reject", d, "ann"),
        "23514",
        &["separation of duty"],
    );
    // Who submitted what somebody else wrote.
    let d = w.draft();
    execute(&mut w.of("ben"), &act("submit", d, "ben"));
    denied(&mut w.of("ben"), &act("approve", d, "ben"), "23514", &["submitted"]);
    execute(&mut w.of("cal"), &act("approve", d, "cal"));
    // Who edited the draft is an author, too.
    let d = w.draft();
    execute(
        &mut w.of("ben"),
        &format!("UPDATE casework.case_decision SET outcome = 'refused' WHERE decision_id = '{d}'"),
    );
    execute(&mut w.of("ann"), &act("submit", d, "ann"));
    denied(&mut w.of("ben"), &act("approve", d, "ben"), "23514", &["author"]);
    // And who submitted it for somebody else; nor does the one for whom it was done become free.
    let mut owner = w.owner();
    execute(
        &mut owner,
        "UPDATE authz.permission_definition SET requires_mfa = false WHERE permission_code LIKE 'decision.%'",
    );
    execute(&mut dora, &assign("sue", "dora", "approver"));
    let d = w.draft();
    execute(&mut w.of("sue"), &act("submit", d, "ben"));
    for (session, actor) in [("sue", "sue"), ("sue", "cal"), ("sue", "ben"), ("ben", "ben")] {
        denied(&mut w.of(session), &act("approve", d, actor), "23514", &[]);
    }
    // Not even by the owner's plain SQL.
    refused(
        &mut owner,
        &format!(
            "UPDATE casework.case_decision SET status = 'approved', decided_by = drafted_by WHERE decision_id = '{d}'"
        ),
        "23514",
        &[],
    );
    assert_eq!(status(&mut owner, d), "submitted");
}

/// PITFALLS 40: one person with two principals is one pair of eyes.
#[test]
fn pitfall_40_nobody_approves_through_a_second_identity() {
    let w = Casework::new();
    let mut owner = w.owner();
    for (name, email) in [("ann", "ann@office.example"), ("ben", " Ann@Office.example")] {
        let sql = format!(
            "UPDATE authz.principal SET email = '{email}' WHERE principal_id = '{}'",
            id(name)
        );
        execute(&mut owner, &sql);
    }
    let d = w.submitted();
    for verb in ["approve", "reject"] {
        denied(&mut w.of("ben"), &act(verb, d, "ben"), "23514", &["separation of duty"]);
    }
    execute(&mut w.of("cal"), &act("approve", d, "cal"));
}

#[test]
fn r30_approval_asks_for_the_second_factor_of_the_actor() {
    let w = Casework::new();
    let d = w.submitted();
    let mut ben = w.of("ben");
    session(&mut ben, "ben", false);
    denied(&mut ben, &act("approve", d, "ben"), "42501", &["decision.approve"]);
    // Whoever acts for somebody lends none.
    denied(
        &mut w.of("sue"),
        &act("approve", d, "ben"),
        "42501",
        &["decision.approve"],
    );
    session(&mut ben, "ben", true);
    execute(&mut ben, &act("approve", d, "ben"));
}

#[test]
fn r27_forbidden_foreign_and_absent_have_the_same_words() {
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    let foreign: Uuid = value(
        &mut owner,
        "INSERT INTO casework.case_decision (tenant_id, case_id, status, drafted_by) VALUES ($1, $2, 'submitted', $3) RETURNING decision_id",
        &[&id("globex"), &id("other"), &id("gus")],
    );
    let call = |tenant: &str, decision: Uuid, actor: &str| {
        format!(
            "SELECT approve_case_decision('{}', '{decision}', '{}', 'because')",
            id(tenant),
            id(actor)
        )
    };
    let mut eve = w.of("eve");
    let words = denied(&mut eve, &call("acme", d, "eve"), "42501", &["permission denied"]);
    for (tenant, decision, actor) in [
        ("acme", Uuid::from_u128(7), "eve"),
        ("globex", foreign, "eve"),
        ("acme", foreign, "eve"),
        ("globex", d, "eve"),
        ("nowhere", d, "eve"),
        // Somebody else's authority is not Eve's, whether the other one has any or not (PITFALLS 12).
        ("acme", d, "ben"),
        ("acme", d, "nobody"),
    ] {
        let said = denied(&mut eve, &call(tenant, decision, actor), "42501", &[]);
        assert_eq!(said, words, "{tenant} {decision} {actor}");
    }
    // A session that names another tenant, and none at all.
    let mut ben = w.db.connect_as(&w.app);
    denied(&mut ben, &call("acme", d, "ben"), "42501", &[]);
    execute(
        &mut ben,
        &format!(
            "SELECT authz_set_session('{}', '{}', '{{\"mfa\": true}}', false)",
            id("ben"),
            id("globex")
        ),
    );
    denied(&mut ben, &call("acme", d, "ben"), "42501", &[]);
    // The same of cases and documents, and of being the actor.
    let words = denied(&mut eve, &on_case("seal_case", "eve"), "42501", &[]);
    assert_eq!(denied(&mut eve, &on_case("seal_case", "dora"), "42501", &[]), words);
    let absent = on_case("seal_case", "eve").replace(&id("one").to_string(), &id("none").to_string());
    assert_eq!(denied(&mut eve, &absent, "42501", &[]), words);
    assert_eq!(status(&mut owner, d), "submitted");
}

/// A dynamic separation of duty that the installation adds counts what is done to one case or decision, by whatever way.
#[test]
fn r30_dynamic_separation_of_duty_holds_in_controlled_writes() {
    let w = Casework::new();
    let mut owner = w.owner();
    make::role(&mut owner, "sealer", &["case.view", "case.seal"]);
    make::role(
        &mut owner,
        "remover",
        &["case.view", "case.delete", "case.restore", "case.view_deleted"],
    );
    for role in ["sealer", "remover"] {
        make::assign(&mut owner, id("acme"), id("eve"), role, "tenant", id("acme"));
    }
    execute(
        &mut owner,
        "INSERT INTO authz.sod_constraint (constraint_name, constraint_kind, role_codes, resource_type)
         VALUES ('seal or remove', 'dynamic', '{sealer,remover}', 'case'),
                ('write or remove', 'dynamic', '{case_investigator,remover}', 'decision')",
    );
    let mut eve = w.of("eve");
    execute(&mut eve, &on_case("delete_case", "eve"));
    execute(&mut eve, &on_case("restore_case", "eve"));
    denied(
        &mut eve,
        &on_case("seal_case", "eve"),
        "23514",
        &["seal or remove", "sealer"],
    );
    // Who holds one of them is not concerned.
    execute(&mut w.of("dora"), &on_case("seal_case", "dora"));
    let used: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(array_to_string(role_codes, ',') ORDER BY role_codes) FROM authz.sod_use",
        &[],
    );
    assert_eq!(used, ["remover"]);
}

/// Drafting is no function call, and counts as well.
#[test]
fn r30_who_drafted_in_one_role_does_not_withdraw_in_another() {
    let w = Casework::new();
    let mut owner = w.owner();
    make::role(&mut owner, "canceller", &["decision.view", "decision.withdraw"]);
    execute(
        &mut owner,
        "INSERT INTO authz.sod_constraint (constraint_name, constraint_kind, role_codes, resource_type)
         VALUES ('write or withdraw', 'dynamic', '{case_investigator,canceller}', 'decision')",
    );
    // Investigators may withdraw what they wrote, in that role.
    let d = w.draft();
    execute(&mut w.of("ann"), &act("withdraw", d, "ann"));
    let d = w.draft();
    execute(
        &mut owner,
        "UPDATE authz.role_permission SET valid_until = clock_timestamp()
          WHERE role_code = 'case_investigator' AND permission_code = 'decision.withdraw'",
    );
    make::assign(&mut owner, id("acme"), id("ann"), "canceller", "tenant", id("acme"));
    denied(
        &mut w.of("ann"),
        &act("withdraw", d, "ann"),
        "23514",
        &["write or withdraw"],
    );
}

/// A tenant that is not said is the session's, or the one that has the row; names and NULLs as a caller writes them.
#[test]
fn r30_the_tenant_may_be_left_to_the_resource() {
    let w = Casework::new();
    let mut owner = w.owner();
    let d = w.submitted();
    let of = |decision: Uuid, actor: &str| {
        format!(
            "SELECT approve_case_decision(reason => 'because', actor => '{}', decision => '{decision}', tenant => NULL)",
            id(actor)
        )
    };
    // What is not there, and what is forbidden, in the same words.
    let mut ben = w.of("ben");
    let forbidden = denied(&mut w.of("dora"), &of(d, "dora"), "42501", &["permission denied"]);
    let missing = denied(
        &mut ben,
        &of(id("no such decision"), "ben"),
        "42501",
        &["permission denied"],
    );
    assert_eq!(forbidden.lines().next(), missing.lines().next());
    // One that two tenants have is unclear, unless the session names its tenant.
    execute(
        &mut owner,
        &format!(
            "INSERT INTO casework.case_decision (tenant_id, decision_id, case_id, drafted_by)
             SELECT tenant_id, '{d}', case_id, '{}' FROM casework.case_record WHERE case_id = '{}'",
            id("gus"),
            id("other")
        ),
    );
    denied(&mut ben, &of(d, "ben"), "42501", &["permission denied"]);
    execute(
        &mut ben,
        &format!(
            "SELECT authz_set_session('{}', '{}', authz_context(), false)",
            id("ben"),
            id("acme")
        ),
    );
    execute(&mut ben, &of(d, "ben"));
    let approved: String = value(
        &mut owner,
        "SELECT status FROM casework.case_decision WHERE decision_id = $1 AND tenant_id = $2",
        &[&d, &id("acme")],
    );
    assert_eq!(approved, "approved");
    execute(
        &mut w.of("dora"),
        &format!("SELECT seal_case(NULL, '{}', '{}', 'because')", id("one"), id("dora")),
    );
    denied(
        &mut w.of("dora"),
        &format!(
            "SELECT seal_case(NULL, '{}', '{}', 'because')",
            id("nowhere"),
            id("dora")
        ),
        "42501",
        &["permission denied"],
    );
    denied(
        &mut w.of("dora"),
        &format!("SELECT download_case_document(NULL, '{}')", id("nowhere")),
        "42501",
        &["permission denied"],
    );
}

/// What cannot leave an event is refused before anything is looked at.
#[test]
fn r30_nothing_is_decided_in_a_read_only_transaction() {
    let w = Casework::new();
    let d = w.submitted();
    let mut ben = w.of("ben");
    execute(&mut ben, "SET default_transaction_read_only = on");
    for call in [
        act("approve", d, "ben"),
        act("reject", d, "ben"),
        on_case("seal_case", "ben"),
        assign("eve", "ben", "approver"),
        format!("SELECT download_case_document('{}', '{}')", id("acme"), id("paper")),
    ] {
        refused_with_hint(
            &mut ben,
            &call,
            "0A000",
            &["read-only", "read-write transaction on the primary"],
        );
    }
    execute(&mut ben, "SET default_transaction_read_only = off");
    execute(&mut ben, &act("approve", d, "ben"));
}

#[test]
fn r30_bad_arguments() {
    let w = Casework::new();
    let d = w.submitted();
    let mut ben = w.of("ben");
    for (call, words) in [
        (
            format!(
                "SELECT approve_case_decision('{}', NULL, '{}', 'x')",
                id("acme"),
                id("ben")
            ),
            "decision",
        ),
        (
            format!("SELECT approve_case_decision('{}', '{d}', NULL, 'x')", id("acme")),
            "actor",
        ),
        (
            format!(
                "SELECT approve_case_decision('{}', '{d}', '{}', ' \t')",
                id("acme"),
                id("ben")
            ),
            "reason",
        ),
        (
            format!(
                "SELECT approve_case_decision('{}', '{d}', '{}', NULL)",
                id("acme"),
                id("ben")
            ),
            "reason",
        ),
    ] {
        refused_with_hint(&mut ben, &call, "22023", &[words]);
    }
    let mut dora = w.of("dora");
    refused_with_hint(&mut dora, &assign("eve", "dora", "king"), "22023", &["king"]);
    refused_with_hint(
        &mut dora,
        &assign("gus", "dora", "approver"),
        "42501",
        &["no such member"],
    );
    refused_with_hint(
        &mut dora,
        &assign("dora", "dora", "approver"),
        "42501",
        &["own authority"],
    );
    refused_with_hint(&mut dora, &assign("ben", "dora", "approver"), "55000", &["already"]);
    // A permission that nobody defined is a mistake of whoever set the database up.
    let bare = Db::with(Start::Extension);
    let mut c = bare.connect();
    make::tenant(&mut c, "acme");
    make::principal(&mut c, "ben");
    session(&mut c, "ben", true);
    refused_with_hint(&mut c, &act("approve", d, "ben"), "42704", &["decision.approve"]);
}

#[test]
fn r30_assignment_is_needed_and_ends_with_its_role() {
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    // Everything that an approver may, in the whole tenant; but not assigned.
    make::assign(&mut owner, id("acme"), id("eve"), "case_approver", "tenant", id("acme"));
    let mut eve = w.of("eve");
    assert!(value::<bool>(
        &mut eve,
        "SELECT authz_can('decision.approve', $1::uuid)",
        &[&d]
    ));
    let said = denied(&mut eve, &act("approve", d, "eve"), "42501", &["permission denied"]);
    let unknown = act("approve", Uuid::from_u128(7), "eve");
    assert_eq!(
        denied(&mut eve, &unknown, "42501", &[]),
        said,
        "down to the lines of our functions"
    );
    let mut dora = w.of("dora");
    let unassign = format!(
        "SELECT unassign_case('{}', '{}', '{}', '{}', 'moved')",
        id("acme"),
        id("one"),
        id("ben"),
        id("dora")
    );
    execute(&mut dora, &unassign);
    let mut ben = w.of("ben");
    assert!(!value::<bool>(
        &mut ben,
        "SELECT authz_can('decision.approve', $1::uuid)",
        &[&d]
    ));
    denied(&mut ben, &act("approve", d, "ben"), "42501", &["permission denied"]);
    refused_with_hint(&mut dora, &unassign, "55000", &["not assigned"]);
    let why: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(reason ORDER BY occurred_at) FROM authz.access_change_event
          WHERE target_principal_id = $1 AND actor_id = $2 AND scope_type = 'case'",
        &[&id("ben"), &id("dora")],
    );
    assert_eq!(why, ["because", "moved"], "R51");
    execute(&mut dora, &assign("ben", "dora", "approver"));
    execute(&mut ben, &act("approve", d, "ben"));
    // What a member did is told without being able to change it.
    let seen: i64 = value(&mut dora, "SELECT count(*) FROM casework.case_assignment", &[]);
    assert_eq!(seen, 4);
}

#[test]
fn r30_of_two_approvers_at_once_one_approves() {
    // PITFALLS 39.
    let w = Arc::new(Casework::new());
    for _ in 0..8 {
        let d = w.submitted();
        let barrier = Arc::new(Barrier::new(2));
        let results: Vec<_> = ["ben", "cal"]
            .map(|who| {
                let (w, barrier) = (w.clone(), barrier.clone());
                std::thread::spawn(move || {
                    let mut c = w.of(who);
                    barrier.wait();
                    c.batch_execute(&act("approve", d, who))
                })
            })
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect();
        let errors: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
        assert_eq!(errors.len(), 1);
        assert!(report(errors[0]).starts_with("55000"), "{}", report(errors[0]));
        let approvals: i64 = value(
            &mut w.owner(),
            "SELECT count(*) FROM casework.case_decision_transition WHERE decision_id = $1 AND to_status = 'approved'",
            &[&d],
        );
        assert_eq!(approvals, 1);
    }
    // One that waits for the row meets what was revoked meanwhile (R19).
    let d = w.submitted();
    let mut owner = w.owner();
    execute(
        &mut owner,
        &format!("BEGIN; SELECT FROM casework.case_decision WHERE decision_id = '{d}' FOR UPDATE"),
    );
    let late = {
        let w = w.clone();
        std::thread::spawn(move || {
            let mut ben = w.of("ben");
            refused(&mut ben, &act("approve", d, "ben"), "42501", &["permission denied"])
        })
    };
    let mut watcher = w.owner();
    while value::<i64>(
        &mut watcher,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        &[],
    ) == 0
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    execute(
        &mut owner,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp()
              WHERE principal_id = '{}' AND role_code = 'case_approver'; COMMIT",
            id("ben")
        ),
    );
    late.join().unwrap();
    assert_eq!(status(&mut owner, d), "submitted");
}

#[test]
fn r30_runtime_roles_change_no_status_by_any_path() {
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    make::role(
        &mut owner,
        "everything",
        &[
            "case.view",
            "case.edit",
            "case.create",
            "case.delete",
            "case.transfer",
            "decision.view",
            "decision.edit",
        ],
    );
    make::assign(&mut owner, id("acme"), id("eve"), "everything", "tenant", id("acme"));
    let mut eve = w.of("eve");
    execute(&mut eve, "UPDATE casework.case_record SET title = 'seen'");
    for statement in [
        "UPDATE casework.case_decision SET status = 'approved'",
        "UPDATE casework.case_decision SET decided_by = authz_principal()",
        "UPDATE casework.case_decision SET edited_by = '{}'",
        "UPDATE casework.case_decision SET drafted_by = authz_principal()",
        "INSERT INTO casework.case_decision (tenant_id, case_id, status) SELECT tenant_id, case_id, 'approved' FROM casework.case_record",
        "INSERT INTO casework.case_decision (tenant_id, case_id, drafted_by) SELECT tenant_id, case_id, gen_random_uuid() FROM casework.case_record",
        "INSERT INTO casework.case_decision (tenant_id, case_id) SELECT tenant_id, case_id FROM casework.case_record
         ON CONFLICT (tenant_id, decision_id) DO UPDATE SET status = 'approved'",
        "MERGE INTO casework.case_decision d USING casework.case_record c ON d.case_id = c.case_id WHEN MATCHED THEN UPDATE SET status = 'approved'",
        "WITH w AS (UPDATE casework.case_decision SET status = 'approved' RETURNING 1) SELECT * FROM w",
        "UPDATE casework.case_record SET status = 'closed'",
        "UPDATE casework.case_record SET confidentiality_level = 'normal'",
        "UPDATE casework.case_record SET deleted_at = NULL",
        "UPDATE casework.case_record SET owner_principal_id = authz_principal()",
        "UPDATE casework.case_record SET owning_team_id = NULL",
        "UPDATE casework.case_record SET created_by = authz_principal()",
        "DELETE FROM casework.case_record",
        "DELETE FROM casework.case_decision",
        "TRUNCATE casework.case_decision CASCADE",
        "INSERT INTO casework.case_assignment (tenant_id, case_id, principal_id) SELECT tenant_id, case_id, authz_principal() FROM casework.case_record",
        "INSERT INTO casework.case_decision_transition (tenant_id, decision_id) SELECT tenant_id, decision_id FROM casework.case_decision",
        "UPDATE casework.case_decision_transition SET reason = 'x'",
        "UPDATE casework.case_ownership_history SET unassigned_at = now()",
        "COPY casework.case_decision FROM STDIN",
        "ALTER TABLE casework.case_decision DISABLE ROW LEVEL SECURITY",
        "SELECT casework.move_decision('decision.view', 'approved', NULL, NULL, NULL, 'x')",
        "SELECT authz_install_casework()",
        "SET session_replication_role = replica",
    ] {
        refused(&mut eve, statement, "42501", &[]);
    }
    assert_eq!(status(&mut owner, d), "submitted");
    // The generic way to transfer asks for authority of its own.
    refused(
        &mut eve,
        &format!(
            "SELECT authz_transfer_ownership('case', '{}', '{}', '{}', 'mine')",
            id("one"),
            id("eve"),
            id("acme")
        ),
        "42501",
        &[],
    );
}

#[test]
fn planted_functions_are_not_called() {
    // PITFALLS 16; functions that fit a call with fewer defaults or without a cast would win.
    let w = Casework::new();
    let d = w.submitted();
    let mut owner = w.owner();
    execute(
        &mut owner,
        "CREATE FUNCTION public.authz_can(uuid, text, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_can(uuid, varchar, uuid, uuid, jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_can(text, text, text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.authz_protect(regclass, text, name, name) RETURNS TABLE (step text, detail text)
             LANGUAGE sql AS $$SELECT 'planted', 'planted'$$",
    );
    let mut eve = w.of("eve");
    execute(
        &mut eve,
        "CREATE TEMP TABLE case_decision (status text); CREATE FUNCTION pg_temp.authz_principal() RETURNS uuid
             LANGUAGE sql AS 'SELECT NULL::uuid'; SET search_path = pg_temp, public",
    );
    refused(
        &mut eve,
        &act("approve", d, "eve").replace("approve_", "public.approve_"),
        "42501",
        &[],
    );
    let planted: i64 = value(
        &mut owner,
        "SELECT count(*) FROM authz_install_casework() WHERE step = 'planted'",
        &[],
    );
    assert_eq!(planted, 0);
    assert_eq!(status(&mut owner, d), "submitted");
}

#[test]
fn r17_ownership_is_transferred_and_has_a_past() {
    let w = Casework::new();
    let (mut dora, mut owner) = (w.of("dora"), w.owner());
    make::role(&mut owner, "clerk", &["case.view"]);
    make::assign(&mut owner, id("acme"), id("eve"), "clerk", "team", id("field"));
    let transfer = |kind: &str, to: &str, actor: &str| {
        format!(
            "SELECT transfer_case_ownership('{}', '{}', '{kind}', '{}', '{}', 'reorganised')",
            id("acme"),
            id("one"),
            id(to),
            id(actor)
        )
    };
    let owners = |c: &mut Client| -> String {
        value(
            c,
            "SELECT concat_ws(' ', owning_org_id, owning_team_id, owner_principal_id) FROM casework.case_record WHERE case_number = 'one'",
            &[],
        )
    };
    execute(&mut dora, &transfer("team", "field", "dora"));
    assert_eq!(owners(&mut owner), format!("{} {}", id("office"), id("field")));
    let can = "SELECT authz_can('case.view', $1::uuid)";
    assert!(value::<bool>(&mut w.of("eve"), can, &[&id("one")]));
    execute(&mut dora, &transfer("principal", "eve", "dora"));
    // The owner's role holds.
    assert!(value::<bool>(
        &mut w.of("eve"),
        "SELECT authz_can('case.edit', $1::uuid)",
        &[&id("one")]
    ));
    execute(&mut dora, &transfer("organization", "office", "dora"));
    assert_eq!(owners(&mut owner), id("office").to_string());
    assert!(!value::<bool>(&mut w.of("eve"), can, &[&id("one")]));
    // History: who, by whom, why, from when; decisions about the past use it.
    let history: Vec<String> = value(
        &mut dora,
        "SELECT array_agg(owner_type || ' ' || reason_code || ' ' || (unassigned_at IS NULL) ORDER BY owner_type COLLATE \"C\")
           FROM casework.case_ownership_history WHERE assigned_by = authz_principal()",
        &[],
    );
    assert_eq!(
        history,
        [
            "organization reorganised true",
            "principal reorganised false",
            "team reorganised false"
        ]
    );
    let between = "SELECT assigned_at + (unassigned_at - assigned_at) / 2 FROM casework.case_ownership_history WHERE owner_type = 'principal'";
    assert!(value::<bool>(
        &mut owner,
        &format!("SELECT authz_can_at($1, 'case.edit', $2::uuid, ({between}), $3)"),
        &[&id("eve"), &id("one"), &id("acme")]
    ));
    assert!(!value::<bool>(
        &mut owner,
        "SELECT authz_can_at($1, 'case.edit', $2::uuid, now() - interval '1 hour', $3)",
        &[&id("eve"), &id("one"), &id("acme")]
    ));
    // The setting says afterwards what it said before.
    assert_eq!(
        value::<String>(
            &mut dora,
            "SELECT coalesce(current_setting('authz.change_reason', true), '')",
            &[]
        ),
        ""
    );
    refused_with_hint(
        &mut dora,
        &transfer("organization", "office", "dora"),
        "55000",
        &["already"],
    );
    refused_with_hint(&mut dora, &transfer("team", "nobody", "dora"), "22023", &["no team"]);
    refused_with_hint(&mut dora, &transfer("king", "field", "dora"), "22023", &["king"]);
    refused_with_hint(
        &mut dora,
        &transfer("principal", "gus", "dora"),
        "42501",
        &["no such member"],
    );
    refused_with_hint(
        &mut dora,
        &transfer("principal", "dora", "dora"),
        "42501",
        &["own authority"],
    );
    refused_with_hint(
        &mut w.of("ann"),
        &transfer("principal", "ben", "ann"),
        "42501",
        &["permission denied"],
    );
}

#[test]
fn r25_r26_sealing_deletion_and_documents() {
    let w = Casework::new();
    let (mut dora, mut ann, mut ben, mut owner) = (w.of("dora"), w.of("ann"), w.of("ben"), w.owner());
    let seen =
        |c: &mut Client, table: &str| -> i64 { value(c, &format!("SELECT count(*) FROM casework.{table}"), &[]) };
    // The session's principal is who uploads; documents have a level of their own; details are for few.
    execute(
        &mut ann,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, document_type, storage_object_id) VALUES ('{0}', '{1}', 'letter', 's3://x');
             INSERT INTO casework.case_sensitive_detail (tenant_id, case_id, complainant_name) VALUES ('{0}', '{1}', 'Zoe')",
            id("acme"),
            id("one")
        ),
    );
    refused(
        &mut ann,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, confidentiality_level) VALUES ('{}', '{}', 'sealed')",
            id("acme"),
            id("one")
        ),
        "42501",
        &[],
    );
    execute(
        &mut owner,
        &format!(
            "INSERT INTO casework.case_document (tenant_id, case_id, confidentiality_level) VALUES ('{}', '{}', 'sealed')",
            id("acme"),
            id("one")
        ),
    );
    assert_eq!(
        (seen(&mut ann, "case_document"), seen(&mut ann, "case_sensitive_detail")),
        (1, 1)
    );
    assert_eq!(
        (seen(&mut ben, "case_document"), seen(&mut ben, "case_sensitive_detail")),
        (1, 0)
    );
    // Where content is stored is told to those who may download it, by the function.
    for statement in [
        "SELECT storage_object_id FROM casework.case_document",
        "SELECT * FROM casework.case_document",
        "SELECT count(*) FROM casework.case_document WHERE storage_object_id LIKE 's3%'",
        "SELECT count(*) FROM casework.case_document AS d WHERE d IS NOT NULL",
        "UPDATE casework.case_document SET document_type = storage_object_id",
        "UPDATE casework.case_document SET document_type = 'x' RETURNING storage_object_id",
    ] {
        refused(&mut ann, statement, "42501", &[]);
    }
    let letter: Uuid = value(&mut ann, "SELECT document_id FROM casework.case_document", &[]);
    let download = format!("SELECT download_case_document('{}', '{letter}')", id("acme"));
    assert_eq!(value::<String>(&mut ben, &download, &[]), "s3://x");
    let words = denied(&mut dora, &download, "42501", &[]);
    let absent = download.replace(&letter.to_string(), &id("none").to_string());
    assert_eq!(denied(&mut dora, &absent, "42501", &[]), words);
    let mut nobody = w.db.connect_as(&w.app);
    assert_eq!(denied(&mut nobody, &download, "42501", &[]), words);

    // Deletion hides, and can be undone by who may; nothing is decided on what is deleted.
    let d = w.submitted();
    execute(&mut dora, &on_case("delete_case", "dora"));
    for table in ["case_record", "case_document", "case_decision", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table), 0, "{table}");
    }
    assert_eq!(seen(&mut dora, "case_record"), 1);
    denied(&mut ben, &act("approve", d, "ben"), "42501", &[]);
    make::role(&mut owner, "undead", &["case.view_deleted"]);
    make::assign(&mut owner, id("acme"), id("ben"), "undead", "tenant", id("acme"));
    denied(&mut ben, &act("approve", d, "ben"), "55000", &["deleted"]);
    refused_with_hint(&mut dora, &on_case("delete_case", "dora"), "55000", &["already"]);
    refused_with_hint(&mut dora, &assign("eve", "dora", "approver"), "55000", &["not open"]);
    refused_with_hint(&mut ann, &on_case("restore_case", "ann"), "42501", &[]);
    execute(&mut dora, &on_case("restore_case", "dora"));
    refused_with_hint(&mut dora, &on_case("restore_case", "dora"), "55000", &["not deleted"]);
    assert_eq!(seen(&mut ann, "case_record"), 1);

    // Sealed: out of sight for those who worked on it.
    execute(&mut dora, &on_case("seal_case", "dora"));
    for table in ["case_record", "case_document", "case_decision", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table), 0, "{table}");
    }
    denied(&mut ben, &act("approve", d, "ben"), "42501", &[]);
    let events: Vec<String> = value(
        &mut owner,
        "SELECT array_agg(DISTINCT action_code ORDER BY action_code) FROM authz.access_audit_event
          WHERE resource_type = 'case' AND access_result = 'allowed' AND context ->> 'reason' = 'because'",
        &[],
    );
    assert_eq!(events, ["case.assign", "case.delete", "case.restore", "case.seal"]);
}

#[test]
fn r28_keys_are_tenant_scoped_and_nothing_cascades() {
    let w = Casework::new();
    let mut owner = w.owner();
    // PITFALLS 18.
    let loose: Vec<String> = value(
        &mut owner,
        "SELECT coalesce(array_agg(k.conname::text), '{}') FROM pg_constraint k
          WHERE k.connamespace = 'casework'::regnamespace
            AND ((k.contype = 'f' AND (k.confdeltype <> 'a' OR k.confupdtype <> 'a'))
              OR (k.contype IN ('p', 'u') AND k.conkey[1] <> 1)
              OR (k.contype = 'f' AND k.confrelid NOT IN ('authz.principal'::regclass, 'authz.principal_role_assignment'::regclass)
                  AND NOT k.conkey @> ARRAY[1::smallint]))",
        &[],
    );
    assert!(loose.is_empty(), "{loose:?}");
    for (table, columns) in [
        ("case_document", "tenant_id, case_id"),
        ("case_sensitive_detail", "tenant_id, case_id"),
    ] {
        refused(
            &mut owner,
            &format!(
                "INSERT INTO casework.{table} ({columns}) VALUES ('{}', '{}')",
                id("globex"),
                id("one")
            ),
            "23503",
            &[],
        );
    }
    refused(
        &mut owner,
        &format!(
            "UPDATE casework.case_record SET owning_team_id = '{}' WHERE tenant_id = '{}'",
            id("field"),
            id("globex")
        ),
        "23503",
        &[],
    );
    // A reader learns nothing from references to what it does not see (PITFALLS 19).
    let mut eve = w.of("eve");
    let insert = |case: &str| {
        format!(
            "INSERT INTO casework.case_document (tenant_id, case_id) VALUES ('{}', '{}')",
            id("acme"),
            id(case)
        )
    };
    let words = refused(&mut eve, &insert("one"), "42501", &[]);
    assert_eq!(refused(&mut eve, &insert("none"), "42501", &[]), words);
    assert_eq!(refused(&mut eve, &insert("other"), "42501", &[]), words);
}

/// The policies of the schema, and the rows that belong to them.
fn state(c: &mut Client) -> String {
    value(
        c,
        "SELECT string_agg(what, E'\n' ORDER BY what COLLATE \"C\") FROM (
             SELECT concat_ws(' ', p.polrelid::regclass, p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid),
                    pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy')) FROM pg_policy p
             UNION ALL SELECT concat_ws(' ', oid::regclass, relrowsecurity, relforcerowsecurity) FROM pg_class
                        WHERE relnamespace = 'casework'::regnamespace
             UNION ALL SELECT t::text FROM authz.resource_type t
             UNION ALL SELECT h::text FROM authz.resource_history h
             UNION ALL SELECT d::text FROM authz.permission_definition d
             UNION ALL SELECT r.role_code || ' ' || p.permission_code FROM authz.role_definition r JOIN authz.role_permission p USING (role_code)
             UNION ALL SELECT c::text FROM casework.case_record c
             UNION ALL SELECT a::text FROM casework.case_assignment a
             UNION ALL SELECT d::text FROM casework.case_decision d
             UNION ALL SELECT t::text FROM casework.case_decision_transition t
             UNION ALL SELECT h::text FROM casework.case_ownership_history h) AS s (what)",
        &[],
    )
}

fn policies(c: &mut Client) -> Vec<String> {
    state(c)
        .lines()
        .filter(|line| line.contains("Made by authz_protect"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn r71_installing_is_what_authz_protect_does_and_can_be_repeated() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    let made = policies(&mut c);
    assert_eq!(made.len(), 16);
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    assert_eq!(policies(&mut c), made, "CREATE EXTENSION makes the same policies");
    let before = state(&mut c);
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    assert_eq!(state(&mut c), before);
    let missing: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.protected_table WHERE missing_indexes <> '{}' OR NOT forced",
        &[],
    );
    assert_eq!(missing, 0);
    // What the database's owner took from a role stays taken.
    execute(
        &mut c,
        "UPDATE authz.role_permission SET valid_until = now() WHERE permission_code = 'decision.approve'",
    );
    execute(&mut c, "SELECT * FROM authz_install_casework()");
    let open: i64 = value(
        &mut c,
        "SELECT count(*) FROM authz.role_permission WHERE permission_code = 'decision.approve' AND valid_until IS NULL",
        &[],
    );
    assert_eq!(open, 0);
    // A database with cases of its own keeps them.
    let other = Db::new();
    let mut c = other.connect();
    let before = state(&mut c);
    refused_with_hint(
        &mut c,
        "SELECT * FROM authz_install_casework()",
        "55000",
        &["case", "case_record"],
    );
    assert_eq!(state(&mut c), before);
    let reader = other.role();
    execute(
        &mut c,
        &format!(
            "GRANT USAGE ON SCHEMA casework TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA casework TO {reader}"
        ),
    );
    let rows: i64 = value(
        &mut other.connect_as(&reader),
        "SELECT count(*) FROM casework.case_record",
        &[],
    );
    assert_eq!(rows, 0);
}

#[test]
fn r70_a_dump_keeps_the_reference_domain() {
    let w = Casework::new();
    let d = w.submitted();
    execute(&mut w.of("ben"), &act("approve", d, "ben"));
    execute(
        &mut w.of("dora"),
        &format!(
            "SELECT transfer_case_ownership('{}', '{}', 'team', '{}', '{}', 'moved')",
            id("acme"),
            id("one"),
            id("field"),
            id("dora")
        ),
    );
    let next = w.submitted();
    let dump = run(w.db.command("pg_dump").args(["--no-sync"]));
    let copy = Db::with(Start::Empty);
    let file = std::env::temp_dir().join(format!("{}.sql", copy.name));
    std::fs::write(&file, dump).unwrap();
    run(copy
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(state(&mut copy.connect()), state(&mut w.owner()));
    // It works there, for the same roles.
    let mut ben = copy.connect_as(&w.app);
    session(&mut ben, "ben", true);
    execute(&mut ben, &act("approve", next, "ben"));
    refused(
        &mut ben,
        "UPDATE casework.case_decision SET status = 'draft'",
        "42501",
        &[],
    );
}
