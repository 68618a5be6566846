//! Who may now, by which way, and what stands against it (R55).

use authz_tests::make::{self, id};
use authz_tests::office::with_ids;
use authz_tests::policy::Policy;
use authz_tests::{Db, execute, value};
use chrono::DateTime;
use postgres::Client;

/// Of random policies: whoever may is told, and who is told may, where no condition, deny or second factor is in play.
#[test]
fn current_access_tells_who_may() {
    let (mut yes, mut sure) = (0, 0);
    for seed in 0..12 {
        let db = Db::new();
        let mut c = db.connect();
        let now: i64 = value(&mut c, "SELECT extract(epoch FROM now())::bigint", &[]);
        Policy::new(7_000 + seed, DateTime::from_timestamp(now, 0).unwrap()).load(&mut c);
        execute(
            &mut c,
            "CREATE TEMP TABLE told AS SELECT * FROM authz.current_access; ANALYZE told",
        );
        let wrong = c
            .query(
                "WITH question AS (
                     SELECT p.principal_id, t.tenant_id, d.permission_code
                     FROM authz.principal AS p, authz.tenant AS t, authz.permission_definition AS d
                     WHERE d.resource_type = 'tenant'
                 ), answer AS (
                     SELECT q.*, authz_can(q.principal_id, q.permission_code, q.tenant_id) AS allowed,
                            EXISTS (SELECT FROM told AS a
                                    WHERE a.effect = 'allow' AND a.blocked_by IS NULL
                                      AND (a.principal_id = q.principal_id OR a.grantee_type = 'any')
                                      AND (a.permissions IS NULL OR q.permission_code = ANY (a.permissions))
                                      AND (a.scope_type = 'platform'
                                           OR (a.scope_type = 'tenant' AND a.tenant_id = q.tenant_id))) AS told,
                            EXISTS (SELECT FROM told AS a
                                    WHERE a.effect = 'allow' AND a.blocked_by IS NULL AND a.principal_id = q.principal_id
                                      AND NOT a.conditional AND a.binding_kind IN ('role_assignment', 'access_grant')
                                      AND q.permission_code = ANY (a.permissions)
                                      AND (a.scope_type = 'platform'
                                           OR (a.scope_type = 'tenant' AND a.tenant_id = q.tenant_id)))
                            AND NOT EXISTS (SELECT FROM told AS a
                                            WHERE a.effect = 'deny' AND a.tenant_id = q.tenant_id
                                              AND (a.principal_id = q.principal_id OR a.grantee_type = 'any')) AS sure
                     FROM question AS q)
                 SELECT count(*) FILTER (WHERE allowed), count(*) FILTER (WHERE sure),
                        array_agg(a::text) FILTER (WHERE (allowed AND NOT told) OR (sure AND NOT allowed))
                 FROM answer AS a",
                &[],
            )
            .unwrap();
        let wrong = &wrong[0];
        assert_eq!(wrong.get::<_, Option<Vec<String>>>(2), None, "seed {seed}");
        yes += wrong.get::<_, i64>(0);
        sure += wrong.get::<_, i64>(1);
    }
    assert!(yes > 50 && sure > 10, "only {yes} allowed, {sure} certain");
}

#[test]
fn current_access_names_the_way_and_what_stands_against_it() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    make::organization(&mut c, acme, "office", None);
    make::team(&mut c, acme, "field", None, Some(id("office")));
    make::team(&mut c, acme, "east", Some(id("field")), None);
    make::role(&mut c, "viewer", &["case.view"]);
    make::role(&mut c, "editor", &["case.edit"]);
    make::inherit(&mut c, "editor", "viewer");
    for name in ["alice", "bob", "cora", "dan"] {
        make::member(&mut c, acme, name);
    }
    make::join_team(&mut c, acme, id("east"), id("alice"));
    make::assign(&mut c, acme, id("bob"), "editor", "team", id("east"));
    make::assign_platform(&mut c, id("bob"), "viewer");
    let (team, office, role) = (id("field").to_string(), id("office").to_string(), "viewer");
    for grantee in [("team", team.as_str()), ("organization", &office), ("role", role)] {
        make::grant(&mut c, acme, ("case", id("affair")), grantee, "case.comment");
    }
    make::rule(&mut c, acme, "deny", 1, ("case", None), ("any", None), None);
    let told = |c: &mut Client| -> Vec<String> {
        value(
            c,
            "SELECT array_agg(line ORDER BY line COLLATE \"C\") FROM (
                 SELECT concat_ws(' ', coalesce(p.display_name, 'everybody'), a.effect, a.binding_kind, a.grantee_type,
                                  array_to_string(a.permissions, ','), a.scope_type, a.blocked_by) AS line
                 FROM authz.current_access AS a LEFT JOIN authz.principal AS p USING (principal_id)) AS x",
            &[],
        )
    };
    let expected = [
        "alice allow access_grant organization case.comment,case.view case",
        "alice allow access_grant team case.comment,case.view case",
        // Once, though he holds the role by an inherited assignment and at platform scope.
        "bob allow access_grant role case.comment,case.view case",
        "bob allow role_assignment principal case.comment,case.edit,case.view team",
        "bob allow role_assignment principal case.view platform",
        "everybody deny deny_rule any case",
    ];
    assert_eq!(told(&mut c), expected);
    for (change, blocked) in [
        (
            "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{bob}'",
            "no active membership",
        ),
        (
            "UPDATE authz.principal SET status = 'disabled' WHERE principal_id = '{bob}'",
            "principal disabled",
        ),
        (
            "UPDATE authz.principal SET locked_until = now() + interval '1 hour' WHERE principal_id = '{bob}'",
            "principal locked",
        ),
        ("UPDATE authz.tenant SET status = 'suspended'", "tenant suspended"),
    ] {
        execute(&mut c, &format!("BEGIN; {}", with_ids(change)));
        let found = told(&mut c);
        execute(&mut c, "ROLLBACK");
        let hit = format!("bob allow role_assignment principal case.comment,case.edit,case.view team {blocked}");
        assert!(found.contains(&hit), "{change}: {found:#?}");
    }
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = clock_timestamp() WHERE principal_id = '{bob}'",
        ),
    );
    assert!(!told(&mut c).iter().any(|line| line.starts_with("bob")), "R19");
}
