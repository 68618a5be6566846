//! Separation of duty (`authz.sod_constraint`): static whatever way authority changes, dynamic where it is used.

use authz_tests::session::act_as;
use std::sync::{Arc, Barrier};
use std::thread;

use authz_tests::make::{self, id};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};
use postgres::Client;

/// Two tenants, roles clerk, payer, auditor and both (which inherits clerk and payer).
fn world(db: &Db) -> Client {
    let mut c = db.connect();
    for tenant in ["acme", "globex"] {
        make::tenant(&mut c, tenant);
    }
    make::role(&mut c, "clerk", &["case.edit"]);
    make::role(&mut c, "payer", &["case.approve"]);
    make::role(&mut c, "auditor", &["case.view"]);
    make::role(&mut c, "both", &[]);
    for name in ["alice", "bob"] {
        make::member(&mut c, id("acme"), name);
        make::join(&mut c, id("globex"), id(name));
    }
    c
}

fn constraint(c: &mut Client, columns: &str, values: &str) {
    execute(
        c,
        &with_ids(&format!(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes{columns}) VALUES ('four eyes', '{{clerk,payer}}'{values})"
        )),
    );
}

/// SQL that assigns a role.
fn assignment(who: &str, role: &str, tenant: &str) -> String {
    let (tenant, kind) = match tenant {
        "" => ("NULL".to_owned(), "platform"),
        t => (format!("'{}'", id(t)), "tenant"),
    };
    format!(
        "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
         VALUES ({tenant}, '{}', '{role}', '{kind}', {tenant})",
        id(who)
    )
}

#[test]
fn static_by_every_way() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, "", "");
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    let breach = |c: &mut Client, sql: &str| {
        let text = refused(c, sql, "23514", &["four eyes", "at most 1"]);
        assert!(text.contains("HINT: Revoke"), "{text}");
    };
    // The same tenant; platform scope counts everywhere; another scope of the tenant.
    breach(&mut c, &assignment("alice", "payer", "acme"));
    breach(&mut c, &assignment("alice", "payer", ""));
    make::team(&mut c, id("acme"), "north", None, None);
    breach(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             VALUES ('{acme}', '{alice}', 'payer', 'team', '{north}')",
        ),
    );
    // Two at a time in one statement; COPY; ON CONFLICT; a writable CTE.
    breach(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
             SELECT '{acme}', '{bob}', r, 'tenant', '{acme}' FROM unnest('{clerk,payer}'::text[]) AS r",
        ),
    );
    breach(
        &mut c,
        &with_ids(
            "WITH x AS (INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id)
                        VALUES ('{acme}', '{bob}', 'clerk', 'tenant', '{acme}'), ('{acme}', '{bob}', 'payer', 'tenant', '{acme}')
                        ON CONFLICT DO NOTHING RETURNING 1) SELECT * FROM x",
        ),
    );
    let mut copy = c
        .copy_in("COPY authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id) FROM STDIN")
        .unwrap();
    use std::io::Write;
    copy.write_all(with_ids("{acme}\t{alice}\tpayer\ttenant\t{acme}\n").as_bytes())
        .unwrap();
    assert_eq!(copy.finish().unwrap_err().code().unwrap().code(), "23514");
    // Also as a replica, as a superuser may be.
    execute(&mut c, "SET session_replication_role = replica");
    breach(&mut c, &assignment("alice", "payer", "acme"));
    execute(&mut c, "RESET session_replication_role");
    // By inheritance: of the role assigned, and of one that is held already.
    make::inherit(&mut c, "both", "clerk");
    make::inherit(&mut c, "both", "payer");
    breach(&mut c, &assignment("bob", "both", "acme"));
    make::role(&mut c, "helper", &[]);
    execute(&mut c, &assignment("alice", "helper", "acme"));
    breach(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('helper', 'payer')",
    );
    breach(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('helper', 'both')",
    );
    breach(
        &mut c,
        "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('clerk', 'payer')",
    );
    // In another tenant it is another matter, and so is another principal.
    execute(&mut c, &assignment("alice", "payer", "globex"));
    execute(&mut c, &assignment("bob", "payer", "acme"));
    execute(&mut c, &assignment("alice", "auditor", "acme"));
    // What has ended does not count; what begins later does.
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET revoked_at = now() WHERE principal_id = '{alice}' AND role_code = 'clerk'",
        ),
    );
    execute(&mut c, &assignment("alice", "payer", "acme"));
    breach(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at)
             VALUES ('{acme}', '{alice}', 'clerk', 'tenant', '{acme}', now() + interval '1 day')",
        ),
    );
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.principal_role_assignment
                 (tenant_id, principal_id, role_code, scope_type, scope_id, granted_at, expires_at) VALUES
                 ('{acme}', '{alice}', 'clerk', 'tenant', '{acme}', now() - interval '2 days', now() - interval '1 day')",
        ),
    );
}

