//! A decision goes from draft to approval, by legal steps only, whatever else is tried (R30).

use crate::status;
use authz_tests::casework::{Casework, act, assign};
use authz_tests::make::{self, id};
use authz_tests::{denied, execute, refused, refused_with_hint, value};
use uuid::Uuid;

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
