//! Four eyes, the second factor, separation of duty, and of two at once one (R30, PITFALLS 39, 40).

use crate::{on_case, status};
use authz_tests::casework::{Casework, act, assign, session};
use authz_tests::make::{self, id};
use authz_tests::waiting::until_it_waits;
use authz_tests::{denied, execute, refused, report, value};
use std::sync::{Arc, Barrier};

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
    let mut ben = w.of("ben");
    let pid: i32 = value(&mut ben, "SELECT pg_backend_pid()", &[]);
    let late =
        std::thread::spawn(move || refused(&mut ben, &act("approve", d, "ben"), "42501", &["permission denied"]));
    let mut watcher = w.owner();
    until_it_waits(&mut watcher, pid);
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
