//! The policy matrix (R60): twelve scenarios, each a test, on the reference domain as it comes, through the database roles
//! of `authz_install_roles` and never as superuser (PITFALLS 33).

use authz_tests::make::id;
use authz_tests::matrix::{Matrix, SECRETS, seen, told};
use authz_tests::office::with_ids;
use authz_tests::{execute, refused, value};
use postgres::Client;
use uuid::Uuid;

const DENIED: &str = "42501";

/// Fails for who may not, in words that do not depend on whether there is anything.
fn require(permission: &str, key: Uuid) -> String {
    format!("SELECT authz_require('{permission}', '{key}'::uuid)")
}

/// Access events in acme, as its auditor sees them (through the runtime role).
fn events(m: &Matrix, actor: &str, action: &str, result: &str) -> i64 {
    value(
        &mut m.of("ada"),
        "SELECT count(*) FROM authz.access_trail WHERE principal_id = $1 AND action_code = $2 AND access_result = $3",
        &[&id(actor), &action, &result],
    )
}

/// Sam's session for acme: asked for, approved by Rob, begun.
fn support(m: &Matrix) -> Uuid {
    let mut sam = m.with_role("support_tool", "sam");
    let session: Uuid = value(
        &mut sam,
        "SELECT authz_request_access('ticket 7', tenant => $1, ticket => 'T-7', duration => interval '30 minutes')",
        &[&id("acme")],
    );
    refused(
        &mut sam,
        &format!("SELECT authz_start_privileged_session('{session}')"),
        "55000",
        &[],
    );
    execute(
        &mut m.of("rob"),
        &format!("SELECT authz_approve_access('{session}', 'fine')"),
    );
    execute(&mut sam, &format!("SELECT authz_start_privileged_session('{session}')"));
    session
}

#[test]
fn r60_01_tenant_a_reads_a_allowed() {
    let m = Matrix::new();
    let mut ann = m.of("ann");
    assert_eq!(told(&mut ann, "SELECT case_number FROM casework.case_record"), "one");
    execute(&mut ann, &require("case.view", id("one")));
    assert_eq!(events(&m, "ann", "case.view", "allowed"), 1);
}

#[test]
fn r60_02_tenant_a_reads_b_not_found() {
    let m = Matrix::new();
    for who in ["ann", "tad"] {
        let mut c = m.of(who);
        for table in ["case_record", "case_document", "case_sensitive_detail"] {
            assert_eq!(seen(&mut c, table, "other"), 0, "{who} {table}");
        }
        // The same words as for what is not there.
        let absent = refused(&mut c, &require("case.view", Uuid::from_u128(1)), DENIED, &[]);
        assert_eq!(refused(&mut c, &require("case.view", id("other")), DENIED, &[]), absent);
    }
    // And the other way round.
    assert_eq!(
        told(&mut m.of("gil"), "SELECT case_number FROM casework.case_record"),
        "other"
    );
}

#[test]
fn r60_03_tenant_admin_and_a_restricted_case_outside_the_team_by_explicit_policy() {
    let m = Matrix::new();
    let (mut tad, mut owner) = (m.of("tad"), m.owner());
    let why = "SELECT concat_ws(' ', e ->> 'decision', e ->> 'reason')
               FROM authz_explain($1::uuid, 'case.view', $2::uuid, NULL::uuid, NULL::jsonb, NULL::timestamptz) AS e";
    // To administer the tenant does not open what a team keeps to itself ...
    assert_eq!(seen(&mut tad, "case_record", "inside"), 0);
    refused(&mut tad, &require("case.view", id("inside")), DENIED, &[]);
    assert_eq!(
        value::<String>(&mut owner, why, &[&id("tad"), &id("inside")]),
        "deny confidentiality"
    );
    assert_eq!(seen(&mut m.of("pia"), "case_record", "inside"), 1, "who is in the team");
    // ... unless policy says so, in one row.
    execute(
        &mut owner,
        "INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('tenant_admin', 'case.view_restricted')",
    );
    assert_eq!(seen(&mut tad, "case_record", "inside"), 1);
    execute(&mut tad, &require("case.view", id("inside")));
    assert!(value::<String>(&mut owner, why, &[&id("tad"), &id("inside")]).starts_with("allow"));
    assert_eq!(seen(&mut tad, "case_record", "vault"), 0, "sealed is another matter");
    // And a deny takes it back.
    execute(
        &mut owner,
        &with_ids(
            "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id)
             VALUES ('{acme}', 'case', '{inside}', 'deny', 'principal', '{tad}')",
        ),
    );
    assert_eq!(seen(&mut tad, "case_record", "inside"), 0);
    assert_eq!(
        value::<String>(&mut owner, why, &[&id("tad"), &id("inside")]),
        "deny explicit_deny"
    );
}

