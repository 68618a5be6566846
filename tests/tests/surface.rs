//! What callers rely on: tables and columns that an INSERT may name, and functions with the names and the order of their
//! arguments. More columns and more arguments at the end may come, if a call that does not know of them stays right.

use authz_tests::{Db, execute, value};
use postgres::Client;

/// Table, and its columns with their types.
const COLUMNS: &[(&str, &str)] = &[
    ("authz.tenant", "tenant_id uuid, slug text, name text, status text, settings jsonb"),
    (
        "authz.organization",
        "tenant_id uuid, organization_id uuid, parent_organization_id uuid, name text",
    ),
    (
        "authz.team",
        "tenant_id uuid, team_id uuid, parent_team_id uuid, organization_id uuid, name text",
    ),
    (
        "authz.project",
        "tenant_id uuid, project_id uuid, organization_id uuid, name text",
    ),
    (
        "authz.principal",
        "principal_id uuid, principal_type text, external_id text, email text, display_name text, status text,
         locked_until timestamptz, db_role name",
    ),
    (
        "authz.profile",
        "user_id uuid, email text, full_name text, phone text, avatar_file_id uuid, is_super_admin boolean,
         metadata jsonb, created_at timestamptz, updated_at timestamptz",
    ),
    (
        "authz.operator_profile",
        "principal_id uuid, operator_role text, clearance_level text, mfa_enabled boolean, alert_quota integer,
         assigned_clients integer, is_admin boolean",
    ),
    (
        "authz.account_security",
        "principal_id uuid, email_verified boolean, password_hash text, mfa_enabled boolean, mfa_secret_encrypted bytea,
         failed_login_attempts integer, locked_until timestamptz, last_login_at timestamptz,
         password_changed_at timestamptz",
    ),
    (
        "authz.tenant_membership",
        "tenant_id uuid, principal_id uuid, status text, member_kind text, invited_by uuid, joined_at timestamptz,
         expires_at timestamptz, revoked_at timestamptz",
    ),
    (
        "authz.tenant_principal_profile",
        "tenant_id uuid, principal_id uuid, display_name text, status text",
    ),
    (
        "authz.team_membership_history",
        "tenant_id uuid, team_id uuid, principal_id uuid, role_code text, valid_from timestamptz,
         valid_until timestamptz, granted_by uuid",
    ),
    (
        "authz.role_definition",
        "role_code text, role_name text, role_kind text, is_system_role boolean, description text",
    ),
    (
        "authz.role_inheritance",
        "role_code text, inherited_role_code text, valid_from timestamptz, valid_until timestamptz",
    ),
    (
        "authz.permission_definition",
        "permission_code text, resource_type text, action_code text, description text, requires_mfa boolean",
    ),
    (
        "authz.permission_implication",
        "permission_code text, implied_permission_code text",
    ),
    (
        "authz.role_permission",
        "role_code text, permission_code text, condition text, obligations jsonb, valid_from timestamptz,
         valid_until timestamptz",
    ),
    (
        "authz.principal_role_assignment",
        "assignment_id uuid, tenant_id uuid, principal_id uuid, role_code text, scope_type text, scope_id text,
         granted_by uuid, granted_at timestamptz, expires_at timestamptz, revoked_at timestamptz, reason text",
    ),
    (
        "authz.resource_access_grant",
        "grant_id uuid, tenant_id uuid, resource_type text, resource_id text, grantee_type text, grantee_id text,
         permission_code text, granted_by uuid, granted_at timestamptz, expires_at timestamptz, revoked_at timestamptz,
         reason text",
    ),
    (
        "authz.resource_access_rule",
        "rule_id uuid, tenant_id uuid, resource_type text, resource_id text, effect text, grantee_type text,
         grantee_id text, permission_code text, priority integer, valid_from timestamptz, valid_until timestamptz,
         created_by uuid, created_at timestamptz",
    ),
    (
        "authz.resource_type",
        "resource_type text, target regclass, key_column name, tenant_column name, organization_column name,
         team_column name, project_column name, owner_column name, confidentiality_column name, deleted_at_column name,
         parent_type name, parent_column name, owner_role text, clearance jsonb",
    ),
    (
        "authz.privileged_access_session",
        "session_id uuid, session_kind text, principal_id uuid, tenant_id uuid, scope_type text, scope_id text,
         access_reason text, ticket_reference text, includes_sensitive boolean, requested_at timestamptz,
         approved_by uuid, approved_at timestamptz, started_at timestamptz, expires_at timestamptz,
         ended_at timestamptz, reviewed_by uuid, reviewed_at timestamptz",
    ),
    (
        "authz.access_audit_event",
        "audit_id uuid, tenant_id uuid, principal_id uuid, action_code text, resource_type text, resource_id text,
         access_result text, policy_reason text, request_id text, support_session_id uuid, source_ip inet,
         user_agent text, occurred_at timestamptz, context jsonb",
    ),
    (
        "authz.access_change_event",
        "event_id uuid, tenant_id uuid, actor_id uuid, target_principal_id uuid, change_type text, scope_type text,
         scope_id text, before_value jsonb, after_value jsonb, reason text, occurred_at timestamptz",
    ),
    (
        "authz.data_classification",
        "target regclass, column_name name, classification text, reason text, owner_team text",
    ),
    (
        "authz.data_export_job",
        "export_id uuid, tenant_id uuid, requested_by uuid, export_type text, scope_type text, scope_id text,
         status text, includes_sensitive_data boolean, approved_by uuid, requested_at timestamptz,
         completed_at timestamptz, expires_at timestamptz",
    ),
    (
        "casework.case_record",
        "tenant_id uuid, case_id uuid, owning_org_id uuid, owning_team_id uuid, case_number text, title text,
         confidentiality_level text, status text, created_by uuid, created_at timestamptz, updated_at timestamptz,
         deleted_at timestamptz",
    ),
    (
        "casework.case_document",
        "tenant_id uuid, document_id uuid, case_id uuid, document_type text, confidentiality_level text,
         storage_object_id text, uploaded_by uuid, uploaded_at timestamptz",
    ),
    (
        "casework.case_sensitive_detail",
        "tenant_id uuid, case_id uuid, complainant_name text, complainant_identifier text, restricted_notes text",
    ),
    (
        "casework.case_decision",
        "tenant_id uuid, decision_id uuid, case_id uuid, status text, outcome text, drafted_by uuid, submitted_by uuid",
    ),
    (
        "casework.case_ownership_history",
        "tenant_id uuid, case_id uuid, owner_type text, owner_id uuid, assigned_by uuid, assigned_at timestamptz,
         unassigned_at timestamptz, reason_code text",
    ),
];

