//! A revocation that has committed is seen by the next call everywhere: in other sessions' open transactions of every
//! isolation level, prepared statements, parallel workers, after SET ROLE. And what never committed is seen by nobody
//! else. (R19)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use authz_tests::cluster::Cluster;
use authz_tests::make::{self, can, id};
use authz_tests::{Db, Server, Start, execute, report, value};
use postgres::Client;
use uuid::Uuid;

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

struct Names {
    principal: Uuid,
    case: Uuid,
    n: usize,
}

impl Names {
    fn new(n: usize) -> Names {
        Names {
            principal: id(&format!("p{n}")),
            case: id(&format!("c{n}")),
            n,
        }
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("{p}", &self.principal.to_string())
            .replace("{c}", &self.case.to_string())
            .replace("{t}", &id("acme").to_string())
            .replace("{x}", &id(&format!("x{}", self.n)).to_string())
            .replace("{y}", &id(&format!("y{}", self.n)).to_string())
            .replace("{n}", &self.n.to_string())
    }

    fn make(&self, c: &mut Client) {
        make::member(c, id("acme"), &format!("p{}", self.n));
        make::case(c, id("acme"), &format!("c{}", self.n));
    }
}

/// A database with tenant acme, role viewer (case.view) and, for each way, a member and a case.
fn world(server: &Arc<Server>) -> (Db, Client) {
    let db = Db::on(server, Start::Fixture);
    let mut c = db.connect();
    make::tenant(&mut c, "acme");
    make::role(&mut c, "viewer", &["case.view"]);
    (db, c)
}

/// Alice may view the case `affair` by an assignment, whose id is the last value.
fn alice(server: &Arc<Server>) -> (Db, Client, Uuid) {
    let (db, mut c) = world(server);
    make::member(&mut c, id("acme"), "alice");
    make::case(&mut c, id("acme"), "affair");
    let assignment = make::assign(&mut c, id("acme"), id("alice"), "viewer", "case", id("affair"));
    (db, c, assignment)
}

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

#[test]
fn a_grant_is_seen_at_once_too() {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let mut b = db.connect();
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")));
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "{isolation}");
        make::revoke(&mut a, given);
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "{isolation}");
    }
}

#[test]
fn a_resource_type_and_a_tenant_and_a_permission_change() {
    let (db, mut a, _) = alice(&Server::shared());
    let mut b = db.connect();
    let mut step = |change: &str, back: &str, what: &str| {
        execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "before: {what}");
        execute(&mut a, change);
        assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "{what}");
        execute(&mut a, back);
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "back: {what}");
        execute(&mut b, "COMMIT");
    };
    step(
        "UPDATE authz.tenant SET status = 'suspended'",
        "UPDATE authz.tenant SET status = 'active'",
        "the tenant is suspended",
    );
    step(
        "UPDATE authz.permission_definition SET requires_mfa = true WHERE permission_code = 'case.view'",
        "UPDATE authz.permission_definition SET requires_mfa = false WHERE permission_code = 'case.view'",
        "the permission asks for MFA",
    );
    step(
        "UPDATE authz.resource_type SET deleted_at_column = NULL, confidentiality_column = 'title' WHERE resource_type = 'case'",
        "UPDATE authz.resource_type SET deleted_at_column = 'deleted_at', confidentiality_column = 'confidentiality_level'
          WHERE resource_type = 'case'",
        "another column holds the level",
    );
}

#[test]
fn what_a_membership_and_an_owner_role_gave() {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    execute(
        &mut a,
        &format!("UPDATE public.case_record SET owner_id = '{}'", id("alice")),
    );
    execute(
        &mut a,
        "UPDATE authz.resource_type SET owner_role = 'viewer' WHERE resource_type = 'case'",
    );
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")));
    execute(
        &mut a,
        "UPDATE authz.resource_type SET owner_role = NULL WHERE resource_type = 'case'",
    );
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")));
}