#[test]
fn static_over_tenants_over_time_and_with_more_than_one() {
    let db = Db::new();
    let mut c = world(&db);
    execute(
        &mut c,
        "INSERT INTO authz.sod_constraint (constraint_name, role_codes, max_roles, across_tenants)
         VALUES ('two of three', '{clerk,payer,auditor}', 2, true)",
    );
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    execute(&mut c, &assignment("alice", "payer", "globex"));
    execute(&mut c, &assignment("alice", "payer", "acme"));
    for tenant in ["acme", "globex", ""] {
        refused(
            &mut c,
            &assignment("alice", "auditor", tenant),
            "23514",
            &["two of three", "at most 2"],
        );
    }
    execute(
        &mut c,
        "UPDATE authz.sod_constraint SET valid_until = now(), reason = 'over'",
    );
    execute(&mut c, &assignment("alice", "auditor", "acme"));
    // One that is broken already is not made, nor one that will be.
    let again = "INSERT INTO authz.sod_constraint (constraint_name, role_codes, max_roles, across_tenants, valid_from)
                 VALUES ('again', '{clerk,payer,auditor}', 2, true, ";
    refused(&mut c, &format!("{again} now())"), "23514", &["again"]);
    refused(
        &mut c,
        &format!("{again} now() + interval '1 day')"),
        "23514",
        &["again"],
    );
    execute(
        &mut c,
        &with_ids(
            "UPDATE authz.principal_role_assignment SET expires_at = now() + interval '1 hour' WHERE role_code = 'auditor'",
        ),
    );
    refused(&mut c, &format!("{again} now())"), "23514", &["again"]);
    execute(&mut c, &format!("{again} now() + interval '1 day')"));
    // Of one tenant only.
    execute(
        &mut c,
        &with_ids(
            "INSERT INTO authz.sod_constraint (constraint_name, role_codes, tenant_id) VALUES ('there', '{clerk,payer}', '{globex}')",
        ),
    );
    refused(&mut c, &assignment("alice", "clerk", "globex"), "23514", &["there"]);
    execute(&mut c, &assignment("bob", "clerk", "acme"));
    execute(&mut c, &assignment("bob", "payer", "acme"));
}

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

/// Through the functions, to somebody who would then hold both.
#[test]
fn static_through_the_functions() {
    let office = Office::open();
    execute(
        &mut office.owner(),
        "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('apart', '{viewer,editor}')",
    );
    let mut tina = office.as_("tina");
    made(&mut tina, "authz_assign_role('{alice}', 'viewer', '{acme}')");
    refused(
        &mut tina,
        &with_ids("SELECT authz_assign_role('{alice}', 'editor', '{acme}')"),
        "23514",
        &["apart"],
    );
    let row = tina
        .query_one(
            "SELECT sqlstate FROM authz_assign_role_many($1::text::jsonb)",
            &[&with_ids(
                r#"[{"principal": "{alice}", "role": "editor", "tenant": "{acme}"}]"#,
            )],
        )
        .unwrap_or_else(|e| panic!("{}", report(&e)));
    assert_eq!(row.get::<_, &str>(0), "23514");
}

/// Runs statements at once, each in a transaction of its own; how each ended.
fn at_once(db: &Db, level: &str, statements: &[String]) -> Vec<Result<(), String>> {
    let start = Arc::new(Barrier::new(statements.len()));
    let threads: Vec<_> = statements
        .iter()
        .map(|statement| {
            let (mut c, start) = (db.connect(), start.clone());
            let sql = statement.clone();
            let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM authz.principal_role_assignment");
            thread::spawn(move || {
                execute(&mut c, &begin);
                start.wait();
                let done = c.batch_execute(&format!("{sql}; SELECT pg_sleep(0.005); COMMIT"));
                done.map_err(|e| e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()))
            })
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

fn held(c: &mut Client) -> i64 {
    value(
        c,
        "SELECT count(DISTINCT role_code) FROM authz.roles_held(clock_timestamp(), NULL) WHERE principal_id = $1 AND role_code IN ('clerk', 'payer')",
        &[&id("alice")],
    )
}

/// Each of two is right alone; together they are not (PITFALLS 39). At every isolation level.
#[test]
fn static_when_two_run_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, "", "");
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for round in 0..20 {
            let outcomes = at_once(
                &db,
                level,
                &[
                    assignment("alice", "clerk", "acme"),
                    assignment("alice", "payer", "acme"),
                    assignment("alice", "payer", ""),
                    assignment("bob", "payer", "acme"),
                ],
            );
            assert!(held(&mut c) <= 1, "{level} {round}: {outcomes:?}");
            // SERIALIZABLE may let all of them try again.
            assert!(
                level == "SERIALIZABLE" || outcomes[..3].iter().any(Result::is_ok),
                "{level} {round}: {outcomes:?}"
            );
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(
                    ["23514", "40001", "40P01"].contains(&outcome.as_str()),
                    "{level}: {outcome}"
                );
            }
            execute(
                &mut c,
                "UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at) WHERE revoked_at IS NULL",
            );
        }
    }
}

