//! `authz_install_roles` (R23): roles with least privilege; what each can and cannot do on every object.

use authz_tests::casework::{Casework, ROLES, install_roles, session};
use authz_tests::make::{self, id};
use authz_tests::{Db, Start, execute, refused, refused_with_hint, value};
use postgres::Client;

/// Everything that a role may do in this database beyond what everybody may: one line for each object. Where columns are
/// granted, the table is not, so that they are the limit (PITFALLS 26).
const PRIVILEGES: &str = "
    WITH relation AS (
        SELECT c.oid, c.oid::regclass::text AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'),
    granted (line) AS (
        SELECT r.name || ': ' || p.privilege
          FROM relation AS r, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (privilege)
         WHERE has_table_privilege($1, r.oid, p.privilege)
        UNION ALL
        SELECT r.name || ': ' || p.privilege || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
          FROM relation AS r
          JOIN pg_attribute AS a ON a.attrelid = r.oid AND NOT a.attisdropped
         CROSS JOIN unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p (privilege)
         WHERE has_column_privilege($1, r.oid, a.attnum, p.privilege) AND NOT has_table_privilege($1, r.oid, p.privilege)
         GROUP BY r.name, p.privilege
        UNION ALL
        SELECT DISTINCT f.proname || '()' FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_function_privilege($1, f.oid, 'EXECUTE')
           AND NOT EXISTS (SELECT FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS x WHERE x.grantee = 0)
        UNION ALL
        SELECT 'schema ' || n.nspname || ': ' || p.privilege
          FROM pg_namespace AS n, unnest('{USAGE,CREATE}'::text[]) AS p (privilege)
         WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND has_schema_privilege($1, n.oid, p.privilege))
    SELECT coalesce(array_agg(line ORDER BY line COLLATE \"C\"), '{}') FROM granted";

const CASES: &str = "casework.case_record: SELECT (tenant_id, case_id, owning_org_id, owning_team_id, case_number, \
    confidentiality_level, status, created_by, created_at, updated_at, deleted_at)";
const DOCUMENTS: &str = "casework.case_document: SELECT (tenant_id, document_id, case_id, document_type, \
    confidentiality_level, uploaded_by, uploaded_at)";
const DECISIONS: &str = "casework.case_decision: SELECT (tenant_id, decision_id, case_id, status, drafted_by, drafted_at, \
    submitted_by, submitted_at, decided_by, decided_at)";
/// Which show each session what its principal may audit.
const EVIDENCE: [&str; 15] = [
    "authz.binding_evidence: SELECT",
    "authz.access_while_held: SELECT",
    "authz.current_access: SELECT",
    "authz.binding_use: SELECT",
    "authz.stale_grant: SELECT",
    "authz.expiring_grant: SELECT",
    "authz.mfa_evidence: SELECT",
    "authz.privilege_separation_evidence: SELECT",
    "authz.access_trail: SELECT",
    "authz.denied_attempt: SELECT",
    "authz.change_trail: SELECT",
    "authz.privileged_session_awaiting_review: SELECT",
    "authz.privileged_session_evidence: SELECT",
    "authz.workload: SELECT",
    "authz.export_evidence: SELECT",
];

fn expected(role: &str) -> Vec<&'static str> {
    let reads = [
        "casework.case_assignment: SELECT",
        "casework.case_decision: SELECT",
        "casework.case_decision_transition: SELECT",
        DOCUMENTS,
        "casework.case_ownership_history: SELECT",
        "casework.case_record: SELECT",
        "schema casework: USAGE",
        "schema public: USAGE",
    ];
    let mut lines = match role {
        "runtime" => [
            reads.as_slice(),
            &[
                "approve_case_decision()",
                "assign_case()",
                "authz.profile: SELECT",
                "authz.profile: UPDATE (full_name, phone, avatar_file_id, metadata)",
                "authz.tenant_principal_profile: SELECT",
                "authz_approve_access()",
                "authz_approve_export()",
                "authz_download_export()",
                "authz_end_export()",
                "authz_end_privileged_session()",
                "authz_exports()",
                "authz_reject_access()",
                "authz_request_access()",
                "authz_request_export()",
                "authz_resources()",
                "authz_reveal()",
                "authz_review_access()",
                "authz_run_export()",
                "authz_set_session()",
                "authz_start_privileged_session()",
                "casework.case_decision: INSERT (tenant_id, case_id, outcome)",
                "casework.case_decision: UPDATE (outcome)",
                "casework.case_document: INSERT (tenant_id, case_id, document_type, confidentiality_level, storage_object_id)",
                "casework.case_document: UPDATE (document_type)",
                "casework.case_record: INSERT (tenant_id, owning_org_id, owning_team_id, case_number, title, confidentiality_level)",
                "casework.case_record: UPDATE (title)",
                "casework.case_sensitive_detail: INSERT (tenant_id, case_id, complainant_name, complainant_identifier, restricted_notes)",
                "casework.case_sensitive_detail: SELECT (tenant_id, case_id)",
                "casework.case_sensitive_detail: UPDATE (complainant_name, complainant_identifier, restricted_notes)",
                "delete_case()",
                "download_case_document()",
                "reject_case_decision()",
                "restore_case()",
                "schema authz: USAGE",
                "seal_case()",
                "submit_case_decision()",
                "transfer_case_ownership()",
                "unassign_case()",
                "withdraw_case_decision()",
            ],
            &EVIDENCE,
        ]
        .concat(),
        "worker" => vec![
            "authz_release_work()",
            "authz_resources()",
            "authz_route_work()",
            "authz_run_export()",
            "authz_runnable_exports()",
            "authz_set_session()",
            "casework.case_assignment: SELECT",
            "casework.case_record: SELECT",
            "schema casework: USAGE",
            "schema public: USAGE",
        ],
        "readonly" => [reads.as_slice(), &EVIDENCE, &["schema authz: USAGE"]].concat(),
        "migration" => vec![
            "authz.column_classification: SELECT",
            "authz.data_classification: SELECT",
            "alter_audited_view()",
            "audited_view_problems()",
            "authz.audited_surface: SELECT",
            "authz.export_definition: INSERT",
            "authz.export_definition: SELECT",
            "authz.export_definition: UPDATE",
            "authz.feed: DELETE",
            "authz.feed: INSERT",
            "authz.feed: SELECT",
            "authz.feed: UPDATE",
            "authz.feed_copy: DELETE",
            "authz.feed_copy: INSERT",
            "authz.feed_copy: SELECT",
            "authz.feed_copy: UPDATE",
            "authz.feed_problem: SELECT",
            "authz.permission_definition: INSERT",
            "authz.permission_definition: SELECT",
            "authz.protected_table: SELECT",
            "authz.resource_history: INSERT",
            "authz.resource_history: SELECT",
            "authz.resource_history: UPDATE",
            "authz.resource_type: DELETE",
            "authz.resource_type: INSERT",
            "authz.resource_type: SELECT",
            "authz.resource_type: UPDATE",
            "authz.safe_view: INSERT",
            "authz.safe_view: SELECT",
            "authz.safe_view: UPDATE",
            "authz.safe_view_state: SELECT",
            "authz.unclassified_column: SELECT",
            "authz_classify()",
            "authz_create_safe_view()",
            "authz_mask()",
            "authz_alter_audited_view()",
            "authz_create_audited_view()",
            "authz_create_feed()",
            "authz_define_export()",
            "authz_protect()",
            "authz_register_copy()",
            "authz_unprotect()",
            "boundary_columns()",
            "check_export_source()",
            "children()",
            "class_of()",
            "class_rank()",
            "classifiable_column()",
            "exact_arguments()",
            "is_outside_row_security()",
            "mask_number()",
            "mask_sql()",
            "mask_type()",
            "masked_column_sql()",
            "export_class()",
            "lost_boundary()",
            "make_view_anew()",
            "missing_indexes()",
            "one_select()",
            "policy_mark()",
            "refuse_mask()",
            "refuse_safe_view()",
            "safe_view_problems()",
            "safe_view_sql()",
            "read_past_row_security()",
            "register_audited_view()",
            "schema authz: USAGE",
            "schema public: USAGE",
            "session_principal()",
        ],
        "analytics_export" => vec![
            "authz_download_export()",
            "authz_end_export()",
            "authz_exports()",
            "authz_request_export()",
            "authz_run_export()",
            "casework.case_record: SELECT (tenant_id, case_id, owning_org_id, owning_team_id, confidentiality_level, status, created_at, updated_at)",
            "schema casework: USAGE",
            "schema public: USAGE",
        ],
        "support_tool" => vec![
            "authz_end_privileged_session()",
            "authz_request_access()",
            "authz_start_privileged_session()",
            CASES,
            DECISIONS,
            DOCUMENTS,
            "schema casework: USAGE",
            "schema public: USAGE",
        ],
        "break_glass" => [
            reads.as_slice(),
            &[
                "authz_break_glass()",
                "authz_end_privileged_session()",
                "download_case_document()",
            ],
        ]
        .concat(),
        other => panic!("what may {other} do?"),
    };
    lines.sort_unstable();
    lines
}

fn privileges(c: &mut Client, role: &str) -> Vec<String> {
    value(c, PRIVILEGES, &[&role])
}

#[test]
fn r23_what_each_role_can_do_and_nothing_else() {
    let db = Db::with(Start::Extension);
    let prefix = install_roles(&db);
    let mut c = db.connect();
    for role in ROLES {
        assert_eq!(privileges(&mut c, &format!("{prefix}{role}")), expected(role), "{role}");
    }
    // Beside these: nobody logs in, bypasses, owns, or belongs to anything.
    let more: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_roles r
          WHERE starts_with(r.rolname, $1)
            AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
                 OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid)
                 OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))",
        &[&prefix],
    );
    assert_eq!(more, 0);
    // Again: the same, and what was granted meanwhile is gone.
    execute(
        &mut c,
        &format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA authz, casework TO {prefix}readonly;
             GRANT EXECUTE ON FUNCTION authz_set_session TO {prefix}readonly;
             GRANT CREATE ON SCHEMA authz, casework, public TO {prefix}readonly"
        ),
    );
    execute(&mut c, &format!("SELECT * FROM authz_install_roles('{prefix}')"));
    for role in ROLES {
        assert_eq!(privileges(&mut c, &format!("{prefix}{role}")), expected(role), "{role}");
    }
}

