//! Second factors, and privileges that are apart (R6).

use authz_tests::casework::Casework;
use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::{execute, value};
use postgres::Client;

#[test]
fn r6_second_factors_and_separation_of_privileges() {
    let w = Casework::new();
    let mut c = w.owner();
    make::role(&mut c, "admin", &["role.assign", "member.manage"]);
    make::role(&mut c, "reader", &["case.view"]);
    for name in ["eve", "ann"] {
        make::assign(&mut c, id("acme"), id(name), "admin", "tenant", id("acme"));
    }
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.operator_profile SET mfa_enabled = false WHERE principal_id IN ('{eve}', '{ben}');
             INSERT INTO authz.account_security (principal_id, mfa_enabled) VALUES ('{cal}', true);
             UPDATE authz.operator_profile SET mfa_enabled = false WHERE principal_id = '{cal}'",
        ),
    );
    let told = |c: &mut Client, who: &str| -> (bool, Vec<String>, Vec<String>, Option<String>) {
        let row = c
            .query_one(
                "SELECT mfa_enrolled, mfa_permissions, administers, finding FROM authz.mfa_evidence WHERE principal_id = $1",
                &[&id(who)],
            )
            .unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3))
    };
    let strings = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (decides, administers) = (
        strings(&["decision.approve", "decision.reject"]),
        strings(&["member.manage", "role.assign"]),
    );
    assert_eq!(
        told(&mut c, "eve"),
        (
            false,
            vec![],
            administers.clone(),
            Some("administers without a second factor".into())
        )
    );
    assert_eq!(
        told(&mut c, "ben"),
        (
            false,
            decides.clone(),
            vec![],
            Some("cannot use what it holds: no second factor".into())
        )
    );
    assert_eq!(told(&mut c, "cal"), (true, decides, vec![], None));
    assert_eq!(told(&mut c, "ann"), (true, vec![], administers, None));
    assert_eq!(told(&mut c, "gus"), (false, vec![], vec![], None));
    // What is revoked is no evidence any more.
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{eve}'",
        ),
    );
    assert_eq!(told(&mut c, "eve"), (false, vec![], vec![], None));

    // Ann administers and, as investigator of a case, works. Separation is broken where it was held before.
    make::assign(&mut c, id("acme"), id("ben"), "reader", "tenant", id("acme"));
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('apart', '{case_approver,case_owner}');
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_by)
             VALUES ('{acme}', '{sue}', 'reader', 'tenant', '{acme}', '{sue}');
             INSERT INTO authz.sod_constraint (constraint_name, constraint_kind, role_codes) VALUES ('use', 'dynamic', '{reader,case_approver}');
             INSERT INTO authz.sod_use (constraint_id, principal_id, tenant_id, resource_type, resource_id, role_codes)
             SELECT constraint_id, '{ben}', '{acme}', 'case', '{one}', '{reader}' FROM authz.sod_constraint WHERE constraint_name = 'use'"
                .replace("'{case_approver,case_owner}'", "ARRAY['case_approver','case_owner']")
                .replace("'{reader,case_approver}'", "ARRAY['reader','case_approver']")
                .replace("'{reader}'", "ARRAY['reader']")
                .as_str(),
        ),
    );
    let found: Vec<String> = value(
        &mut c,
        "SELECT array_agg(line ORDER BY line COLLATE \"C\") FROM (
             SELECT concat_ws(' ', p.display_name, e.kind, CASE WHEN e.kind LIKE '%constraint' THEN e.subject END,
                              array_to_string(e.held, ','), e.breached) AS line
             FROM authz.privilege_separation_evidence AS e JOIN authz.principal AS p USING (principal_id)) AS x",
        &[],
    );
    let one = id("one");
    let expected = [
        "ann administers and works case.edit,decision.create,decision.edit,decision.submit,decision.withdraw,document.create,document.download,document.edit,sensitive_detail.create,sensitive_detail.edit,sensitive_detail.reveal t".to_owned(),
        format!("ben dynamic constraint use: case {one} reader f"),
        "ben static constraint apart case_approver f".to_owned(),
        "cal static constraint apart case_approver f".to_owned(),
        "sue granted to oneself reader t".to_owned(),
    ];
    assert_eq!(found, expected);
}