#[test]
fn r60_04_investigator_reads_the_assigned_case_allowed() {
    let m = Matrix::new();
    let mut ann = m.of("ann");
    assert_eq!(seen(&mut ann, "case_record", "one"), 1);
    assert_eq!(
        told(
            &mut ann,
            "SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail"
        ),
        SECRETS.join(" ")
    );
    assert_eq!(
        told(
            &mut ann,
            &with_ids("SELECT download_case_document('{acme}', '{letter}')")
        ),
        "s3://letter"
    );
    assert_eq!(events(&m, "ann", "document.download", "allowed"), 1);
    // With the end of the assignment all of it is over.
    execute(
        &mut m.of("dora"),
        &with_ids("SELECT unassign_case('{acme}', '{one}', '{ann}', '{dora}', 'moved')"),
    );
    for table in ["case_record", "case_document", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table, "one"), 0, "{table}");
    }
}

#[test]
fn r60_05_unassigned_sealed_evidence_denied() {
    let m = Matrix::new();
    // Sealed evidence in a case that she works on; a sealed case that she does not; the same for who has no case at all.
    for (who, document) in [
        ("ann", "evidence"),
        ("ann", "proof"),
        ("eve", "evidence"),
        ("tad", "evidence"),
        ("tad", "proof"),
    ] {
        let mut c = m.of(who);
        let found: i64 = value(
            &mut c,
            "SELECT count(tenant_id) FROM casework.case_document WHERE document_id = $1",
            &[&id(document)],
        );
        assert_eq!(found, 0, "{who} {document}");
        let download = |key: Uuid| format!("SELECT download_case_document('{}', '{key}')", id("acme"));
        let absent = refused(&mut c, &download(Uuid::from_u128(1)), DENIED, &[]);
        assert_eq!(
            refused(&mut c, &download(id(document)), DENIED, &[]),
            absent,
            "{who} {document}"
        );
    }
    // A case that is sealed under her hands.
    let mut ann = m.of("ann");
    execute(&mut ann, "BEGIN");
    assert_eq!(seen(&mut ann, "case_record", "one"), 1);
    execute(
        &mut m.of("dora"),
        &with_ids("SELECT seal_case('{acme}', '{one}', '{dora}', 'court order')"),
    );
    for table in ["case_record", "case_document", "case_sensitive_detail"] {
        assert_eq!(seen(&mut ann, table, "one"), 0, "{table}");
    }
}

#[test]
fn r60_06_support_without_a_session_denied() {
    let m = Matrix::new();
    for role in ["support_tool", "runtime"] {
        let mut sam = m.with_role(role, "sam");
        for table in ["case_record", "case_document"] {
            assert_eq!(seen(&mut sam, table, "one"), 0, "{role} {table}");
        }
        refused(&mut sam, &require("case.view", id("one")), DENIED, &[]);
    }
    // Asked for and approved is not begun; nor does anybody else's session help.
    let mut sam = m.with_role("support_tool", "sam");
    let session: Uuid = value(
        &mut sam,
        "SELECT authz_request_access('ticket 7', tenant => $1)",
        &[&id("acme")],
    );
    assert_eq!(seen(&mut sam, "case_record", "one"), 0);
    execute(&mut m.of("rob"), &format!("SELECT authz_approve_access('{session}')"));
    assert_eq!(seen(&mut sam, "case_record", "one"), 0);
    execute(&mut sam, &format!("SELECT authz_start_privileged_session('{session}')"));
    assert_eq!(seen(&mut m.of("eve"), "case_record", "one"), 0);
}