#[test]
fn r23_only_runtime_and_worker_say_who_the_session_is() {
    let w = Casework::new();
    let mut owner = w.owner();
    make::role(&mut owner, "reader", &["case.view"]);
    make::assign(&mut owner, id("acme"), id("eve"), "reader", "tenant", id("acme"));
    for role in ROLES {
        let login = w.db.role();
        execute(&mut owner, &format!("GRANT {}{role} TO {login}", w.prefix));
        let mut c = w.db.connect_as(&login);
        if ["runtime", "worker"].contains(&role) {
            session(&mut c, "eve", false);
            let cases: i64 = value(&mut c, "SELECT count(*) FROM casework.case_record", &[]);
            assert_eq!(cases, 1, "{role}");
        } else {
            refused(
                &mut c,
                &format!("SELECT authz_set_session('{}')", id("eve")),
                "42501",
                &[],
            );
            // Without a session there are no rows.
            if role != "migration" {
                let cases: i64 = value(&mut c, "SELECT count(case_id) FROM casework.case_record", &[]);
                assert_eq!(cases, 0, "{role}");
            }
        }
        for statement in [
            "CREATE TABLE casework.mine ()",
            "CREATE TABLE authz.mine ()",
            "SET ROLE postgres",
            "SELECT * FROM authz.access_audit_event",
            "UPDATE authz.principal_role_assignment SET revoked_at = NULL",
            "SELECT * FROM authz_install_roles()",
            "SELECT authz_bootstrap_administrator(gen_random_uuid(), 'x')",
            "SELECT storage_object_id FROM casework.case_document",
            "UPDATE casework.case_decision SET status = 'approved'",
            "DELETE FROM casework.case_record",
        ] {
            refused(&mut c, statement, "42501", &[]);
        }
    }
}

