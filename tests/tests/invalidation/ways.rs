//! Every way to take something away, under every isolation level: done, undone, done again (R19).

use crate::{Names, world};
use authz_tests::make::can;
use authz_tests::{Db, Server, execute};
use postgres::Client;

/// A way to give Alice (`{p}`) case.view on a case (`{c}`), and to take it from her again. Each has a principal, a case
/// and roles of its own; `{n}` tells the names apart.
struct Way {
    name: &'static str,
    give: &'static str,
    take: &'static str,
}

const ASSIGN: &str =
    "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
    VALUES ('{t}', '{p}', 'viewer', 'case', '{c}');";

const WAYS: [Way; 21] = [
    Way {
        name: "a role assignment is revoked",
        give: ASSIGN,
        take: "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{p}'",
    },
    Way {
        name: "a role assignment at platform scope is revoked",
        give: "INSERT INTO authz.principal_role_assignment (principal_id, role_code, scope_type)
               VALUES ('{p}', 'viewer', 'platform')",
        take: "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE principal_id = '{p}'",
    },
    Way {
        name: "a grant is revoked",
        give: "INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'principal', '{p}', 'case.view')",
        take: "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = '{p}'",
    },
    Way {
        name: "a team's grant is revoked",
        give: "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{x}', '{p}');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'team', '{x}', 'case.view')",
        take: "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = '{x}'",
    },
    Way {
        name: "an organization's grant is revoked",
        give: "INSERT INTO authz.organization (tenant_id, organization_id, name) VALUES ('{t}', '{y}', 'y');
               INSERT INTO authz.team (tenant_id, team_id, organization_id, name) VALUES ('{t}', '{x}', '{y}', 'x');
               INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{x}', '{p}');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'organization', '{y}', 'case.view')",
        take: "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = '{y}'",
    },
    Way {
        name: "a role's grant is revoked",
        give: "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('role{n}', 'r', 'functional');
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'role{n}', 'tenant', '{t}');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'role', 'role{n}', 'case.view')",
        take: "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = 'role{n}'",
    },
    Way {
        name: "a place in a team ends",
        give: "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{x}', '{p}');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'team', '{x}', 'case.view')",
        take: "UPDATE authz.team_membership_history SET valid_until = statement_timestamp() WHERE principal_id = '{p}'",
    },
    Way {
        name: "the principal's team moves out of the team that was given access",
        give: "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.team (tenant_id, team_id, parent_team_id, name) VALUES ('{t}', '{y}', '{x}', 'y');
               INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{y}', '{p}');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'team', '{x}', 'case.view')",
        take: "UPDATE authz.team SET parent_team_id = NULL WHERE team_id = '{y}'",
    },
    Way {
        name: "the resource's team moves out of the team where the role is held",
        give: "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.team (tenant_id, team_id, parent_team_id, name) VALUES ('{t}', '{y}', '{x}', 'y');
               UPDATE public.case_record SET owning_team_id = '{y}' WHERE case_id = '{c}';
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'viewer', 'team', '{x}')",
        take: "UPDATE authz.team SET parent_team_id = NULL WHERE team_id = '{y}'",
    },
    Way {
        name: "the resource's organization moves",
        give: "INSERT INTO authz.organization (tenant_id, organization_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.organization (tenant_id, organization_id, parent_organization_id, name)
               VALUES ('{t}', '{y}', '{x}', 'y');
               UPDATE public.case_record SET owning_org_id = '{y}' WHERE case_id = '{c}';
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'viewer', 'organization', '{x}')",
        take: "UPDATE authz.organization SET parent_organization_id = NULL WHERE organization_id = '{y}'",
    },
    Way {
        name: "the resource's project moves to another organization",
        give: "INSERT INTO authz.organization (tenant_id, organization_id, name) VALUES ('{t}', '{x}', 'x');
               INSERT INTO authz.project (tenant_id, project_id, organization_id, name) VALUES ('{t}', '{y}', '{x}', 'y');
               UPDATE public.case_record SET project_id = '{y}' WHERE case_id = '{c}';
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'viewer', 'organization', '{x}')",
        take: "UPDATE authz.project SET organization_id = NULL WHERE project_id = '{y}'",
    },
    Way {
        name: "a role loses a permission",
        give: "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('role{n}', 'r', 'functional');
               INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('role{n}', 'case.view');
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'role{n}', 'tenant', '{t}')",
        take: "UPDATE authz.role_permission SET valid_until = statement_timestamp() WHERE role_code = 'role{n}'",
    },
    Way {
        name: "a role no longer inherits another",
        give: "INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('role{n}', 'r', 'functional');
               INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('role{n}', 'viewer');
               INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'role{n}', 'tenant', '{t}')",
        take: "UPDATE authz.role_inheritance SET valid_until = statement_timestamp() WHERE role_code = 'role{n}'",
    },
    Way {
        name: "a permission no longer implies another",
        give: "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
               VALUES ('case.act{n}', 'case', 'act{n}');
               INSERT INTO authz.permission_implication (permission_code, implied_permission_code)
               VALUES ('case.act{n}', 'case.view');
               INSERT INTO authz.resource_access_grant
                      (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'principal', '{p}', 'case.act{n}')",
        take: "DELETE FROM authz.permission_implication WHERE permission_code = 'case.act{n}'",
    },
    Way {
        name: "the principal is suspended",
        give: ASSIGN,
        take: "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{p}'",
    },
    Way {
        name: "the account is locked",
        give: "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
               VALUES ('{t}', '{p}', 'viewer', 'case', '{c}');
               INSERT INTO authz.account_security (principal_id) VALUES ('{p}')",
        take: "UPDATE authz.account_security SET locked_until = statement_timestamp() + interval '1 hour' WHERE principal_id = '{p}'",
    },
    Way {
        name: "the membership is suspended",
        give: ASSIGN,
        take: "UPDATE authz.tenant_membership SET status = 'suspended' WHERE principal_id = '{p}'",
    },
    Way {
        name: "a deny is added",
        give: ASSIGN,
        take: "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id)
               VALUES ('{t}', 'case', '{c}', 'deny', 'principal', '{p}')",
    },
    Way {
        name: "a deny for everybody is added",
        give: ASSIGN,
        take: "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type)
               VALUES ('{t}', 'case', '{c}', 'deny', 'any')",
    },
    Way {
        name: "an allow rule ends",
        give: "INSERT INTO authz.resource_access_rule
                      (tenant_id, resource_type, resource_id, effect, grantee_type, grantee_id, permission_code)
               VALUES ('{t}', 'case', '{c}', 'allow', 'principal', '{p}', 'case.view')",
        take: "UPDATE authz.resource_access_rule SET valid_until = statement_timestamp() WHERE grantee_id = '{p}'",
    },
    Way {
        name: "a privileged session ends",
        give: "INSERT INTO authz.privileged_access_session
                      (session_kind, principal_id, tenant_id, access_reason, ticket_reference, started_at, expires_at)
               VALUES ('support', '{p}', '{t}', 'fire', 'T-1', now() - interval '1 minute', now() + interval '1 hour')",
        take: "UPDATE authz.privileged_access_session SET ended_at = statement_timestamp() WHERE principal_id = '{p}'",
    },
];

