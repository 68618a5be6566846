//! What else a transaction that is open sees at once: what is given, the model, memberships, the end of a time (R19,
//! PITFALLS 10).

use crate::alice;
use authz_tests::clock::{Clock, at_leisure};
use authz_tests::make::{self, can, id};
use authz_tests::{Server, execute};

#[test]
fn a_grant_is_seen_at_once_too() {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let mut b = db.connect();
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")));
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "{isolation}");
        make::revoke(&mut a, given);
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "{isolation}");
    }
}

#[test]
fn a_resource_type_and_a_tenant_and_a_permission_change() {
    let (db, mut a, _) = alice(&Server::shared());
    let mut b = db.connect();
    let mut step = |change: &str, back: &str, what: &str| {
        execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "before: {what}");
        execute(&mut a, change);
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "{what}");
        execute(&mut a, back);
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "back: {what}");
        execute(&mut b, "COMMIT");
    };
    step(
        "UPDATE authz.tenant SET status = 'suspended'",
        "UPDATE authz.tenant SET status = 'active'",
        "the tenant is suspended",
    );
    step(
        "UPDATE authz.permission_definition SET requires_mfa = true WHERE permission_code = 'case.view'",
        "UPDATE authz.permission_definition SET requires_mfa = false WHERE permission_code = 'case.view'",
        "the permission asks for MFA",
    );
    step(
        "UPDATE authz.resource_type SET deleted_at_column = NULL, confidentiality_column = 'title' WHERE resource_type = 'case'",
        "UPDATE authz.resource_type SET deleted_at_column = 'deleted_at', confidentiality_column = 'confidentiality_level'
          WHERE resource_type = 'case'",
        "another column holds the level",
    );
}

#[test]
fn what_a_membership_and_an_owner_role_gave() {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    execute(
        &mut a,
        &format!("UPDATE public.case_record SET owner_id = '{}'", id("alice")),
    );
    execute(
        &mut a,
        "UPDATE authz.resource_type SET owner_role = 'viewer' WHERE resource_type = 'case'",
    );
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")));
    execute(
        &mut a,
        "UPDATE authz.resource_type SET owner_role = NULL WHERE resource_type = 'case'",
    );
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")));
}

/// PITFALLS 10
#[test]
fn expiry_needs_no_event() {
    at_leisure(ends_by_itself);
}

fn ends_by_itself(clock: &Clock) {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    let mut open = db.connect();
    let mut plain = db.connect();
    execute(&mut open, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(!can(&mut open, id("alice"), "case.view", id("affair")));
    clock.start();
    execute(
        &mut a,
        &format!(
            "INSERT INTO authz.principal_role_assignment
                    (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at)
             VALUES ('{}', '{}', 'viewer', 'case', '{}', clock_timestamp() + {}, clock_timestamp() + {})",
            id("acme"),
            id("alice"),
            id("affair"),
            clock.interval(0.5),
            clock.interval(1.5)
        ),
    );
    let mut until = |moment: f64, expected: bool| {
        clock.wait_until(moment);
        assert_eq!(
            can(&mut plain, id("alice"), "case.view", id("affair")),
            expected,
            "at {moment}"
        );
        assert_eq!(
            can(&mut open, id("alice"), "case.view", id("affair")),
            expected,
            "at {moment}, open transaction"
        );
    };
    until(0.0, false);
    until(1.0, true);
    until(2.0, false);
}
