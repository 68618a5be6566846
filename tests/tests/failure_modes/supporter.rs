//! Support sees what it must not, or approves itself (R62, PITFALLS 40).

use crate::{Listener, everything, keeps, support};
use authz_tests::casework::ROLES;
use authz_tests::make::id;
use authz_tests::matrix::{FOREIGN_SECRETS, Matrix, SECRETS, seen, told};
use authz_tests::office::with_ids;
use authz_tests::{execute, refused, value};
use uuid::Uuid;

#[test]
fn r62_support_sees_nothing_sensitive_by_any_role_or_trick() {
    let m = Matrix::new();
    let look = "SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail";
    assert_eq!(told(&mut m.of("ann"), look), SECRETS.join(" "), "the secrets are there");
    support(&m, false);
    let secrets = [SECRETS.as_slice(), &FOREIGN_SECRETS, &["s3://"]].concat();
    for role in ROLES {
        let mut sam = Listener::new(&m, role, "sam");
        for sql in everything(&m, role) {
            keeps(&format!("{role}: {sql}"), &sam.hears(&sql), &secrets);
        }
    }
    let attacks = [
        // Conditions, orders, groups and functions over what is masked.
        "SELECT count(*), max(complainant_name), min(complainant_identifier) FROM casework_views.sensitive_detail",
        "SELECT * FROM casework_views.sensitive_detail WHERE complainant_identifier > 'ID-4'",
        "SELECT row_to_json(v) FROM casework_views.sensitive_detail AS v",
        "SELECT string_agg(v::text, ' ') FROM casework_views.sensitive_detail AS v",
        "CREATE FUNCTION pg_temp.shout(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$;
         SELECT count(*) FROM casework_views.sensitive_detail WHERE pg_temp.shout(complainant_name) AND pg_temp.shout(complainant_identifier) AND pg_temp.shout(restricted_notes)",
        "SELECT count(*) FROM casework_views.sensitive_detail WHERE complainant_identifier::int > 0",
        "SELECT complainant_name::int FROM casework_views.sensitive_detail",
        "CREATE TEMP VIEW mine AS SELECT * FROM casework_views.sensitive_detail; SELECT * FROM mine",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM casework_views.sensitive_detail WHERE complainant_name = 'x'",
        "COPY (SELECT * FROM casework_views.sensitive_detail) TO STDOUT",
        "BEGIN; DECLARE x CURSOR WITH HOLD FOR SELECT * FROM casework_views.sensitive_detail; COMMIT; FETCH ALL FROM x",
        "SELECT pg_catalog.pg_get_viewdef('casework_views.sensitive_detail'::regclass); SET ROLE NONE; TABLE casework_views.sensitive_detail",
        // The table below.
        "SELECT * FROM casework.case_sensitive_detail",
        "SELECT complainant_name FROM casework.case_sensitive_detail",
        "SELECT d FROM casework.case_sensitive_detail AS d",
        "SELECT count(*) FROM casework.case_sensitive_detail WHERE complainant_name LIKE 'W%'",
        "UPDATE casework.case_sensitive_detail SET restricted_notes = restricted_notes RETURNING *",
        "UPDATE casework.case_sensitive_detail SET restricted_notes = complainant_name RETURNING case_id",
        "INSERT INTO casework.case_sensitive_detail (tenant_id, case_id) VALUES ('{acme}', '{one}') ON CONFLICT (tenant_id, case_id) DO UPDATE SET restricted_notes = case_sensitive_detail.complainant_name RETURNING *",
        "INSERT INTO casework.case_record (tenant_id, case_number, title) SELECT tenant_id, complainant_name, restricted_notes FROM casework.case_sensitive_detail",
        "SELECT * FROM pg_catalog.pg_stats WHERE tablename = 'case_sensitive_detail'",
        // Functions.
        "SELECT authz_reveal('casework.case_sensitive_detail', '{one}'::uuid, 'complainant_identifier', 'why')",
        "SELECT download_case_document('{acme}', '{letter}')",
        "SELECT download_case_document('{acme}', '{evidence}')",
        "SELECT authz_explain(authz_principal(), 'sensitive_detail.view_pii', '{one}'::uuid)",
        // More than was approved.
        "UPDATE authz.privileged_access_session SET includes_sensitive = true",
        "SELECT authz_break_glass('need it', '{acme}', includes_sensitive => true)",
        "SELECT authz_assign_role('{sam}', 'case_investigator', '{acme}', reason => 'me')",
        "SELECT assign_case('{acme}', '{one}', '{sam}', '{sam}', 'me', 'investigator')",
        "SELECT authz_set_session('{ann}', is_local => true); SELECT * FROM casework_views.sensitive_detail",
    ];
    for role in ["support_tool", "readonly", "break_glass", "analytics_export"] {
        let mut sam = Listener::new(&m, role, "sam");
        for attack in attacks {
            keeps(&format!("{role}: {attack}"), &sam.hears(&with_ids(attack)), &secrets);
            execute(&mut sam.client, "DISCARD TEMP; CLOSE ALL");
        }
    }
    // Through the application it is the same, but that whoever is trusted to set sessions can be anybody.
    let mut sam = Listener::new(&m, "runtime", "sam");
    for attack in attacks.iter().filter(|a| !a.contains("authz_set_session")) {
        keeps(&format!("runtime: {attack}"), &sam.hears(&with_ids(attack)), &secrets);
        execute(&mut sam.client, "DISCARD TEMP; CLOSE ALL");
    }
    let left: String = value(
        &mut m.owner(),
        "SELECT restricted_notes FROM casework.case_sensitive_detail WHERE case_id = $1",
        &[&id("one")],
    );
    assert_eq!(left, SECRETS[2], "nor was anything changed");
}

/// PITFALLS 40: sensitive data asked for and approved opens sealed cases to the eye; it gives no class that masks hide.
#[test]
fn r62_support_is_not_its_own_approver_and_masks_outlast_an_approval() {
    let m = Matrix::new();
    let mut sam = m.with_role("support_tool", "sam");
    let mine: Uuid = value(
        &mut sam,
        "SELECT authz_request_access('ticket 7', tenant => $1, includes_sensitive => true)",
        &[&id("acme")],
    );
    for who in ["sam", "ann", "tad"] {
        refused(
            &mut m.of(who),
            &format!("SELECT authz_approve_access('{mine}')"),
            "42501",
            &[],
        );
    }
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{mine}')"),
        "55000",
        &[],
    );
    support(&m, true);
    assert_eq!(seen(&mut sam, "case_record", "vault"), 1, "sealed, but approved");
    let look = "SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail";
    keeps("approved", &told(&mut sam, look), &SECRETS);
    refused(
        &mut m.with_role("runtime", "sam"),
        &with_ids("SELECT authz_reveal('casework.case_sensitive_detail', '{one}'::uuid, 'complainant_name', 'why')"),
        "42501",
        &[],
    );
}