#[test]
fn r60_07_support_with_a_session_metadata_allowed_and_audited() {
    let m = Matrix::new();
    let session = support(&m);
    let mut sam = m.with_role("support_tool", "sam");
    assert_eq!(
        told(&mut sam, "SELECT case_number, status FROM casework.case_record"),
        "one open"
    );
    execute(&mut sam, &require("case.view", id("one")));
    let audited: i64 = value(
        &mut m.of("ada"),
        "SELECT allowed FROM authz.privileged_session_evidence WHERE session_id = $1",
        &[&session],
    );
    assert!(audited > 0);
    // What people wrote is not for this role, whatever the session; and the session is for acme alone.
    for statement in [
        "SELECT title FROM casework.case_record",
        "SELECT * FROM casework.case_sensitive_detail",
    ] {
        refused(&mut sam, statement, DENIED, &[]);
    }
    assert_eq!(seen(&mut sam, "case_record", "other"), 0);
    for case in ["inside", "vault"] {
        assert_eq!(seen(&mut sam, "case_record", case), 0, "{case}: without sensitive data");
    }
    // It reads, and does nothing else.
    refused(
        &mut m.with_role("runtime", "sam"),
        &with_ids("SELECT seal_case('{acme}', '{one}', '{sam}', 'why')"),
        DENIED,
        &[],
    );
    execute(
        &mut sam,
        &format!("SELECT authz_end_privileged_session('{session}', 'done')"),
    );
    assert_eq!(seen(&mut sam, "case_record", "one"), 0);
}

#[test]
fn r60_08_support_with_a_session_sensitive_field_masked() {
    let m = Matrix::new();
    support(&m);
    let look = "SELECT complainant_name, complainant_identifier, restricted_notes FROM casework_views.sensitive_detail";
    assert_eq!(told(&mut m.of("ann"), look), SECRETS.join(" "), "who works on the case");
    for role in ["support_tool", "runtime"] {
        let mut sam = m.with_role(role, "sam");
        assert_eq!(told(&mut sam, look), "W**** - (hidden)", "{role}");
        if role == "support_tool" {
            assert_eq!(
                told(&mut sam, "SELECT case_number, title FROM casework_views.case_overview"),
                "one (hidden)"
            );
        }
        // What is masked cannot be guessed by a condition either (PITFALLS 23).
        for guess in [
            "complainant_name LIKE 'Wil%'",
            "complainant_identifier = 'ID-4711-0815'",
            "restricted_notes ~ 'mill'",
        ] {
            let found: i64 = value(
                &mut sam,
                &format!("SELECT count(*) FROM casework_views.sensitive_detail WHERE {guess}"),
                &[],
            );
            assert_eq!(found, 0, "{role}: {guess}");
        }
        refused(
            &mut sam,
            "SELECT complainant_name FROM casework.case_sensitive_detail",
            DENIED,
            &[],
        );
    }
    // Nor revealed; who may reveal leaves an event with the reason.
    let reveal = format!(
        "SELECT authz_reveal('casework.case_sensitive_detail', '{}'::uuid, 'complainant_identifier', 'call back')",
        id("one")
    );
    refused(&mut m.with_role("runtime", "sam"), &reveal, DENIED, &[]);
    assert_eq!(told(&mut m.of("ann"), &reveal), SECRETS[1]);
    assert_eq!(events(&m, "ann", "sensitive_detail.reveal", "allowed"), 1);
}