/// Name; arguments, those from the first `DEFAULT` on being optional; result; volatility and parallel safety, where callers
/// rely on them. KEY stands for uuid, bigint and text.
const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("authz_set_session", "principal uuid, DEFAULT tenant uuid, context jsonb, is_local boolean", "void", ""),
    ("authz_set_session_token", "token text, DEFAULT is_local boolean", "void", ""),
    ("authz_clear_session", "", "void", ""),
    ("authz_principal", "", "uuid", "stable, safe"),
    ("authz_tenant", "", "uuid", "stable, safe"),
    ("authz_context", "", "jsonb", "stable, safe"),
    (
        "authz_can",
        "principal uuid, permission text, resource KEY, DEFAULT tenant uuid, context jsonb",
        "boolean",
        "stable, safe",
    ),
    ("authz_can", "permission text, resource KEY", "boolean", "stable, safe"),
    (
        "authz_can_many",
        "principal uuid, permission text, resources KEY[], DEFAULT tenant uuid, context jsonb",
        "TABLE(resource KEY, allowed boolean)",
        "stable, safe",
    ),
    (
        "authz_can_at",
        "principal uuid, permission text, resource KEY, at timestamptz, DEFAULT tenant uuid",
        "boolean",
        "stable, safe",
    ),
    (
        "authz_check",
        "principal uuid, permission text, resource KEY, DEFAULT tenant uuid, context jsonb",
        "boolean",
        "volatile",
    ),
    ("authz_require", "permission text, resource KEY", "void", "volatile"),
    (
        "authz_explain",
        "principal uuid, permission text, resource KEY, DEFAULT tenant uuid, context jsonb, at timestamptz",
        "jsonb",
        "stable, safe",
    ),
    (
        "authz_explain_text",
        "principal uuid, permission text, resource KEY, DEFAULT tenant uuid, context jsonb, at timestamptz",
        "SETOF text",
        "stable, safe",
    ),
    (
        "authz_resources",
        "principal uuid, permission text, DEFAULT tenant uuid, after text, max_rows bigint",
        "TABLE(tenant uuid, resource text)",
        "stable, safe",
    ),
    (
        "authz_principals",
        "permission text, resource KEY, DEFAULT tenant uuid, at timestamptz",
        "TABLE(principal uuid, via text, binding uuid)",
        "stable, safe",
    ),
    (
        "authz_permissions",
        "principal uuid, resource KEY, DEFAULT resource_type text, tenant uuid",
        "TABLE(permission text, obligations jsonb)",
        "stable, safe",
    ),
    (
        "authz_protect",
        "target regclass, resource_type text, key name, tenant name, DEFAULT organization name, team name, project name,
         owner name, confidentiality name, deleted_at name, parent name, parent_type text, select_permission text,
         insert_permission text, update_permission text, delete_permission text, create_indexes boolean",
        "TABLE(step text, detail text)",
        "volatile",
    ),
    ("authz_unprotect", "target regclass", "void", "volatile"),
    ("authz_row", "permission text, key KEY, tenant uuid", "boolean", "stable, safe"),
    ("approve_case_decision", "tenant uuid, decision uuid, actor uuid, reason text", "void", "volatile"),
    ("reject_case_decision", "tenant uuid, decision uuid, actor uuid, reason text", "void", "volatile"),
    ("submit_case_decision", "tenant uuid, decision uuid, actor uuid, reason text", "void", "volatile"),
    ("authz_record_login", "principal uuid, succeeded boolean", "text", "volatile"),
    ("authz_route_work", "tenant uuid, permission text, resource KEY", "uuid", "volatile"),
    ("authz_install_roles", "DEFAULT prefix text", "TABLE(role_name name, step text)", "volatile"),
];

