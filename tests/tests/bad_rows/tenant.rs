//! References carry their tenant, and none crosses to another (R28, PITFALLS 18).

use authz_tests::make::{self, id};
use authz_tests::{Db, refused};

/// R28: a foreign key between tables of tenants carries the tenant, and changes nothing in the table that refers.
#[test]
fn every_reference_between_tables_of_tenants_carries_the_tenant() {
    let db = Db::new();
    let mut c = db.connect();
    let keys = c
        .query(
            "SELECT conrelid::regclass || '.' || conname,
                    EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = conrelid AND a.attname = 'tenant_id' AND a.attnum = ANY (conkey)),
                    confdeltype = 'a' AND confupdtype = 'a'
               FROM pg_constraint AS k
              WHERE contype = 'f' AND connamespace IN ('authz'::regnamespace, 'casework'::regnamespace)
                AND (SELECT count(*) FROM pg_attribute AS a
                      WHERE a.attrelid IN (conrelid, confrelid) AND a.attname = 'tenant_id' AND NOT a.attisdropped) = 2",
            &[],
        )
        .unwrap();
    assert!(keys.len() > 20, "only {} foreign keys", keys.len());
    for key in keys {
        let (name, carries, changes_nothing): (String, bool, bool) = (key.get(0), key.get(1), key.get(2));
        assert!(changes_nothing, "{name} cascades");
        // Constraints of separation of duty may be for all tenants; and assign_case alone writes the other.
        let by_id = [
            "authz.sod_use.sod_use_constraint_id_fkey",
            "casework.case_assignment.case_assignment_role_assignment_id_fkey",
        ];
        assert_eq!(carries, !by_id.contains(&name.as_str()), "{name}");
    }
}

/// R28, PITFALLS 18
#[test]
fn references_across_tenants_are_refused() {
    let (_db, mut c) = make::acme();
    let (acme, globex) = (id("acme"), id("globex"));
    make::member(&mut c, globex, "gina");
    let globex_text = globex.to_string();
    for (table, columns, values, named) in [
        (
            "organization",
            "tenant_id, parent_organization_id, name",
            format!("'{globex}', '{}', 'x'", id("firm")),
            "firm",
        ),
        (
            "team",
            "tenant_id, parent_team_id, name",
            format!("'{globex}', '{}', 'x'", id("crew")),
            "crew",
        ),
        (
            "team",
            "tenant_id, organization_id, name",
            format!("'{globex}', '{}', 'x'", id("firm")),
            "firm",
        ),
        (
            "project",
            "tenant_id, organization_id, name",
            format!("'{globex}', '{}', 'x'", id("firm")),
            "firm",
        ),
        (
            "team_membership_history",
            "tenant_id, team_id, principal_id",
            format!("'{globex}', '{}', '{}'", id("crew"), id("gina")),
            "crew",
        ),
        (
            "principal_role_assignment",
            "tenant_id, principal_id, role_code, scope_type, scope_id",
            format!("'{globex}', '{}', 'viewer', 'team', '{}'", id("gina"), id("crew")),
            "crew",
        ),
        (
            "principal_role_assignment",
            "tenant_id, principal_id, role_code, scope_type, scope_id",
            format!(
                "'{globex}', '{}', 'viewer', 'organization', '{}'",
                id("gina"),
                id("firm")
            ),
            "firm",
        ),
        (
            "principal_role_assignment",
            "tenant_id, principal_id, role_code, scope_type, scope_id",
            format!("'{globex}', '{}', 'viewer', 'project', '{}'", id("gina"), id("apollo")),
            "apollo",
        ),
        (
            "resource_access_grant",
            "tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code",
            format!(
                "'{globex}', 'case', '{}', 'team', '{}', 'case.view'",
                id("affair"),
                id("crew")
            ),
            "crew",
        ),
        (
            "resource_access_grant",
            "tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code",
            format!(
                "'{globex}', 'organization', '{}', 'principal', '{}', 'case.view'",
                id("firm"),
                id("gina")
            ),
            "firm",
        ),
        (
            "resource_access_rule",
            "tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id",
            format!(
                "'{globex}', 'case', '{}', 'allow', 'organization', '{}'",
                id("affair"),
                id("firm")
            ),
            "firm",
        ),
        (
            "resource_access_rule",
            "tenant_id, resource_type, resource_id, effect, grantee_type",
            format!("'{globex}', 'team', '{}', 'deny', 'any'", id("crew")),
            "crew",
        ),
        (
            "privileged_access_session",
            "tenant_id, principal_id, session_kind, access_reason, scope_type, scope_id",
            format!(
                "'{globex}', '{}', 'support', 'fire', 'team', '{}'",
                id("gina"),
                id("crew")
            ),
            "crew",
        ),
    ] {
        refused(
            &mut c,
            &format!("INSERT INTO authz.{table} ({columns}) VALUES ({values})"),
            "23503",
            &[&globex_text, &id(named).to_string()],
        );
    }
    // A tenant scope is the tenant's own, a platform scope has none.
    for (tenant, kind, scope) in [
        (format!("'{globex}'"), "tenant", format!("'{acme}'")),
        (format!("'{globex}'"), "platform", "NULL".to_owned()),
        ("NULL".to_owned(), "tenant", format!("'{acme}'")),
        ("NULL".to_owned(), "case", format!("'{}'", id("affair"))),
        (format!("'{globex}'"), "tenant", "NULL".to_owned()),
    ] {
        refused(
            &mut c,
            &format!(
                "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
                      VALUES ({tenant}, '{}', 'viewer', '{kind}', {scope})",
                id("gina")
            ),
            "23514",
            &[kind],
        );
    }
    // Nothing moves into another tenant afterwards, either, and leaves behind what names it.
    make::assign(&mut c, acme, id("alice"), "viewer", "project", id("apollo"));
    for table in ["organization", "team", "project"] {
        let moved = c.batch_execute(&format!("UPDATE authz.{table} SET tenant_id = '{globex}'"));
        assert!(moved.is_err(), "authz.{table} moved to another tenant");
    }
}