#[test]
fn r60_09_revoked_user_denied() {
    let revocations = [
        "UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}'",
        "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{ann}'",
        "UPDATE authz.principal SET status = 'disabled' WHERE principal_id = '{ann}'",
        "UPDATE authz.principal SET locked_until = now() + interval '1 hour' WHERE principal_id = '{ann}'",
        "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{ann}'",
        "UPDATE authz.tenant SET status = 'suspended' WHERE tenant_id = '{acme}'",
    ];
    for revocation in revocations {
        let m = Matrix::new();
        let mut ann = m.of("ann");
        execute(
            &mut ann,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; PREPARE look AS SELECT case_number FROM casework.case_record",
        );
        assert_eq!(told(&mut ann, "EXECUTE look"), "one");
        execute(&mut m.owner(), &with_ids(revocation));
        assert_eq!(told(&mut ann, "EXECUTE look"), "", "R19: {revocation}");
        execute(&mut ann, "COMMIT");
        for table in ["case_record", "case_document", "case_sensitive_detail"] {
            assert_eq!(seen(&mut ann, table, "one"), 0, "{table}: {revocation}");
        }
        for statement in [
            require("case.view", id("one")),
            with_ids("SELECT download_case_document('{acme}', '{letter}')"),
            with_ids("INSERT INTO casework.case_decision (tenant_id, case_id) VALUES ('{acme}', '{one}')"),
        ] {
            refused(&mut ann, &statement, DENIED, &[]);
        }
    }
}

#[test]
fn r60_10_audit_still_shows_the_revoked_actor() {
    let m = Matrix::new();
    let mut ann = m.of("ann");
    execute(
        &mut ann,
        &with_ids("SELECT download_case_document('{acme}', '{letter}')"),
    );
    execute(
        &mut m.owner(),
        &with_ids(
            "UPDATE authz.tenant_membership SET status = 'revoked' WHERE principal_id = '{ann}';
             UPDATE authz.principal SET status = 'deleted' WHERE principal_id = '{ann}'",
        ),
    );
    refused(&mut ann, &require("case.view", id("one")), DENIED, &[]);
    let mut ada = m.of("ada");
    assert_eq!(events(&m, "ann", "document.download", "allowed"), 1);
    let by: String = value(
        &mut ada,
        "SELECT what || ' ' || action_code FROM authz.access_while_held WHERE principal_id = $1 AND binding_kind = 'role_assignment'",
        &[&id("ann")],
    );
    assert_eq!(by, "case_investigator document.download");
    // And nobody takes it away, not even the owner of the tables (R52).
    for statement in [
        "DELETE FROM authz.access_audit_event",
        "UPDATE authz.access_audit_event SET principal_id = NULL",
    ] {
        refused(&mut m.owner(), statement, "55000", &[]);
        refused(&mut ada, statement, DENIED, &[]);
    }
}

/// A table that the application derives from its cases: written by the worker alone, for its service principal.
fn projection(m: &Matrix) {
    let prefix = &m.casework.prefix;
    let mut owner = m.owner();
    execute(
        &mut owner,
        &with_ids(
            &"CREATE TABLE public.case_projection (tenant_id uuid NOT NULL, case_id uuid NOT NULL, open_documents int, PRIMARY KEY (tenant_id, case_id));
              INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
              VALUES ('projection.view', 'projection', 'view'), ('projection.create', 'projection', 'create'), ('projection.edit', 'projection', 'edit');
              SELECT * FROM authz_protect('public.case_projection', 'projection', 'case_id', 'tenant_id', create_indexes => true);
              INSERT INTO authz.role_definition (role_code) VALUES ('projector');
              INSERT INTO authz.role_permission (role_code, permission_code)
              VALUES ('projector', 'projection.view'), ('projector', 'projection.edit'), ('projector', 'projection.create');
              INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
              VALUES ('{acme}', '{robot}', 'projector', 'tenant', '{acme}'), ('{acme}', '{ann}', 'projector', 'tenant', '{acme}');
              INSERT INTO public.case_projection VALUES ('{acme}', '{one}', 0), ('{globex}', '{other}', 0);
              GRANT SELECT, INSERT, UPDATE ON public.case_projection TO $worker;
              GRANT SELECT ON public.case_projection TO $runtime, $readonly"
                .replace('$', prefix),
        ),
    );
}