#[test]
fn tables_have_their_columns() {
    let db = Db::new();
    let mut c = db.connect();
    for (table, columns) in COLUMNS {
        for column in columns.split(',') {
            let (name, kind) = column.trim().split_once(' ').expect("a name and a type");
            let is: Option<String> = value(
                &mut c,
                "SELECT max(CASE WHEN atttypid = to_regtype($3) THEN 'so' ELSE format_type(atttypid, atttypmod) END)
                   FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2::text AND attnum > 0 AND NOT attisdropped",
                &[table, &name, &kind],
            );
            assert_eq!(is.as_deref(), Some("so"), "{table}.{name}, of type {kind}");
        }
    }
}

#[test]
fn functions_have_their_arguments() {
    let db = Db::new();
    let mut c = db.connect();
    for (name, arguments, result, promise) in FUNCTIONS {
        let keys: &[&str] = if format!("{arguments}{result}").contains("KEY") {
            &["uuid", "bigint", "text"]
        } else {
            &[""]
        };
        for key in keys {
            let of_key = |text: &str| {
                text.replace("KEY", key)
                    .replace("timestamptz", "timestamp with time zone")
            };
            has_function(&mut c, name, &of_key(arguments), &of_key(result), promise);
        }
    }
}

fn has_function(c: &mut Client, name: &str, arguments: &str, result: &str, promise: &str) {
    let (needed, optional) = arguments.split_once("DEFAULT").unwrap_or((arguments, ""));
    let split = |list: &str| -> Vec<String> {
        let parts = list
            .split(',')
            .map(|a| a.split_whitespace().collect::<Vec<_>>().join(" "));
        parts.filter(|a| !a.is_empty()).collect()
    };
    let (needed, optional) = (split(needed), split(optional));
    let at_least = needed.len() as i16;
    let known: Vec<String> = needed.into_iter().chain(optional).collect();
    // Arguments beyond those that callers know of are optional too.
    let found = c
        .query(
            "SELECT pg_get_function_result(p.oid),
                    concat_ws(', ', CASE provolatile WHEN 's' THEN 'stable' WHEN 'v' THEN 'volatile' ELSE 'immutable' END,
                              CASE proparallel WHEN 's' THEN 'safe' END)
               FROM pg_proc AS p
              WHERE proname = $1::text AND pronargs - pronargdefaults = $2
                AND (ARRAY(SELECT a.name || ' ' || format_type(a.type, NULL)
                             FROM unnest(proargnames[:pronargs], proargtypes::oid[]) AS a (name, type)))[:cardinality($3::text[])] = $3",
            &[&name, &at_least, &known],
        )
        .unwrap();
    let [row] = found.as_slice() else {
        panic!("{} functions {name}({arguments})", found.len());
    };
    assert_eq!(row.get::<_, String>(0), result, "{name}({arguments})");
    let is: String = row.get(1);
    assert!(is.starts_with(promise), "{name}({arguments}) is {is}");
}

/// A database owner fills the tables with plain SQL that knows of no more columns than those above.
#[test]
fn plain_inserts_name_no_other_columns() {
    let db = Db::new();
    let mut c = db.connect();
    execute(&mut c, include_str!("../fill.sql"));
    let unfilled: Vec<String> = COLUMNS
        .iter()
        .filter(|(table, _)| table.starts_with("authz."))
        .map(|(table, _)| (*table).to_owned())
        // Written by the extension alone, or about a definition of an export.
        .filter(|table| !table.ends_with("access_change_event") && !table.ends_with("data_export_job"))
        .filter(|table| value::<i64>(&mut c, &format!("SELECT count(*) FROM {table}"), &[]) == 0)
        .collect();
    assert_eq!(unfilled, [""; 0]);
}