/// Half of the breach by assignment, the other half by inheritance, or by the constraint itself.
#[test]
fn static_when_the_model_changes_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    make::role(&mut c, "helper", &[]);
    for round in 0..20 {
        execute(&mut c, &assignment("alice", "helper", "acme"));
        let outcomes = at_once(
            &db,
            "READ COMMITTED",
            &[
                assignment("alice", "clerk", "acme"),
                "INSERT INTO authz.role_inheritance (role_code, inherited_role_code) VALUES ('helper', 'payer')"
                    .to_owned(),
                format!(
                    "INSERT INTO authz.sod_constraint (constraint_name, role_codes) VALUES ('round {round}', '{{clerk,payer}}')"
                ),
            ],
        );
        let constrained: bool = value(
            &mut c,
            "SELECT EXISTS (SELECT FROM authz.sod_constraint WHERE active_until > now())",
            &[],
        );
        assert!(!constrained || held(&mut c) <= 1, "{round}: {outcomes:?}");
        for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
            assert!(["23514", "40001", "40P01"].contains(&outcome.as_str()), "{outcome}");
        }
        execute(
            &mut c,
            "UPDATE authz.principal_role_assignment SET revoked_at = greatest(now(), granted_at) WHERE revoked_at IS NULL;
             UPDATE authz.role_inheritance SET valid_until = greatest(now(), valid_from) WHERE valid_until IS NULL;
             UPDATE authz.sod_constraint SET valid_until = greatest(now(), valid_from) WHERE valid_until IS NULL",
        );
    }
}

fn used(who: &str, permission: &str, case: &str) -> String {
    with_ids(&format!(
        "SELECT authz.sod_use('{permission}', 'case', '{{{case}}}', '{{acme}}', '{{{who}}}')"
    ))
}

