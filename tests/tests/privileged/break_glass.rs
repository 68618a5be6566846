//! Break-glass: at once, loud, short and reviewed (R31).

use crate::{approve, call, request, sees, start, world};
use authz_tests::make::{self, id};
use authz_tests::{execute, recorded, refused, refused_with_hint, report, value};
use postgres::fallible_iterator::FallibleIterator;
use std::time::Duration;
use uuid::Uuid;

#[test]
fn r31_break_glass_is_at_once_loud_short_and_reviewed() {
    let mut w = world();
    let mut ear = w.db.connect_as(&w.app);
    execute(&mut ear, "LISTEN authz_break_glass; LISTEN authz_broad_access");
    let (mut bea, mut ann, mut rita) = (w.of("bea"), w.of("ann"), w.of("rita"));
    assert!(!sees(&mut bea, "affair"));
    let session = call(
        &mut bea,
        &format!(
            "authz_break_glass(E'ward 3 is\non fire', '{}', ticket => 'INC-1', includes_sensitive => true)",
            id("acme")
        ),
    );
    assert!(sees(&mut bea, "affair"));
    let may: bool = value(&mut bea, "SELECT authz_can('case.edit', $1::uuid)", &[&id("affair")]);
    assert!(may, "it gives everything, but");
    assert!(!sees(&mut bea, "deal"), "in its tenant only, and");
    assert!(!sees(&mut bea, "secret"), "nothing sensitive without an approval");
    let heard: Vec<(String, String)> = ear
        .notifications()
        .timeout_iter(Duration::from_secs(60))
        .take(1)
        .map(|n| Ok((n.channel().to_owned(), n.payload().to_owned())))
        .collect()
        .unwrap();
    assert_eq!(heard, [("authz_break_glass".to_owned(), session.to_string())]);
    assert_eq!(w.events("break_glass.start", "bea", "allowed"), 1);
    refused_with_hint(
        &mut bea,
        &format!("SELECT authz_break_glass('more', '{}')", id("acme")),
        "55000",
        &["already"],
    );
    // An explicit deny still wins.
    make::rule(
        &mut w.admin,
        id("acme"),
        "deny",
        1,
        ("case", Some(id("affair"))),
        ("any", None),
        None,
    );
    assert!(!sees(&mut bea, "affair"));
    // Somebody else may open the sensitive part while it runs.
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    approve(&mut ann, session);
    assert!(sees(&mut bea, "secret"));
    let row = w
        .admin
        .query_one(
            "SELECT session_id, state, approved_by FROM authz.privileged_session_awaiting_review",
            &[],
        )
        .unwrap();
    assert_eq!(
        (row.get(0), row.get(1), row.get(2)),
        (session, "running", Some(id("ann")))
    );
    call(
        &mut ann,
        &format!("authz_end_privileged_session('{session}', 'enough')"),
    );
    assert!(!sees(&mut bea, "secret"), "who may approve may end");
    call(&mut rita, &format!("authz_review_access('{session}', 'justified')"));
    refused(
        &mut ann,
        &format!("SELECT authz_approve_access('{session}')"),
        "55000",
        &["cannot be approved"],
    );
}

