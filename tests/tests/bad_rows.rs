//! Wrong rows: each is refused as the documents say, tells what to do, and leaves nothing half written.

use std::time::{Duration, Instant};

use authz_tests::make::{self, can, id};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};

/// R13
#[test]
fn cycles_are_refused_with_their_path() {
    let (_db, mut c) = make::acme();
    let acme = id("acme");
    for role in ["one", "two", "three"] {
        make::role(&mut c, role, &[]);
    }
    make::inherit(&mut c, "one", "two");
    make::inherit(&mut c, "two", "three");
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('three', 'one')",
        "23514",
        &["three -> one -> two -> three"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('one', 'one')",
        "23514",
        &["one -> one"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.permission_implication VALUES ('case.view', 'case.admin')",
        "23514",
        &["case.admin", "->"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.permission_implication VALUES ('case.view', 'case.view')",
        "23514",
        &["case.view"],
    );
    make::team(&mut c, acme, "squad", Some(id("crew")), None);
    refused(
        &mut c,
        &format!(
            "UPDATE authz.team SET parent_team_id = '{}' WHERE team_id = '{}'",
            id("squad"),
            id("crew")
        ),
        "23514",
        &["->", &id("squad").to_string(), &id("crew").to_string()],
    );
    make::organization(&mut c, acme, "branch", Some(id("firm")));
    refused(
        &mut c,
        &format!(
            "UPDATE authz.organization SET parent_organization_id = '{}' WHERE organization_id = '{}'",
            id("branch"),
            id("firm")
        ),
        "23514",
        &["->", &id("branch").to_string()],
    );
    refused(
        &mut c,
        &format!(
            "UPDATE authz.team SET parent_team_id = team_id WHERE team_id = '{}'",
            id("crew")
        ),
        "23514",
        &["->"],
    );
    // Half a cycle that has ended does not count.
    execute(
        &mut c,
        "UPDATE authz.role_inheritance SET valid_until = statement_timestamp() WHERE role_code = 'two'",
    );
    make::inherit(&mut c, "three", "one");
    refused(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('two', 'three')",
        "23514",
        &["->"],
    );
}

/// Two sessions that each add half of a cycle before either commits: one of them must fail, under every isolation
/// level, and what is left must be no cycle (R13).
fn concurrent_halves(first: &str, second: &str, rest: &str) {
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let (db, mut c) = make::acme();
        execute(&mut c, rest);
        let (mut a, mut b) = (db.connect(), db.connect());
        for client in [&mut a, &mut b] {
            execute(
                client,
                &format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM authz.role_inheritance"),
            );
        }
        let pid: i32 = value(&mut b, "SELECT pg_backend_pid()", &[]);
        execute(&mut a, first);
        let second = second.to_owned();
        let late = std::thread::spawn(move || {
            let done = b.batch_execute(&second).and_then(|()| b.batch_execute("COMMIT"));
            done.map_err(|e| {
                e.code()
                    .map(|code| code.code().to_owned())
                    .unwrap_or_else(|| e.to_string())
            })
        });
        let begin = Instant::now();
        while !late.is_finished()
            && !value::<bool>(
                &mut c,
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')",
                &[&pid],
            )
        {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "the second half neither waits nor ends"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        execute(&mut a, "COMMIT");
        let outcome = late.join().unwrap();
        match (isolation, outcome.as_ref().map_err(String::as_str)) {
            (_, Err("23514")) | ("REPEATABLE READ" | "SERIALIZABLE", Err("40001")) => {}
            _ => panic!("{isolation}: the second half ended with {outcome:?}"),
        }
    }
}

#[test]
fn concurrent_halves_of_a_role_cycle() {
    let edge = |a: &str, b: &str| {
        format!("INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('{a}', '{b}')")
    };
    concurrent_halves(
        &edge("one", "two"),
        &edge("two", "one"),
        "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('one', 'r', 'x'), ('two', 'r', 'x')",
    );
}

#[test]
fn concurrent_halves_of_a_team_cycle() {
    let teams = format!(
        "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{0}', '{1}', 'x'), ('{0}', '{2}', 'y')",
        id("acme"),
        id("x"),
        id("y")
    );
    let below = |a: &str, b: &str| {
        format!(
            "UPDATE authz.team SET parent_team_id = '{}' WHERE team_id = '{}'",
            id(b),
            id(a)
        )
    };
    concurrent_halves(&below("x", "y"), &below("y", "x"), &teams);
}

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
