//! What grants authority is closed at an instant, not overwritten or deleted; its intervals make sense and do not overlap
//! (R18). System roles stay as they are (R12).

use authz_tests::make::{self, can, id};
use authz_tests::{execute, refused, refused_with_hint, report, value};

#[test]
fn overlaps_are_refused_naming_the_rows() {
    let (_db, mut c) = make::acme();
    let (acme, alice) = (id("acme"), id("alice"));
    let alice_text = alice.to_string();
    make::role(&mut c, "other", &[]);
    make::inherit(&mut c, "other", "viewer");
    make::grant(
        &mut c,
        acme,
        ("case", id("affair")),
        ("principal", &alice_text),
        "case.view",
    );
    make::rule(
        &mut c,
        acme,
        "deny",
        0,
        ("case", Some(id("nothing"))),
        ("principal", Some(&alice_text)),
        None,
    );
    make::join_team(&mut c, acme, id("crew"), alice);
    for (sql, state, word) in [
        (format!("INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
                  VALUES ('{acme}', '{alice}', 'viewer', 'tenant', '{acme}')"), "23505", alice_text.as_str()),
        (format!("INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
                  VALUES ('{acme}', 'case', '{}', 'principal', '{alice}', 'case.view')", id("affair")), "23505", &alice_text),
        (format!("INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id)
                  VALUES ('{acme}', 'case', '{}', 'deny', 'principal', '{alice}')", id("nothing")), "23505", &alice_text),
        ("INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('viewer', 'case.view')".to_owned(), "23P01", "viewer"),
        ("INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('other', 'viewer')".to_owned(), "23P01", "viewer"),
        (format!("INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{acme}', '{}', '{alice}')", id("crew")),
         "23P01", &alice_text),
    ] {
        let error = c.batch_execute(&sql).expect_err(&sql);
        let text = report(&error);
        // An exclusion constraint says 23P01, a unique index 23505: both are duplicates of an open row.
        assert!(text.starts_with(state) || text.starts_with("23505"), "{text}\nin: {sql}");
        assert!(text.contains(word), "the row is not named: {text}\nin: {sql}");
    }
    let joined = c.batch_execute(&format!(
        "INSERT INTO authz.tenant_membership (tenant_id, principal_id) VALUES ('{acme}', '{alice}')"
    ));
    assert!(
        matches!(
            joined.as_ref().map_err(|e| e.code().map(|s| s.code())),
            Err(Some("23505" | "23P01"))
        ),
        "{joined:?}"
    );
    // What has ended makes room.
    execute(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp()",
    );
    make::assign(&mut c, acme, alice, "viewer", "tenant", acme);
    assert!(can(&mut c, alice, "case.view", id("affair")));
}

/// R18
#[test]
fn authority_is_closed_not_deleted_or_overwritten() {
    let (_db, mut c) = make::acme();
    let (acme, alice) = (id("acme"), id("alice"));
    make::role(&mut c, "other", &[]);
    make::inherit(&mut c, "other", "viewer");
    make::grant(
        &mut c,
        acme,
        ("case", id("affair")),
        ("principal", &alice.to_string()),
        "case.view",
    );
    make::rule(
        &mut c,
        acme,
        "allow",
        0,
        ("case", Some(id("affair"))),
        ("any", None),
        None,
    );
    make::join_team(&mut c, acme, id("crew"), alice);
    execute(
        &mut c,
        &format!("INSERT INTO authz.privileged_access_session (session_kind, principal_id, tenant_id, access_reason, started_at, expires_at)
                  VALUES ('support', '{alice}', '{acme}', 'fire', now(), now() + interval '1 hour')"),
    );
    for table in [
        "principal",
        "principal_status_history",
        "tenant_membership",
        "tenant_membership_history",
        "team_membership_history",
        "role_inheritance",
        "role_permission",
        "principal_role_assignment",
        "resource_access_grant",
        "resource_access_rule",
        "privileged_access_session",
    ] {
        assert!(
            value::<i64>(&mut c, &format!("SELECT count(*) FROM authz.{table}"), &[]) > 0,
            "{table} has rows to be guarded"
        );
        refused_with_hint(&mut c, &format!("DELETE FROM authz.{table}"), "55000", &[table]);
        refused_with_hint(&mut c, &format!("TRUNCATE authz.{table} CASCADE"), "55000", &[]);
    }
    for (table, change) in [
        ("principal", "principal_id = gen_random_uuid()"),
        ("principal", "external_id = 'somebody else'"),
        ("principal_status_history", "status = 'suspended'"),
        ("tenant_membership", "principal_id = gen_random_uuid()"),
        ("tenant_membership", "joined_at = joined_at - interval '1 year'"),
        ("tenant_membership_history", "status = 'suspended'"),
        ("team_membership_history", "valid_from = valid_from - interval '1 year'"),
        ("role_inheritance", "inherited_role_code = 'other'"),
        ("role_permission", "permission_code = 'case.admin'"),
        ("role_permission", "condition = 'true'"),
        ("principal_role_assignment", "role_code = 'other'"),
        (
            "principal_role_assignment",
            "granted_at = granted_at - interval '1 year'",
        ),
        ("principal_role_assignment", "principal_id = gen_random_uuid()"),
        ("resource_access_grant", "permission_code = 'case.admin'"),
        ("resource_access_grant", "grantee_id = gen_random_uuid()::text"),
        ("resource_access_rule", "effect = 'deny'"),
        ("resource_access_rule", "priority = 100"),
        ("privileged_access_session", "access_reason = 'another'"),
        ("privileged_access_session", "includes_sensitive = true"),
    ] {
        refused_with_hint(&mut c, &format!("UPDATE authz.{table} SET {change}"), "55000", &[table]);
    }
    // Closed is closed.
    execute(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp(), reason = 'left'",
    );
    refused_with_hint(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = NULL",
        "55000",
        &["principal_role_assignment"],
    );
    refused_with_hint(
        &mut c,
        "UPDATE authz.principal_role_assignment SET revoked_at = now() + interval '1 day'",
        "55000",
        &[],
    );
    execute(&mut c, "UPDATE authz.tenant_membership SET status = 'revoked'");
    refused_with_hint(
        &mut c,
        "UPDATE authz.tenant_membership SET status = 'active'",
        "55000",
        &[],
    );
}

#[test]
fn intervals_and_states_that_make_no_sense() {
    let (_db, mut c) = make::acme();
    let (acme, alice) = (id("acme"), id("alice"));
    for sql in [
        format!("INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, expires_at)
                 VALUES ('{acme}', '{alice}', 'viewer', 'team', '{}', now() - interval '1 day')", id("crew")),
        "INSERT INTO authz.principal (principal_type) VALUES ('robot')".to_owned(),
        "INSERT INTO authz.principal (status) VALUES ('Active')".to_owned(),
        format!("INSERT INTO authz.resource_access_rule (tenant_id, resource_type, effect, grantee_type) VALUES ('{acme}', 'case', 'maybe', 'any')"),
        format!("INSERT INTO authz.resource_access_rule (tenant_id, resource_type, effect, grantee_type) VALUES ('{acme}', 'case', 'deny', 'principal')"),
        format!("INSERT INTO authz.resource_access_rule (tenant_id, resource_type, effect, grantee_type, grantee_id)
                 VALUES ('{acme}', 'case', 'deny', 'any', '{alice}')"),
        format!("INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
                 VALUES ('{acme}', 'case', '{}', 'any', 'x', 'case.view')", id("affair")),
        format!("INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, approved_by)
                 VALUES ('break_glass', '{alice}', 'fire', '{alice}')"),
        format!("INSERT INTO authz.operator_profile (principal_id, clearance_level) VALUES ('{alice}', 'L4')"),
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('x.y', 'case', 'z')".to_owned(),
    ] {
        refused(&mut c, &sql, "23514", &[]);
    }
    // An id that would never be found is refused where it is written.
    refused_with_hint(
        &mut c,
        &format!("INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
                  VALUES ('{acme}', 'case', upper('{}'), 'principal', '{alice}', 'case.view')", id("affair")),
        "22023",
        &[&id("affair").to_string()],
    );
    refused(
        &mut c,
        &format!("INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
                  VALUES ('{acme}', 'case', '{}', 'principal', '{}', 'case.view')", id("affair"), id("nobody")),
        "23503",
        &[&id("nobody").to_string()],
    );
}

/// R12
#[test]
fn system_roles_stay() {
    let (_db, mut c) = make::acme();
    execute(
        &mut c,
        "INSERT INTO authz.role_definition (role_code, role_name, role_kind, is_system_role) VALUES ('owner', 'Owner', 'x', true)",
    );
    refused_with_hint(
        &mut c,
        "DELETE FROM authz.role_definition WHERE role_code = 'owner'",
        "55000",
        &["owner"],
    );
    refused_with_hint(
        &mut c,
        "UPDATE authz.role_definition SET is_system_role = false WHERE role_code = 'owner'",
        "55000",
        &["owner"],
    );
    refused_with_hint(
        &mut c,
        "UPDATE authz.role_definition SET role_code = 'x' WHERE role_code = 'owner'",
        "55000",
        &["owner"],
    );
}