#[test]
fn r23_migration_protects_tables_of_an_owner_that_it_belongs_to_and_no_others() {
    let db = Db::with(Start::Extension);
    let prefix = install_roles(&db);
    let (login, owner_role) = (db.role(), db.role());
    let mut c = db.connect();
    execute(
        &mut c,
        &format!(
            "GRANT {prefix}migration TO {login}; GRANT {owner_role} TO {login};
             CREATE TABLE public.invoice (tenant_id uuid NOT NULL, invoice_id uuid PRIMARY KEY);
             ALTER TABLE public.invoice OWNER TO {owner_role};
             CREATE TABLE public.secret (tenant_id uuid NOT NULL, secret_id uuid PRIMARY KEY)"
        ),
    );
    let mut m = db.connect_as(&login);
    execute(
        &mut m,
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('invoice.view', 'invoice', 'view');
         SELECT * FROM authz_protect('public.invoice', 'invoice', 'invoice_id', 'tenant_id');
         SELECT * FROM authz.protected_table",
    );
    refused(
        &mut m,
        "SELECT * FROM authz_protect('public.secret', 'secret', 'secret_id', 'tenant_id')",
        "42501",
        &["owner"],
    );
    let policies: i64 = value(
        &mut c,
        "SELECT count(*) FROM pg_policy WHERE polrelid = 'public.invoice'::regclass",
        &[],
    );
    assert_eq!(policies, 1);
    execute(&mut m, "SELECT authz_unprotect('public.invoice')");
}

