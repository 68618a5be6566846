//! Approval and review by somebody else, of what was asked for (R31, PITFALLS 38, 40).

use crate::{approve, call, request, start, world};
use authz_tests::make::{self, id};
use authz_tests::{execute, recorded, refused};
use uuid::Uuid;

#[test]
fn pitfall_40_nobody_approves_or_reviews_the_own_session_nor_through_a_second_identity() {
    let mut w = world();
    let acme = id("acme");
    // Sam may approve as well, and has another principal with the same address, written another way.
    for role in ["approver", "reviewer"] {
        if role == "approver" {
            make::join(&mut w.admin, acme, id("sam"));
        }
        make::assign(&mut w.admin, acme, id("sam"), role, "tenant", acme);
    }
    make::member(&mut w.admin, acme, "sam2");
    for role in ["approver", "reviewer"] {
        make::assign(&mut w.admin, acme, id("sam2"), role, "tenant", acme);
    }
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET email = 'Sam@Support.example ' WHERE principal_id = '{}';
             INSERT INTO authz.profile (user_id, email) VALUES ('{}', 'sam@support.example')",
            id("sam"),
            id("sam2")
        ),
    );
    let robot = "INSERT INTO authz.principal (principal_type, external_id, principal_id) VALUES ('service', 'r2', '00000000-0000-4000-8000-00000000000a')";
    execute(&mut w.admin, robot);
    let service: Uuid = "00000000-0000-4000-8000-00000000000a".parse().unwrap();
    make::join(&mut w.admin, acme, service);
    make::assign(&mut w.admin, acme, service, "approver", "tenant", acme);
    let mut sam = w.of("sam");
    let session = request(&mut sam, "");
    let approval = format!("SELECT authz_approve_access('{session}')");
    let mut sam2 = w.of("sam2");
    for who in [&mut sam, &mut sam2] {
        let own = refused(who, &approval, "42501", &["permission denied"]);
        // Down to the lines of our functions.
        let unknown = format!("SELECT authz_approve_access('{}')", Uuid::nil());
        assert_eq!(own, refused(who, &unknown, "42501", &[]));
    }
    // Its own profile is its user's to change, its principal is not.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal SET email = 'sam@support.example' WHERE principal_id = '{}'",
            id("sam2")
        ),
    );
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.profile SET email = 'other@support.example' WHERE user_id = '{}'",
            id("sam2")
        ),
    );
    refused(&mut sam2, &approval, "42501", &["permission denied"]);
    let mut machine = w.db.connect_as(&w.app);
    execute(
        &mut machine,
        &format!("SELECT authz_set_session('{service}', is_local => false)"),
    );
    refused(&mut machine, &approval, "42501", &["permission denied"]);
    assert_eq!(w.session(session, "approved_by"), None);
    // Nor by plain SQL.
    for column in ["approved_by", "rejected_by", "reviewed_by"] {
        refused(
            &mut w.admin,
            &format!(
                "UPDATE authz.privileged_access_session SET {column} = '{}' WHERE session_id = '{session}'",
                id("sam2")
            ),
            "23514",
            &["somebody else"],
        );
    }
    let mut ann = w.of("ann");
    approve(&mut ann, session);
    start(&mut sam, session);
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    for c in [&mut sam, &mut sam2] {
        refused(
            c,
            &format!("SELECT authz_review_access('{session}', 'fine')"),
            "42501",
            &["permission denied"],
        );
    }
    assert_eq!(recorded(&mut sam), 3, "what was refused is recorded");
    assert_eq!(recorded(&mut sam2), 4);
}

#[test]
fn pitfall_40_what_was_asked_for_cannot_change_after_the_request() {
    let mut w = world();
    let mut sam = w.of("sam");
    let session = request(&mut sam, "");
    for change in [
        "access_reason = 'something else'",
        "includes_sensitive = true",
        "scope_type = 'platform', scope_id = NULL, tenant_id = NULL",
        "tenant_id = NULL",
        "principal_id = approved_by",
        "session_kind = 'break_glass'",
        "requested_duration = '1 year'",
        "ticket_reference = 'T-8'",
        "requested_at = now() - interval '1 year'",
    ] {
        refused(
            &mut w.admin,
            &format!("UPDATE authz.privileged_access_session SET {change} WHERE session_id = '{session}'"),
            "55000",
            &["not overwritten"],
        );
    }
    refused(
        &mut w.admin,
        "DELETE FROM authz.privileged_access_session",
        "55000",
        &["ended_at"],
    );
    // Nor can the expiry be moved out, nor what has ended begin again.
    let mut ann = w.of("ann");
    approve(&mut ann, session);
    start(&mut sam, session);
    refused(
        &mut w.admin,
        "UPDATE authz.privileged_access_session SET expires_at = expires_at + interval '1 hour'",
        "55000",
        &["expires_at"],
    );
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    refused(
        &mut w.admin,
        "UPDATE authz.privileged_access_session SET ended_at = NULL",
        "55000",
        &["ended_at"],
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["ended"],
    );
}