#[test]
fn r60_11_the_worker_updates_the_projection_only_through_its_role() {
    let m = Matrix::new();
    projection(&m);
    let update = "UPDATE public.case_projection SET open_documents = open_documents + 1 RETURNING case_id";
    let mut worker = m.with_role("worker", "robot");
    assert_eq!(
        told(&mut worker, update),
        id("one").to_string(),
        "its tenant's rows and no others"
    );
    // Not for somebody else, not without a session, and not into another tenant.
    let foreign = with_ids("INSERT INTO public.case_projection VALUES ('{globex}', '{one}', 0)");
    refused(&mut worker, &foreign, DENIED, &[]);
    refused(
        &mut worker,
        &with_ids("UPDATE public.case_projection SET tenant_id = '{globex}'"),
        DENIED,
        &[],
    );
    execute(&mut worker, "SELECT authz_clear_session()");
    assert_eq!(told(&mut worker, update), "");
    let mut ben: Client = m.with_role("worker", "ben");
    assert_eq!(told(&mut ben, update), "", "a principal without the permission");
    // The permission alone does not do: the role has to be the worker's.
    for role in ["runtime", "readonly", "analytics_export", "support_tool", "break_glass"] {
        refused(&mut m.with_role(role, "ann"), update, DENIED, &[]);
    }
    // Nor has the worker another way.
    for statement in [
        "UPDATE casework.case_record SET title = 'x'",
        "TRUNCATE public.case_projection",
        "DELETE FROM public.case_projection",
        "ALTER TABLE public.case_projection DISABLE ROW LEVEL SECURITY",
        "SELECT * FROM casework.case_sensitive_detail",
    ] {
        refused(&mut worker, statement, DENIED, &[]);
    }
}

#[test]
fn r60_12_sensitive_export_without_approval_denied() {
    let m = Matrix::new();
    for role in ["runtime", "analytics_export"] {
        let mut rae = m.with_role(role, "rae");
        let job: Uuid = value(
            &mut rae,
            "SELECT authz_request_export('case_details', 'court order', $1, unmasked => true)",
            &[&id("acme")],
        );
        let run = format!("SELECT authz_run_export('{job}')");
        refused(&mut rae, &run, "55000", &["approved"]);
        refused(
            &mut rae,
            &format!("SELECT * FROM authz_download_export('{job}')"),
            "55000",
            &[],
        );
        // Not approved by herself, nor by who may not.
        for who in ["rae", "ann", "tad"] {
            refused(
                &mut m.of(who),
                &format!("SELECT authz_approve_export('{job}')"),
                DENIED,
                &[],
            );
        }
        refused(&mut rae, &run, "55000", &["approved"]);
        execute(
            &mut m.of("rob"),
            &format!("SELECT authz_approve_export('{job}', 'seen the order')"),
        );
        assert_eq!(value::<i64>(&mut rae, &run, &[]), 1);
        let file: String = value(
            &mut rae,
            "SELECT convert_from(content, 'UTF8') FROM authz_download_export($1)",
            &[&job],
        );
        for secret in SECRETS {
            assert!(file.contains(secret), "{file}");
        }
    }
    let told: Vec<String> = value(
        &mut m.of("ada"),
        "SELECT array_agg(concat_ws(' ', status, includes_sensitive_data, approved_by = $1, row_count, downloads)) FROM authz.export_evidence",
        &[&id("rob")],
    );
    assert_eq!(told, ["completed t t 1 1"; 2]);
}