#[test]
fn access_to_the_whole_platform_is_announced_as_well() {
    let w = world();
    let mut ear = w.db.connect_as(&w.app);
    execute(&mut ear, "LISTEN authz_broad_access");
    let mut admin = w.db.connect();
    make::principal(&mut admin, "root");
    make::assign_platform(&mut admin, id("root"), "approver");
    let (mut sam, mut root) = (w.of("sam"), w.of("root"));
    let session = call(&mut sam, "authz_request_access('everything')");
    let mut ann = w.of("ann");
    refused(
        &mut ann,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    approve(&mut root, session);
    start(&mut sam, session);
    assert!(sees(&mut sam, "affair") && sees(&mut sam, "deal"));
    let heard = ear
        .notifications()
        .timeout_iter(Duration::from_secs(60))
        .next()
        .unwrap();
    assert_eq!(heard.map(|n| n.payload().to_owned()), Some(session.to_string()));
}

#[test]
fn break_glass_gives_no_say_over_the_sessions_of_others_and_none_after_its_end() {
    let mut w = world();
    let (mut sam, mut bea) = (w.of("sam"), w.of("bea"));
    let session = request(&mut sam, "");
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    // Not even with the permission of one's own, while it lasts.
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    make::assign(&mut w.admin, id("acme"), id("bea"), "approver", "tenant", id("acme"));
    refused(
        &mut bea,
        &format!("SELECT authz_approve_access('{session}')"),
        "42501",
        &["permission denied"],
    );
    call(&mut bea, &format!("authz_end_privileged_session('{broken}')"));
    approve(&mut bea, session);
    // Who breaks glass once more needs the permission once more.
    execute(
        &mut w.admin,
        &format!(
            "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{}'",
            id("bea")
        ),
    );
    refused(
        &mut bea,
        &format!("SELECT authz_break_glass('fire', '{}')", id("acme")),
        "42501",
        &["permission denied"],
    );
}

/// What evidence names of several sessions: break-glass, whatever the caller's context says; then what the context says.
/// An event without a tenant carries any that is in force, one of a tenant only what covers it.
#[test]
fn events_carry_break_glass_before_what_the_context_names() {
    let mut w = world();
    let mut bea = w.of("bea");
    for (session, minutes) in [("mild", 3), ("milder", 2)] {
        execute(
            &mut w.admin,
            &format!(
                "INSERT INTO authz.privileged_access_session
                     (session_id, session_kind, principal_id, tenant_id, access_reason, requested_at, approved_by, approved_at,
                      started_at, expires_at)
                 SELECT '{}', 'support', '{}', '{}', 'x', t, '{}', t, t, t + interval '1 hour'
                   FROM (SELECT now() - interval '{minutes} minutes') AS a (t)",
                id(session),
                id("bea"),
                id("acme"),
                id("ann")
            ),
        );
    }
    let mut carried = |context: &str, tenant: &str| -> Vec<Option<Uuid>> {
        execute(
            &mut w.admin,
            &format!(
                "SELECT authz_set_session('{}', context => '{context}', is_local => false)",
                id("bea")
            ),
        );
        let tenant = if tenant.is_empty() {
            "NULL".to_owned()
        } else {
            format!("'{}'", id(tenant))
        };
        w.admin
            .query(
                &format!(
                    "WITH made AS MATERIALIZED (SELECT authz.record_access('x.do', 'x', '1', {tenant}, 'allowed') AS one,
                                                       authz_check('{}', 'case.view', '{}'::uuid) AS two)
                     SELECT 1 FROM made WHERE one IS NOT NULL AND two",
                    id("bea"),
                    id("affair")
                ),
                &[],
            )
            .unwrap_or_else(|e| panic!("{}", report(&e)));
        w.admin
            .query(
                "SELECT support_session_id FROM authz.access_audit_event
                  WHERE action_code IN ('x.do', 'case.view') ORDER BY occurred_at DESC LIMIT 2",
                &[],
            )
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let named = |session: Uuid| format!("{{\"session_id\": \"{session}\"}}");
    for which in ["mild", "milder"] {
        assert_eq!(carried(&named(id(which)), "acme"), [Some(id(which)); 2], "{which}");
        assert_eq!(
            carried(&named(id(which)), ""),
            [Some(id(which)); 2],
            "{which}, without a tenant"
        );
    }
    assert_eq!(
        carried(&named(id("mild")), "globex"),
        [Some(id("mild")), None],
        "another tenant's"
    );
    let broken = call(&mut bea, &format!("authz_break_glass('fire', '{}')", id("acme")));
    assert_eq!(
        carried(&named(id("mild")), "acme"),
        [Some(broken); 2],
        "nothing hides it"
    );
}

#[test]
fn r31_break_glass_that_is_rolled_back_is_on_record_all_the_same() {
    let w = world();
    let mut bea = w.of("bea");
    let before = recorded(&mut bea);
    execute(&mut bea, "BEGIN");
    call(
        &mut bea,
        &format!("authz_break_glass('look and forget', '{}')", id("acme")),
    );
    assert!(sees(&mut bea, "affair"), "within the transaction it is in force");
    execute(&mut bea, "ROLLBACK");
    assert!(!sees(&mut bea, "affair"));
    assert_eq!(recorded(&mut bea), before + 1, "the event outlives the transaction");
    execute(&mut bea, "BEGIN; SAVEPOINT a");
    call(
        &mut bea,
        &format!("authz_break_glass('look and forget', '{}')", id("acme")),
    );
    execute(&mut bea, "ROLLBACK TO a");
    assert!(!sees(&mut bea, "affair"));
    execute(&mut bea, "COMMIT");
    assert_eq!(recorded(&mut bea), before + 2);
}

#[test]
fn break_glass_in_one_tenant_of_two_memberships_and_by_case_reaches_nothing_else() {
    let mut w = world();
    make::join(&mut w.admin, id("globex"), id("bea"));
    make::assign(&mut w.admin, id("globex"), id("bea"), "breaker", "tenant", id("globex"));
    let mut bea = w.of("bea");
    let session = call(
        &mut bea,
        &format!(
            "authz_break_glass('this case', '{}', 'case', '{}')",
            id("acme"),
            id("affair")
        ),
    );
    assert!(sees(&mut bea, "affair"));
    make::case(&mut w.admin, id("acme"), "another");
    assert!(!sees(&mut bea, "another") && !sees(&mut bea, "deal"));
    call(&mut bea, &format!("authz_end_privileged_session('{session}')"));
    // A case of another tenant, and one that is not there, under the name of this one.
    for case in ["deal", "nowhere"] {
        refused(
            &mut bea,
            &format!(
                "SELECT authz_break_glass('that case', '{}', 'case', '{}')",
                id("acme"),
                id(case)
            ),
            "42501",
            &["permission denied"],
        );
    }
}