#[test]
fn bad_prefixes_and_roles_that_are_more_than_they_should_be() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    for prefix in [
        "NULL",
        "''",
        "'pg_'",
        "'Upper'",
        "'1a'",
        "'a b'",
        "'x\"; DROP ROLE y; --'",
        "repeat('a', 41)",
    ] {
        refused_with_hint(
            &mut c,
            &format!("SELECT * FROM authz_install_roles({prefix})"),
            "22023",
            &["roles"],
        );
    }
    for (what, word) in [
        ("ALTER ROLE {} SUPERUSER", "superuser"),
        ("ALTER ROLE {} BYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE {} CREATEROLE", "CREATEROLE"),
        ("ALTER ROLE {} CREATEDB", "CREATEDB"),
        ("ALTER ROLE {} REPLICATION", "REPLICATION"),
        ("GRANT pg_read_all_data TO {}", "pg_read_all_data"),
        (
            "CREATE TABLE public.owned (); ALTER TABLE public.owned OWNER TO {}",
            "public.owned",
        ),
    ] {
        let db = Db::with(Start::Extension);
        let mut c = db.connect();
        let prefix = format!("{}_", db.name);
        let role = format!("{prefix}support_tool");
        execute(&mut c, &format!("CREATE ROLE {role}"));
        db.adopt(&role);
        execute(&mut c, &what.replace("{}", &role));
        let word = word.trim_start_matches("public.");
        refused_with_hint(
            &mut c,
            &format!("SELECT * FROM authz_install_roles('{prefix}')"),
            "55000",
            &[word],
        );
        // Nothing half done.
        let others: i64 = value(
            &mut c,
            "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)",
            &[&prefix],
        );
        assert_eq!(others, 1, "{word}");
    }
}

#[test]
fn functions_of_the_same_name_that_somebody_else_made_are_not_granted() {
    let db = Db::with(Start::Extension);
    let mut c = db.connect();
    execute(
        &mut c,
        "CREATE FUNCTION public.authz_set_session(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS '';
         REVOKE ALL ON FUNCTION public.authz_set_session(text) FROM PUBLIC",
    );
    let prefix = install_roles(&db);
    let granted: bool = value(
        &mut c,
        "SELECT has_function_privilege($1, 'public.authz_set_session(text)', 'EXECUTE')",
        &[&format!("{prefix}runtime")],
    );
    assert!(!granted);
}
