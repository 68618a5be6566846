//! Denials, privileged sessions and work, and that what they tell outlives revocation (R53, R55).

use crate::{rows, world};
use authz_tests::casework::act;
use authz_tests::make::id;
use authz_tests::office::with_ids;
use authz_tests::session::act_with;
use authz_tests::{execute, refused, value};

#[test]
fn denials_privileged_sessions_and_work() {
    let w = world();
    let mut c = w.owner();
    for (view, brute) in [
        (
            "SELECT audit_id, policy_reason FROM authz.denied_attempt",
            "SELECT audit_id, policy_reason FROM authz.access_audit_event WHERE access_result = 'denied'",
        ),
        (
            "SELECT session_id, state FROM authz.privileged_session_evidence",
            "SELECT session_id, CASE session_kind WHEN 'support' THEN 'requested' ELSE 'running' END AS state FROM authz.privileged_access_session",
        ),
        (
            "SELECT tenant_id, principal_id, open_items FROM authz.workload WHERE open_items > 0",
            "SELECT tenant_id, principal_id, count(*) AS open_items FROM authz.work_assignment WHERE released_at IS NULL GROUP BY 1, 2",
        ),
    ] {
        let found = rows(&mut c, view);
        assert_eq!(found, rows(&mut c, brute), "{view}");
        assert!(found.len() >= 2, "{view}");
    }
    // Use of a privileged session is counted, and what an auditor asks about is named.
    let mut eve = w.of("eve");
    for case in ["one", "other"] {
        assert!(value::<bool>(
            &mut eve,
            "SELECT authz_check(authz_principal(), 'case.view', $1::uuid)",
            &[&id(case)]
        ));
    }
    let told = "SELECT concat_ws(' ', state, allowed, denied, finding) FROM authz.privileged_session_evidence WHERE principal_id = $1";
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "running 2 0");
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.privileged_access_session SET ended_at = clock_timestamp() WHERE principal_id = '{eve}'",
        ),
    );
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "ended 2 0 not reviewed");
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.privileged_access_session SET reviewed_at = clock_timestamp(), reviewed_by = '{ada}' WHERE principal_id = '{eve}';
             UPDATE authz.privileged_access_session SET started_at = now(), expires_at = now() + interval '1 hour' WHERE principal_id = '{ada}'",
        ),
    );
    assert_eq!(value::<String>(&mut c, told, &[&id("eve")]), "ended 2 0");
    assert_eq!(
        value::<String>(&mut c, told, &[&id("ada")]),
        "running 0 0 used without approval"
    );
    // Open work of somebody whose membership has ended is told.
    execute(
        &mut c,
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{alf}'"),
    );
    let open: i64 = value(
        &mut c,
        "SELECT open_items FROM authz.workload WHERE principal_id = $1",
        &[&id("alf")],
    );
    assert_eq!(open, 1);
    execute(
        &mut c,
        "UPDATE authz.work_assignment SET released_at = clock_timestamp()",
    );
    let done: i64 = value(&mut c, "SELECT sum(released_30_days)::bigint FROM authz.workload", &[]);
    assert_eq!(done, 1, "and not any more once it is released: only gwen's");
}

/// What was refused is told to the auditor of the tenant although its transaction was rolled back (R53), and the actor
/// is named after his access was revoked (R60).
#[test]
fn evidence_outlives_revocation() {
    let w = world();
    let mut ann = w.of("ann");
    let d = w.submitted();
    execute(
        &mut w.owner(),
        &with_ids("UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}'"),
    );
    refused(&mut ann, &act("withdraw", d, "ann"), "42501", &[]);
    let mut app = w.db.connect_as(&w.app);
    act_with(&mut app, "ada", None, "{}");
    let told: i64 = value(
        &mut app,
        "SELECT count(*) FROM authz.access_while_held WHERE principal_id = $1 AND action_code = 'decision.submit'",
        &[&id("ann")],
    );
    assert_eq!(told, 1);
}