/// PITFALLS 10
#[test]
fn expiry_needs_no_event() {
    let (db, mut a, assignment) = alice(&Server::shared());
    make::revoke(&mut a, assignment);
    let mut open = db.connect();
    let mut plain = db.connect();
    execute(&mut open, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(!can(&mut open, id("alice"), "case.view", id("affair")));
    execute(
        &mut a,
        &format!(
            "INSERT INTO authz.principal_role_assignment
                    (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at)
             VALUES ('{}', '{}', 'viewer', 'case', '{}', clock_timestamp() + interval '0.7 s', clock_timestamp() + interval '2 s')",
            id("acme"), id("alice"), id("affair")
        ),
    );
    let begin = Instant::now();
    let mut until = |moment: u64, expected: bool| {
        std::thread::sleep(Duration::from_millis(moment).saturating_sub(begin.elapsed()));
        assert_eq!(
            can(&mut plain, id("alice"), "case.view", id("affair")),
            expected,
            "at {moment} ms"
        );
        assert_eq!(
            can(&mut open, id("alice"), "case.view", id("affair")),
            expected,
            "at {moment} ms, open transaction"
        );
    };
    until(0, false);
    until(1_100, true);
    until(2_100, false);
}

#[test]
fn prepared_statements_hold_no_decision() {
    let (db, mut a, mut assignment) = alice(&Server::shared());
    let mut b = db.connect();
    execute(&mut b, "SET plan_cache_mode = force_generic_plan");
    let one = b.prepare("SELECT authz_can($1::uuid, 'case.view', $2::uuid)").unwrap();
    let constant = b
        .prepare(&format!(
            "SELECT authz_can('{}'::uuid, 'case.view', '{}'::uuid)",
            id("alice"),
            id("affair")
        ))
        .unwrap();
    let rows = b
        .prepare("SELECT count(*) > 0 FROM public.case_record WHERE authz_can($1::uuid, 'case.view', case_id)")
        .unwrap();
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        for expected in [true, false, true, false] {
            let arguments: [&(dyn postgres::types::ToSql + Sync); 2] = [&id("alice"), &id("affair")];
            for round in 0..7 {
                // More than five executions, after which a generic plan would be chosen in any case.
                assert_eq!(
                    b.query_one(&one, &arguments).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
                assert_eq!(
                    b.query_one(&constant, &[]).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
                assert_eq!(
                    b.query_one(&rows, &arguments[..1]).unwrap().get::<_, bool>(0),
                    expected,
                    "{isolation} {round}"
                );
            }
            if expected {
                make::revoke(&mut a, assignment);
            } else {
                assignment = make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
            }
        }
        execute(&mut b, "COMMIT");
    }
}

#[test]
fn a_message_consumed_by_an_old_snapshot_leaves_nothing_stale() {
    let (db, mut a, assignment) = alice(&Server::shared());
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
        let mut b = db.connect();
        execute(&mut b, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        // The snapshot is taken before the first load of Alice, and stays older than the revocation.
        execute(&mut b, "SELECT count(*) FROM public.case_record");
        let other = make::case(&mut a, id("acme"), &format!("other {isolation}"));
        make::revoke(&mut a, given);
        // Locking a relation for the first time consumes the message.
        execute(&mut b, "SELECT count(*) FROM public.case_document");
        assert!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            "{isolation}: by the assignment on the case"
        );
        // A new row is not in the old snapshot.
        assert!(!can(&mut b, id("alice"), "case.view", other), "{isolation}");
        let given = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
        execute(&mut b, "SELECT count(*) FROM public.document_page");
        make::revoke(&mut a, given);
        execute(&mut b, "COMMIT");
        assert!(
            !can(&mut b, id("alice"), "case.view", other),
            "{isolation}: after the transaction"
        );
    }
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    execute(&mut b, "SELECT count(*) FROM public.case_record");
    make::revoke(&mut a, assignment);
    execute(&mut b, "SELECT count(*) FROM public.case_document");
    for _ in 0..3 {
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "loaded by the old snapshot"
        );
    }
    execute(&mut b, "COMMIT");
    assert!(
        !can(&mut b, id("alice"), "case.view", id("affair")),
        "kept after the old snapshot"
    );
}

