//! What support goes through, from the request to the review (R31).

use crate::{World, approve, call, request, sees, start, world};
use authz_tests::make::id;
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

#[test]
fn r31_support_is_requested_approved_started_used_ended_and_reviewed() {
    let mut w = world();
    let (mut sam, mut ann, mut rita) = (w.of("sam"), w.of("ann"), w.of("rita"));
    let session = request(&mut sam, ", ticket => 'T-7'");
    assert!(!sees(&mut sam, "affair"), "asked for is not given");
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["requested"],
    );
    assert_eq!(approve(&mut ann, session), session);
    assert!(!sees(&mut sam, "affair"), "approved is not started");
    assert_eq!(start(&mut sam, session), session);
    assert!(sees(&mut sam, "affair"));
    assert!(!sees(&mut sam, "deal"), "the session is acme's");
    assert!(!sees(&mut sam, "secret"), "it includes nothing sensitive");
    let edit: bool = value(&mut sam, "SELECT authz_can('case.edit', $1::uuid)", &[&id("affair")]);
    assert!(!edit, "support reads");
    refused(
        &mut rita,
        &format!("SELECT authz_review_access('{session}', 'too early')"),
        "55000",
        &["running"],
    );
    assert_eq!(
        call(&mut sam, &format!("authz_end_privileged_session('{session}', 'done')")),
        session
    );
    assert!(!sees(&mut sam, "affair"), "ended is over at once");
    let waiting: Vec<Uuid> = w
        .admin
        .query("SELECT session_id FROM authz.privileged_session_awaiting_review", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(waiting, [session]);
    call(&mut rita, &format!("authz_review_access('{session}', 'in order')"));
    let waiting: i64 = value(
        &mut w.admin,
        "SELECT count(*) FROM authz.privileged_session_awaiting_review",
        &[],
    );
    assert_eq!(waiting, 0);
    refused(
        &mut rita,
        &format!("SELECT authz_review_access('{session}', 'again')"),
        "55000",
        &["reviewed"],
    );
    for (column, expected) in [
        ("approved_by", id("ann").to_string()),
        ("ended_by", id("sam").to_string()),
        ("end_reason", "done".into()),
        ("reviewed_by", id("rita").to_string()),
        ("review_note", "in order".into()),
        ("ticket_reference", "T-7".into()),
    ] {
        assert_eq!(w.session(session, column), Some(expected), "{column}");
    }
    for (action, who) in [
        ("access.request", "sam"),
        ("access.approve", "ann"),
        ("access.start", "sam"),
        ("access.end", "sam"),
        ("access.review", "rita"),
    ] {
        assert_eq!(w.events(action, who, "allowed"), 1, "{action}");
    }
}

#[test]
fn a_session_is_started_by_whom_it_is_for_while_it_may_ask_and_within_the_window() {
    let mut w = world();
    let (mut sam, mut sue, mut ann) = (w.of("sam"), w.of("sue"), w.of("ann"));
    let session = request(&mut sam, "");
    approve(&mut ann, session);
    refused(
        &mut sue,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    refused(
        &mut ann,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    // Approved too long ago.
    execute(
        &mut w.admin,
        &format!(
            "INSERT INTO authz.privileged_access_session
                 (session_id, session_kind, principal_id, tenant_id, access_reason, requested_at, approved_by, approved_at)
             VALUES ('{}', 'support', '{}', '{}', 'late', now() - interval '3 days', '{}', now() - interval '25 hours')",
            id("late"),
            id("sam"),
            id("acme"),
            id("ann")
        ),
    );
    refused_with_hint(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{}')", id("late")),
        "55000",
        &["any more"],
    );
    // The tenant may want it shorter.
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"start_window": "1 microsecond"}}'"#,
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &["any more"],
    );
    execute(
        &mut w.admin,
        r#"UPDATE authz.tenant SET settings = '{"privileged_access": {"start_window": "soon"}}'"#,
    );
    refused_with_hint(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "22023",
        &["interval"],
    );
    execute(&mut w.admin, "UPDATE authz.tenant SET settings = '{}'");
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("sam")
        ),
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "42501",
        &["permission denied"],
    );
    assert_eq!(w.session(session, "started_at"), None);
}

