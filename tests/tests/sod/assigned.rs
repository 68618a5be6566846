//! Static: nobody gets roles that are to be apart, whatever way authority changes.

use crate::{assignment, constraint, world};
use authz_tests::make::{self, id};
use authz_tests::office::{Office, made, with_ids};
use authz_tests::{Db, execute, refused, report};
use postgres::Client;

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