#[test]
fn dynamic_counts_what_is_used_on_one_resource() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind, resource_type", ", 'dynamic', 'case'");
    // Holding both is no breach.
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    execute(&mut c, &assignment("alice", "payer", "acme"));
    execute(&mut c, &used("alice", "case.edit", "affair"));
    execute(&mut c, &used("alice", "case.edit", "affair"));
    refused_with_hint(
        &mut c,
        &used("alice", "case.approve", "affair"),
        "23514",
        &["four eyes", "clerk", "payer"],
    );
    execute(&mut c, &used("alice", "case.approve", "other"));
    refused(&mut c, &used("alice", "case.edit", "other"), "23514", &["four eyes"]);
    // Somebody else.
    make::assign(&mut c, id("acme"), id("bob"), "payer", "tenant", id("acme"));
    execute(&mut c, &used("bob", "case.approve", "affair"));
    // A permission that comes from no role of the set; from a role that is not held; of another type; implied.
    execute(&mut c, &used("alice", "page.edit", "affair"));
    execute(&mut c, &used("bob", "case.edit", "affair"));
    execute(
        &mut c,
        &with_ids("SELECT authz.sod_use('case.approve', 'document', '{affair}', '{acme}', '{alice}')"),
    );
}

/// The session's principal by default; a use that is rolled back is none; a role by inheritance is used as well.
#[test]
fn dynamic_belongs_to_the_transaction() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind", ", 'dynamic'");
    make::inherit(&mut c, "both", "clerk");
    make::inherit(&mut c, "both", "payer");
    execute(&mut c, &assignment("alice", "both", "acme"));
    act_as(&mut c, "alice");
    let own = |permission: &str| {
        with_ids(&format!(
            "SELECT authz.sod_use('{permission}', 'case', '{{affair}}', '{{acme}}')"
        ))
    };
    execute(&mut c, &format!("BEGIN; {}; ROLLBACK", own("case.edit")));
    execute(&mut c, &own("case.approve"));
    refused(&mut c, &own("case.edit"), "23514", &["four eyes"]);
    execute(&mut c, "SELECT authz_clear_session()");
    refused(&mut c, &own("case.edit"), "22023", &["principal"]);
    refused(
        &mut c,
        "SELECT authz.sod_use(NULL, 'case', 'x', NULL, NULL)",
        "22023",
        &[],
    );
    let row = c
        .query_one("SELECT role_codes, principal_id FROM authz.sod_use", &[])
        .unwrap();
    assert_eq!(row.get::<_, Vec<String>>(0), ["payer"]);
    assert_eq!(row.get::<_, uuid::Uuid>(1), id("alice"));
    // What was used stays used.
    for sql in [
        "DELETE FROM authz.sod_use",
        "TRUNCATE authz.sod_use",
        "UPDATE authz.sod_use SET resource_id = 'x'",
    ] {
        refused(&mut c, sql, "55000", &[]);
    }
    execute(&mut c, "SET session_replication_role = replica");
    for sql in ["DELETE FROM authz.sod_use", "TRUNCATE authz.sod_use"] {
        refused(&mut c, sql, "55000", &[]);
    }
}

#[test]
fn dynamic_when_two_run_at_once() {
    let db = Db::new();
    let mut c = world(&db);
    constraint(&mut c, ", constraint_kind", ", 'dynamic'");
    execute(&mut c, &assignment("alice", "clerk", "acme"));
    execute(&mut c, &assignment("alice", "payer", "acme"));
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for round in 0..20 {
            let case = format!(
                "case_{}_{}",
                &level[..4].to_lowercase().trim(),
                ["a", "b", "c", "d"][round % 4].repeat(round / 4 + 1)
            );
            let outcomes = at_once(
                &db,
                level,
                &[
                    used("alice", "case.edit", &case),
                    used("alice", "case.approve", &case),
                    used("alice", "case.edit", &case),
                    used("alice", "case.approve", &case),
                ],
            );
            let roles: Vec<String> = value(
                &mut c,
                "SELECT role_codes FROM authz.sod_use WHERE resource_id = $1",
                &[&id(&case).to_string()],
            );
            assert_eq!(roles.len(), 1, "{level} {round}: {outcomes:?}");
            let ok = (
                outcomes[0].is_ok() || outcomes[2].is_ok(),
                outcomes[1].is_ok() || outcomes[3].is_ok(),
            );
            assert!(ok.0 != ok.1, "{level} {round}: {outcomes:?}");
            for outcome in outcomes.iter().filter_map(|o| o.as_ref().err()) {
                assert!(["23514", "40001"].contains(&outcome.as_str()), "{level}: {outcome}");
            }
        }
    }
}