#[test]
fn a_row_is_checked_again_after_a_lock_wait() {
    // PITFALLS 17: the writer revokes and then overwrites the row; a reader that waited for the lock must decide about
    // the new row by the new authority.
    let (db, mut a, assignment) = alice(&Server::shared());
    let mut b = db.connect();
    let reader_pid: i32 = value(&mut b, "SELECT pg_backend_pid()", &[]);
    let mut transaction = a.transaction().unwrap();
    make::revoke(&mut transaction, assignment);
    execute(
        &mut transaction,
        "UPDATE public.case_record SET title = 'what Alice must not see'",
    );
    let reader = std::thread::spawn(move || {
        b.query(
            "SELECT title FROM public.case_record WHERE case_id = $1 AND authz_can($2::uuid, 'case.view', case_id) FOR UPDATE",
            &[&id("affair"), &id("alice")],
        )
        .map(|rows| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>())
    });
    let mut watcher = db.connect();
    let begin = Instant::now();
    while !value::<bool>(
        &mut watcher,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')",
        &[&reader_pid],
    ) {
        assert!(begin.elapsed() < Duration::from_secs(20), "the reader does not wait");
        std::thread::sleep(Duration::from_millis(5));
    }
    transaction.commit().unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), Vec::<String>::new());
}

/// PITFALLS 20, 35: what logical replication applies fires row triggers only, as a replica.
#[test]
fn changes_made_as_a_replica_count_too() {
    let (db, mut a, assignment) = alice(&Server::shared());
    let mut b = db.connect();
    execute(&mut b, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")));
    execute(&mut a, "SET session_replication_role = replica");
    make::revoke(&mut a, assignment);
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "revoked");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned");
    // Nothing guards against DELETE and TRUNCATE in this role, but they must not leave anything behind in a cache.
    execute(&mut a, "DELETE FROM authz.principal_role_assignment");
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "deleted");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned again");
    assert!(can(&mut b, id("alice"), "case.view", id("affair")), "assigned again");
    // TRUNCATE waits for whoever may still hold a lock on the table.
    execute(&mut b, "COMMIT");
    execute(&mut a, "SET lock_timeout = '10 s'");
    execute(&mut a, "TRUNCATE authz.principal_role_assignment CASCADE");
    assert!(!can(&mut b, id("alice"), "case.view", id("affair")), "truncated");
    for table in ["tenant_membership", "role_permission"] {
        make::assign(&mut a, id("acme"), id("alice"), "viewer", "case", id("affair"));
        assert!(can(&mut b, id("alice"), "case.view", id("affair")), "before {table}");
        execute(&mut a, &format!("TRUNCATE authz.{table} CASCADE"));
        assert!(
            !can(&mut b, id("alice"), "case.view", id("affair")),
            "{table} truncated"
        );
        // What a replica is sent is complete; a row that is written here needs the triggers that complete it.
        execute(&mut a, "SET session_replication_role = origin");
        match table {
            "tenant_membership" => make::join(&mut a, id("acme"), id("alice")),
            _ => make::allow(&mut a, "viewer", "case.view", None),
        }
        execute(&mut a, "SET session_replication_role = replica");
        assert!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            "{table} filled again"
        );
        execute(&mut a, "TRUNCATE authz.principal_role_assignment CASCADE");
    }
}

#[test]
fn prepared_transactions() {
    let shared = Server::shared();
    let allowed: String = value(
        &mut shared.connect("postgres", &shared.user),
        "SHOW max_prepared_transactions",
        &[],
    );
    let own = (allowed == "0").then(|| Cluster::start(&["max_prepared_transactions = 4"]));
    let server = own.as_ref().map_or(shared, |cluster| cluster.server.clone());
    let (db, mut a, assignment) = alice(&server);
    let mut b = db.connect();
    let name = &db.name;
    let mut both = |a: &mut Client, expected: bool, moment: &str| {
        assert_eq!(
            can(a, id("alice"), "case.view", id("affair")),
            expected,
            "who prepared, {moment}"
        );
        assert_eq!(
            can(&mut b, id("alice"), "case.view", id("affair")),
            expected,
            "another, {moment}"
        );
    };
    for end in ["ROLLBACK", "COMMIT"] {
        both(&mut a, true, "before");
        execute(&mut a, "BEGIN");
        make::revoke(&mut a, assignment);
        assert!(
            !can(&mut a, id("alice"), "case.view", id("affair")),
            "own change before PREPARE"
        );
        execute(&mut a, &format!("PREPARE TRANSACTION '{name}'"));
        both(&mut a, true, "while prepared");
        execute(&mut db.connect(), &format!("{end} PREPARED '{name}'"));
        both(&mut a, end == "ROLLBACK", &format!("after {end} PREPARED"));
    }
}