#[test]
fn a_rejected_or_withdrawn_request_never_starts() {
    let w = world();
    let (mut sam, mut ann) = (w.of("sam"), w.of("ann"));
    let rejected = request(&mut sam, "");
    refused(
        &mut ann,
        &format!("SELECT authz_reject_access('{rejected}', ' ')"),
        "22023",
        &["reason"],
    );
    call(&mut ann, &format!("authz_reject_access('{rejected}', 'not needed')"));
    let withdrawn = request(&mut sam, "");
    call(&mut sam, &format!("authz_end_privileged_session('{withdrawn}')"));
    for (session, state) in [(rejected, "rejected"), (withdrawn, "withdrawn")] {
        refused(
            &mut ann,
            &format!("SELECT authz_approve_access('{session}')"),
            "55000",
            &[state],
        );
        refused(
            &mut sam,
            &format!("SELECT authz_start_privileged_session('{session}')"),
            "55000",
            &[state],
        );
        refused(
            &mut sam,
            &format!("SELECT authz_end_privileged_session('{session}')"),
            "55000",
            &[state],
        );
    }
}

#[test]
fn r31_support_is_masked_unless_approved_for_sensitive_data_and_events_carry_the_session() {
    let mut w = world();
    let (mut sam, mut ann, mut bea, mut mia) = (w.of("sam"), w.of("ann"), w.of("bea"), w.of("mia"));
    // What a masked view would ask; views need no privilege on the schema.
    execute(
        &mut w.admin,
        "CREATE VIEW public.mask AS SELECT authz.session_is_masked() AS masked; GRANT SELECT ON public.mask TO PUBLIC",
    );
    let masked = |c: &mut Client| -> bool { value(c, "SELECT masked FROM public.mask", &[]) };
    assert!(!masked(&mut sam) && !masked(&mut mia));
    let session = request(&mut sam, "");
    approve(&mut ann, session);
    assert!(!masked(&mut sam));
    start(&mut sam, session);
    assert!(masked(&mut sam) && !masked(&mut mia));
    let of = |w: &mut World, who: &str, tenant: &str| -> Option<Uuid> {
        value(
            &mut w.admin,
            "SELECT authz.active_privileged_session($1, $2)",
            &[&id(who), &id(tenant)],
        )
    };
    assert_eq!(of(&mut w, "sam", "acme"), Some(session));
    assert_eq!(of(&mut w, "sam", "globex"), None);
    assert_eq!(of(&mut w, "mia", "acme"), None);
    let carried = |w: &mut World, who: &str| -> Option<Uuid> {
        value(
            &mut w.admin,
            "SELECT support_session_id FROM authz.access_audit_event
              WHERE principal_id = $1 AND action_code = 'case.view' ORDER BY occurred_at DESC LIMIT 1",
            &[&id(who)],
        )
    };
    let checked: bool = value(
        &mut w.admin,
        "SELECT authz_check($1::uuid, 'case.view', $2::uuid)",
        &[&id("sam"), &id("affair")],
    );
    assert!(checked);
    assert_eq!(carried(&mut w, "sam"), Some(session));
    call(&mut sam, &format!("authz_end_privileged_session('{session}')"));
    assert!(!masked(&mut sam));
    // Approved by somebody else for sensitive data: not masked. Beside one that is not: masked.
    let session = request(&mut sam, ", includes_sensitive => true");
    approve(&mut ann, session);
    start(&mut sam, session);
    assert!(!masked(&mut sam) && sees(&mut sam, "secret"));
    let other = request(&mut sam, "");
    approve(&mut ann, other);
    start(&mut sam, other);
    assert!(masked(&mut sam));
    // A tenant's session is not masked by another tenant's.
    execute(
        &mut sam,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("sam"),
            id("globex")
        ),
    );
    assert!(!masked(&mut sam));
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    assert!(!masked(&mut bea), "break-glass is no support");
    let explained: Value = value(
        &mut w.admin,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid) -> 'binding'",
        &[&id("bea"), &id("affair")],
    );
    assert_eq!(explained["id"], broken.to_string(), "{explained:#}");
}