fn every_way(isolation: &str, become_caller: impl Fn(&Db) -> Client) {
    let (db, mut a) = world(&Server::shared());
    let mut b = become_caller(&db);
    for (n, way) in WAYS.iter().enumerate() {
        let names = Names::new(n);
        names.make(&mut a);
        let (p, c) = (names.principal, names.case);
        let what = |moment: &str| format!("{isolation}, {}: {moment}", way.name);

        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        assert!(!can(&mut b, p, "case.view", c), "{}", what("before it is given"));
        // Given and taken back without a trace.
        execute(&mut a, "BEGIN");
        execute(&mut a, &names.fill(way.give));
        assert!(can(&mut a, p, "case.view", c), "{}", what("one's own uncommitted gift"));
        assert!(
            !can(&mut b, p, "case.view", c),
            "{}",
            what("another's uncommitted gift")
        );
        execute(&mut a, "ROLLBACK");
        assert!(
            !can(&mut a, p, "case.view", c),
            "{}",
            what("after the gift was rolled back")
        );

        // The row's boundary is read by the statement's own snapshot: what `give` writes into it is for a new one.
        execute(&mut b, "COMMIT");
        execute(&mut a, &names.fill(way.give));
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        assert!(can(&mut b, p, "case.view", c), "{}", what("after it was given"));

        execute(&mut a, "BEGIN");
        execute(&mut a, "SAVEPOINT before");
        execute(&mut a, &names.fill(way.take));
        assert!(
            !can(&mut a, p, "case.view", c),
            "{}",
            what("one's own uncommitted taking")
        );
        assert!(
            can(&mut b, p, "case.view", c),
            "{}",
            what("another's uncommitted taking")
        );
        execute(&mut a, "ROLLBACK TO SAVEPOINT before");
        assert!(
            can(&mut a, p, "case.view", c),
            "{}",
            what("after rolling back to the savepoint")
        );
        execute(&mut a, &names.fill(way.take));
        assert!(!can(&mut a, p, "case.view", c), "{}", what("taken again"));
        execute(&mut a, "ROLLBACK");
        assert!(
            can(&mut a, p, "case.view", c),
            "{}",
            what("after the taking was rolled back")
        );
        assert!(can(&mut b, p, "case.view", c), "{}", what("after another rolled back"));

        execute(&mut a, &names.fill(way.take));
        assert!(
            !can(&mut b, p, "case.view", c),
            "{}",
            what("in an open transaction after the taking committed")
        );
        // A role switch in between must make no difference, nor a second look.
        assert!(!can(&mut b, p, "case.view", c), "{}", what("the second time"));
        execute(&mut b, "COMMIT");
        assert!(!can(&mut b, p, "case.view", c), "{}", what("in the next transaction"));
        assert!(
            !can(&mut a, p, "case.view", c),
            "{}",
            what("in the session that took it")
        );
    }
}

#[test]
fn every_way_under_read_committed() {
    every_way("READ COMMITTED", |db| db.connect());
}

#[test]
fn every_way_under_repeatable_read_after_set_role() {
    every_way("REPEATABLE READ", |db| {
        let role = db.caller();
        let mut client = db.connect();
        execute(&mut client, &format!("SET ROLE {role}"));
        client
    });
}

#[test]
fn every_way_under_serializable_as_an_unprivileged_login() {
    every_way("SERIALIZABLE", |db| db.connect_as(&db.caller()));
}