/// PITFALLS 30
#[test]
fn parallel_workers_decide_like_their_leader() {
    let (db, mut a, assignment) = alice(&Server::shared());
    execute(
        &mut a,
        &format!(
            "INSERT INTO public.case_record (tenant_id, case_id, title)
             SELECT '{}', gen_random_uuid(), 'bulk' FROM generate_series(1, 5000);
             ANALYZE public.case_record",
            id("acme")
        ),
    );
    let count = format!(
        "SELECT count(*) FROM public.case_record WHERE authz_can('{}'::uuid, 'case.view', case_id)",
        id("alice")
    );
    let parallel = |c: &mut Client| {
        let version: i32 = value(c, "SELECT current_setting('server_version_num')::int", &[]);
        let force = if version >= 160_000 {
            "debug_parallel_query"
        } else {
            "force_parallel_mode"
        };
        // The leader does nothing itself, so that it cannot hide what the workers answer.
        execute(
            c,
            &format!(
                "SET {force} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                 SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
                 SET parallel_leader_participation = off"
            ),
        );
    };
    parallel(&mut a);
    let mut b = db.connect();
    parallel(&mut b);
    let role = db.caller();
    execute(&mut a, &format!("GRANT SELECT ON public.case_record TO {role}"));
    let mut unprivileged = db.connect_as(&role);
    parallel(&mut unprivileged);

    // Other tests may have taken all workers of the cluster for a moment.
    let begin = Instant::now();
    loop {
        let plan: serde_json::Value = value(&mut b, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {count}"), &[]);
        if plan.to_string().contains("\"Workers Launched\":2") || plan.to_string().contains("\"Workers Launched\":1") {
            break;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "no worker was launched: {plan:#}"
        );
    }
    let mut counted = |c: &mut Client, expected: i64, moment: &str| {
        assert_eq!(value::<i64>(c, &count, &[]), expected, "{moment}");
        assert_eq!(
            value::<i64>(&mut b, &count, &[]),
            if moment.contains("uncommitted") { 1 } else { expected },
            "b, {moment}"
        );
    };
    counted(&mut a, 1, "the one case");
    execute(&mut a, "BEGIN");
    let everything = make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    counted(&mut a, 5001, "own uncommitted assignment");
    execute(&mut a, "ROLLBACK");
    counted(&mut a, 1, "rolled back");
    execute(&mut a, "BEGIN");
    make::revoke(&mut a, assignment);
    counted(&mut a, 0, "own uncommitted revocation");
    execute(&mut a, "ROLLBACK");
    counted(&mut a, 1, "rolled back");
    make::assign(&mut a, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    counted(&mut a, 5001, "committed");
    assert_eq!(value::<i64>(&mut unprivileged, &count, &[]), 5001);
    assert_ne!(everything, assignment);
    execute(
        &mut a,
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE revoked_at IS NULL",
    );
    counted(&mut a, 0, "revoked");
    assert_eq!(value::<i64>(&mut unprivileged, &count, &[]), 0);
}

#[test]
fn a_change_leaves_others_compiled_and_a_change_of_many_reaches_all() {
    const MEMBERS: i64 = 1000;
    let (db, mut a) = world(&Server::shared());
    execute(
        &mut a,
        &format!(
            "INSERT INTO authz.principal (principal_id, principal_type, display_name, status)
             SELECT md5('m' || n)::uuid, 'human', 'm' || n, 'active' FROM generate_series(1, {MEMBERS}) AS n;
             INSERT INTO authz.tenant_membership (tenant_id, principal_id, status, member_kind)
             SELECT '{t}', md5('m' || n)::uuid, 'active', 'member' FROM generate_series(1, {MEMBERS}) AS n;
             INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             SELECT '{t}', md5('m' || n)::uuid, 'viewer', 'tenant', '{t}' FROM generate_series(1, {MEMBERS}) AS n",
            t = id("acme")
        ),
    );
    make::case(&mut a, id("acme"), "affair");
    let mut b = db.connect();
    execute(&mut b, "SET authz.cache_size = '1GB'");
    let count = format!(
        "SELECT count(*) FILTER (WHERE authz_can(md5('m' || n)::uuid, 'case.view', '{}'))
           FROM generate_series(1, {MEMBERS}) AS n",
        id("affair")
    );
    let loads = |c: &mut Client| -> i64 { value(c, "SELECT loads FROM authz_stats()", &[]) };
    assert_eq!(value::<i64>(&mut b, &count, &[]), MEMBERS);

    // One of them: whoever shares its channel is loaded again as well, which is hardly anybody.
    let revoke =
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp() WHERE revoked_at IS NULL";
    let before = loads(&mut b);
    execute(&mut a, &format!("{revoke} AND principal_id = md5('m1')::uuid"));
    assert_eq!(value::<i64>(&mut b, &count, &[]), MEMBERS - 1);
    let loaded = loads(&mut b) - before;
    assert!((1..=5).contains(&loaded), "{loaded} loaded after a change of one");

    // All of them by one statement, which sends fewer messages than it changes subjects; also undone, also for itself.
    execute(&mut a, "BEGIN; SAVEPOINT s");
    execute(&mut a, revoke);
    assert_eq!(value::<i64>(&mut a, &count, &[]), 0, "one's own uncommitted revocation");
    assert_eq!(
        value::<i64>(&mut b, &count, &[]),
        MEMBERS - 1,
        "another's uncommitted revocation"
    );
    execute(&mut a, "ROLLBACK TO s");
    assert_eq!(value::<i64>(&mut a, &count, &[]), MEMBERS - 1, "undone");
    execute(&mut a, revoke);
    assert_eq!(value::<i64>(&mut a, &count, &[]), 0, "done again");
    execute(&mut a, "COMMIT");
    assert_eq!(value::<i64>(&mut b, &count, &[]), 0, "committed");
}

/// Given and taken with the same two statements again and again.
const CYCLES: [(&str, &str); 5] = [
    (
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ('{t}', '{p}', 'viewer', 'case', '{c}')",
        "UPDATE authz.principal_role_assignment SET revoked_at = statement_timestamp()
          WHERE principal_id = '{p}' AND role_code = 'viewer' AND revoked_at IS NULL",
    ),
    (
        "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id, permission_code)
         VALUES ('{t}', 'case', '{c}', 'team', '{x}', 'case.view')",
        "UPDATE authz.resource_access_grant SET revoked_at = statement_timestamp() WHERE grantee_id = '{x}' AND revoked_at IS NULL",
    ),
    (
        "UPDATE authz.principal SET status = 'active' WHERE principal_id = '{p}'",
        "UPDATE authz.principal SET status = 'suspended' WHERE principal_id = '{p}'",
    ),
    (
        "UPDATE authz.resource_access_rule SET valid_until = statement_timestamp() WHERE grantee_type = 'any' AND valid_until IS NULL",
        "INSERT INTO authz.resource_access_rule (tenant_id, resource_type, resource_id, effect, grantee_type)
         VALUES ('{t}', 'case', '{c}', 'deny', 'any')",
    ),
    (
        "INSERT INTO authz.role_permission (role_code, permission_code) VALUES ('fickle', 'case.view')",
        "UPDATE authz.role_permission SET valid_until = statement_timestamp() WHERE role_code = 'fickle' AND valid_until IS NULL",
    ),
];

/// PITFALLS 6
#[test]
fn no_check_after_an_acknowledged_revocation_allows() {
    const CHECKERS: usize = 8;
    const SECONDS: u64 = 8;
    /// Every third state: 0 = changing, 1 = taken and acknowledged, 2 = given and acknowledged.
    const CHANGING: u64 = 0;

    let (db, mut writer) = world(&Server::shared());
    let names = Names::new(0);
    names.make(&mut writer);
    let prepare = names.fill(
        "INSERT INTO authz.team (tenant_id, team_id, name) VALUES ('{t}', '{x}', 'x');
         INSERT INTO authz.team_membership_history (tenant_id, team_id, principal_id) VALUES ('{t}', '{x}', '{p}');
         INSERT INTO authz.role_definition (role_code, role_name, role_kind) VALUES ('fickle', 'r', 'functional');
         INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ('{t}', '{p}', 'fickle', 'tenant', '{t}')",
    );
    execute(&mut writer, &prepare);

    // The low bits say which of the three, the rest counts, so that a state is not mistaken for a later one like it.
    let state = AtomicU64::new(1);
    let stop = AtomicBool::new(false);
    let (denied, allowed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut cycles = 0u64;
    let role = db.caller();
    std::thread::scope(|scope| {
        for n in 0..CHECKERS {
            let mut client = if n % 2 == 0 { db.connect() } else { db.connect_as(&role) };
            let (state, stop, denied, allowed) = (&state, &stop, &denied, &allowed);
            let (p, c) = (names.principal, names.case);
            scope.spawn(move || {
                // A panic anywhere must end the writer's loop too.
                let _end = EndOnPanic(stop);
                if n >= 4 {
                    execute(&mut client, "SET plan_cache_mode = force_generic_plan");
                }
                let check = client
                    .prepare("SELECT authz_can($1::uuid, 'case.view', $2::uuid)")
                    .unwrap();
                while !stop.load(Ordering::SeqCst) {
                    if n >= 6 {
                        execute(&mut client, "BEGIN ISOLATION LEVEL REPEATABLE READ");
                    }
                    for _ in 0..50 {
                        let before = state.load(Ordering::SeqCst);
                        let answer: bool = match client.query_one(&check, &[&p, &c]) {
                            Ok(row) => row.get(0),
                            Err(e) => panic!("{}", report(&e)),
                        };
                        if before % 4 == CHANGING || before != state.load(Ordering::SeqCst) {
                            continue;
                        }
                        if before % 4 == 1 {
                            assert!(
                                !answer,
                                "connection {n} was allowed after the revocation was acknowledged"
                            );
                            denied.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert!(answer, "connection {n} was denied after the grant was acknowledged");
                            allowed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    if n >= 6 {
                        execute(&mut client, "COMMIT");
                    }
                }
            });
        }
        let _end = EndOnPanic(&stop);
        let begin = Instant::now();
        let mut given = [false, false, true, true, false];
        let mut turn = 1u64;
        while begin.elapsed() < Duration::from_secs(SECONDS) && !stop.load(Ordering::SeqCst) {
            let which = (cycles as usize) % CYCLES.len();
            // One of the three ways to have a role or grant, and none of the two ways to be kept out.
            let is_allowed = |given: &[bool; 5]| (given[0] || given[1] || given[4]) && given[2] && given[3];
            given[which] = !given[which];
            let sql = names.fill(if given[which] { CYCLES[which].0 } else { CYCLES[which].1 });
            turn += 1;
            state.store(turn * 4 + CHANGING, Ordering::SeqCst);
            execute(&mut writer, &sql);
            state.store(turn * 4 + if is_allowed(&given) { 2 } else { 1 }, Ordering::SeqCst);
            cycles += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let (denied, allowed) = (denied.into_inner(), allowed.into_inner());
    println!("{cycles} changes, {denied} checks after a revocation, {allowed} after a grant");
    assert!(
        cycles >= 100 && denied >= 1_000 && allowed >= 1_000,
        "{cycles} changes, {denied} denied, {allowed} allowed: too few to prove anything"
    );
}

struct EndOnPanic<'a>(&'a AtomicBool);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
