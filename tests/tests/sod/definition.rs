//! Constraints that make no sense are refused.

use crate::world;
use authz_tests::office::with_ids;
use authz_tests::{Db, execute, refused, refused_with_hint};

#[test]
fn constraints_that_make_no_sense() {
    let db = Db::new();
    let mut c = world(&db);
    let insert = |columns: &str, values: &str| {
        with_ids(&format!(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes{columns}) VALUES {values}"
        ))
    };
    for (columns, values, sqlstate) in [
        ("", "('x', ARRAY['clerk'])", "23514"),
        ("", "('x', '{}')", "23514"),
        ("", "('x', NULL)", "23502"),
        ("", "('x', '{clerk,clerk}')", "22023"),
        ("", "('x', '{clerk,NULL}')", "23514"),
        ("", "('x', '{{clerk,payer},{both,auditor}}')", "23514"),
        ("", "('x', '{clerk,nobody}')", "42704"),
        ("", "(' ', '{clerk,payer}')", "23514"),
        (", max_roles", "('x', '{clerk,payer}', 2)", "23514"),
        (", max_roles", "('x', '{clerk,payer}', 0)", "23514"),
        (", constraint_kind", "('x', '{clerk,payer}', 'other')", "23514"),
        (
            ", across_tenants, tenant_id",
            "('x', '{clerk,payer}', true, '{acme}')",
            "23514",
        ),
        (
            ", across_tenants, constraint_kind",
            "('x', '{clerk,payer}', true, 'dynamic')",
            "23514",
        ),
        (", resource_type", "('x', '{clerk,payer}', 'case')", "23514"),
        (", tenant_id", "('x', '{clerk,payer}', '{ghost}')", "23503"),
        (
            ", valid_until",
            "('x', '{clerk,payer}', now() - interval '1 day')",
            "23514",
        ),
    ] {
        refused(&mut c, &insert(columns, values), sqlstate, &[]);
    }
    execute(&mut c, &insert("", "('x', '{clerk,payer}')"));
    refused(&mut c, &insert("", "('x', '{clerk,payer}')"), "23505", &[]);
    refused_with_hint(&mut c, "DELETE FROM authz.sod_constraint", "55000", &[]);
    refused_with_hint(&mut c, "TRUNCATE authz.sod_constraint CASCADE", "55000", &[]);
    refused_with_hint(
        &mut c,
        "UPDATE authz.sod_constraint SET max_roles = 1, role_codes = '{both,payer}'",
        "55000",
        &[],
    );
    // A snapshot that may be older than an assignment cannot vouch for it.
    execute(&mut c, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    refused(
        &mut c,
        &insert("", "('y', '{clerk,auditor}')"),
        "0A000",
        &["READ COMMITTED"],
    );
    execute(&mut c, "ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE");
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('both', 'clerk')",
        "0A000",
        &["READ COMMITTED"],
    );
    execute(&mut c, "ROLLBACK");
}
