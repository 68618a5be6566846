//! Wrong registrations of resource types, and tables that change under their registration: refused or denied as the
//! documents say.

use authz_tests::make::{self, can, id, reason};
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;
use serde_json::Value;

#[test]
fn a_resource_type_that_does_not_fit_is_refused() {
    let (_db, mut c) = make::acme();
    execute(
        &mut c,
        "CREATE VIEW public.case_view AS SELECT * FROM public.case_record",
    );
    execute(
        &mut c,
        "CREATE MATERIALIZED VIEW public.case_copy AS SELECT * FROM public.case_record",
    );
    let register = |c: &mut Client, target: &str, columns: &str, values: &str, state: &str, words: &[&str]| {
        refused_with_hint(
            c,
            &format!(
                "INSERT INTO authz.resource_type (resource_type, target, {columns}) VALUES ('odd', '{target}', {values})"
            ),
            state,
            words,
        );
    };
    let (both, case) = ("key_column, tenant_column", "public.case_record");
    register(
        &mut c,
        case,
        both,
        "'nothing', 'tenant_id'",
        "42703",
        &["odd", "nothing", "key_column"],
    );
    register(
        &mut c,
        case,
        both,
        "'case_id', 'nothing'",
        "42703",
        &["odd", "nothing", "tenant_column"],
    );
    register(
        &mut c,
        case,
        both,
        "'case_id', 'title'",
        "42804",
        &["odd", "title", "tenant_column", "text"],
    );
    register(
        &mut c,
        case,
        both,
        "'deleted_at', 'tenant_id'",
        "42804",
        &["odd", "deleted_at", "timestamp"],
    );
    // System columns and dropped ones are no columns.
    register(&mut c, case, both, "'ctid', 'tenant_id'", "42703", &["ctid"]);
    execute(
        &mut c,
        "ALTER TABLE public.case_record ADD gone uuid; ALTER TABLE public.case_record DROP gone",
    );
    register(&mut c, case, both, "'gone', 'tenant_id'", "42703", &["gone"]);
    for (column, wrong, state) in [
        ("organization_column", "deleted_at", "42804"),
        ("team_column", "nothing", "42703"),
        ("project_column", "deleted_at", "42804"),
        ("owner_column", "deleted_at", "42804"),
        ("confidentiality_column", "owner_id", "42804"),
        ("deleted_at_column", "title", "42804"),
    ] {
        register(
            &mut c,
            case,
            &format!("{both}, {column}"),
            &format!("'case_id', 'tenant_id', '{wrong}'"),
            state,
            &["odd", wrong, column],
        );
    }
    register(
        &mut c,
        case,
        &format!("{both}, parent_type, parent_column"),
        "'case_id', 'tenant_id', 'case', 'deleted_at'",
        "42804",
        &["deleted_at"],
    );
    execute(&mut c, "CREATE SEQUENCE public.numbers");
    execute(&mut c, "CREATE TEMP TABLE brief (LIKE public.case_record)");
    register(
        &mut c,
        "pg_temp.brief",
        both,
        "'case_id', 'tenant_id'",
        "42809",
        &["odd", "temporary"],
    );
    for target in ["public.case_view", "public.case_copy", "public.numbers"] {
        register(&mut c, target, both, "'case_id', 'tenant_id'", "42809", &["odd"]);
    }
    refused(
        &mut c,
        "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column)
         VALUES ('odd', 'public.case_record_case_id', 'case_id', 'tenant_id')",
        "42809",
        &["index"],
    );
    refused(
        &mut c,
        "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column) VALUES ('odd', 'public.nothing', 'a', 'b')",
        "42P01",
        &["nothing"],
    );
    for built_in in ["platform", "tenant", "organization", "team", "project", ""] {
        refused(
            &mut c,
            &format!(
                "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column)
                      VALUES ('{built_in}', 'public.case_record', 'case_id', 'tenant_id')"
            ),
            "23514",
            &[],
        );
    }
    refused(
        &mut c,
        "UPDATE authz.resource_type SET key_column = 'nothing' WHERE resource_type = 'case'",
        "42703",
        &["nothing"],
    );
    refused(
        &mut c,
        "UPDATE authz.resource_type SET clearance = '{\"restricted\": \"L9\"}' WHERE resource_type = 'case'",
        "23514",
        &[],
    );
    refused(
        &mut c,
        "UPDATE authz.resource_type SET clearance = '[]' WHERE resource_type = 'case'",
        "23514",
        &[],
    );
    assert_eq!(value::<i64>(&mut c, "SELECT count(*) FROM authz.resource_type", &[]), 3);
    assert!(can(&mut c, id("alice"), "case.view", id("affair")));
}

#[test]
fn a_table_that_is_dropped_or_changed_under_its_registration() {
    let (db, mut c) = make::acme();
    let mut other = db.connect();
    assert!(can(&mut other, id("alice"), "case.view", id("affair")));
    let mut both = |c: &mut Client, expected: Option<&str>, what: &str| {
        for (who, client) in [("who changed it", &mut *c), ("another session", &mut other)] {
            assert_eq!(
                reason(client, id("alice"), "case.view", id("affair")).as_deref(),
                expected,
                "{what}: {who}"
            );
            assert_eq!(
                can(client, id("alice"), "case.view", id("affair")),
                expected.is_none(),
                "{what}: {who}"
            );
        }
    };
    let definition = "ALTER TABLE public.case_record ADD owner_id uuid";
    execute(&mut c, "ALTER TABLE public.case_record DROP owner_id");
    both(&mut c, Some("resource_not_found"), "a column is dropped");
    execute(&mut c, definition);
    both(&mut c, None, "a column of that name is there again");
    execute(&mut c, "ALTER TABLE public.case_record RENAME case_id TO id");
    both(&mut c, Some("resource_not_found"), "the key is renamed");
    execute(
        &mut c,
        "UPDATE authz.resource_type SET key_column = 'id' WHERE resource_type = 'case'",
    );
    both(&mut c, None, "the registration follows");
    execute(
        &mut c,
        "ALTER TABLE public.case_record RENAME TO affairs; ALTER TABLE public.affairs SET SCHEMA authz",
    );
    both(&mut c, None, "the table has another name");
    execute(
        &mut c,
        "ALTER TABLE authz.affairs SET SCHEMA public; ALTER TABLE public.affairs RENAME TO case_record",
    );
    execute(
        &mut c,
        "ALTER TABLE public.case_record ALTER id TYPE text USING id::text",
    );
    both(&mut c, None, "the key is text now");
    execute(&mut c, "ALTER TABLE public.case_record ADD more text DEFAULT 'x'");
    execute(&mut c, "VACUUM FULL public.case_record");
    both(&mut c, None, "the table is rewritten");
    execute(
        &mut c,
        "ALTER TABLE public.case_record ALTER confidentiality_level DROP DEFAULT, ALTER confidentiality_level TYPE integer USING 1",
    );
    both(
        &mut c,
        Some("resource_not_found"),
        "a column has a type that cannot be used",
    );
    execute(
        &mut c,
        "ALTER TABLE public.case_record ALTER confidentiality_level TYPE text USING 'normal'",
    );
    both(&mut c, None, "the type is text again");
    execute(&mut c, "DROP INDEX public.case_record_case_id");
    both(&mut c, None, "without its index");
    execute(&mut c, "BEGIN; DROP TABLE public.case_record CASCADE");
    assert!(
        !can(&mut c, id("alice"), "case.view", id("affair")),
        "dropped, uncommitted"
    );
    execute(&mut c, "ROLLBACK");
    both(&mut c, None, "the DROP is rolled back");
    execute(&mut c, "DROP TABLE public.case_record CASCADE");
    both(&mut c, Some("resource_not_found"), "the table is dropped");
    let explanation: Value = value(
        &mut c,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid)",
        &[&id("alice"), &id("affair")],
    );
    assert!(
        explanation.to_string().contains("resource type"),
        "the explanation says why: {explanation:#}"
    );
    // What has no row to be read goes on.
    make::allow(&mut c, "viewer", "tenant.view", None);
    assert!(can(&mut c, id("alice"), "tenant.view", id("acme")));
    assert!(can(&mut other, id("alice"), "tenant.view", id("acme")));
}

#[test]
fn an_oid_without_a_table() {
    // As it comes out of a dump whose table had been dropped: the restore must not fail, and nobody is let in.
    let (_db, mut c) = make::acme();
    for (kind, oid) in [("gone", "4294967295"), ("none", "0")] {
        execute(
            &mut c,
            &format!(
                "INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column) VALUES ('{kind}', {oid}, 'a', 'b');
                 INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('{kind}.view', '{kind}', 'view')"
            ),
        );
        let permission = format!("{kind}.view");
        make::allow(&mut c, "viewer", &permission, None);
        assert_eq!(
            reason(&mut c, id("alice"), &permission, id("affair")).as_deref(),
            Some("resource_not_found")
        );
    }
    assert!(can(&mut c, id("alice"), "case.view", id("affair")));
}

#[test]
fn a_permission_of_a_type_that_nobody_registered() {
    let (_db, mut c) = make::acme();
    execute(
        &mut c,
        "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('ghost.view', 'ghost', 'view')",
    );
    make::allow(&mut c, "viewer", "ghost.view", None);
    assert_eq!(
        reason(&mut c, id("alice"), "ghost.view", id("affair")).as_deref(),
        Some("resource_not_found")
    );
}

#[test]
fn parents_in_a_circle_end_in_an_error() {
    let (_db, mut c) = make::acme();
    execute(
        &mut c,
        "CREATE TABLE public.folder (tenant uuid NOT NULL, folder uuid NOT NULL, inside uuid, PRIMARY KEY (tenant, folder));
         INSERT INTO authz.resource_type (resource_type, target, key_column, tenant_column, parent_type, parent_column)
         VALUES ('folder', 'public.folder', 'folder', 'tenant', 'folder', 'inside');
         INSERT INTO authz.permission_definition (permission_code, resource_type, action_code) VALUES ('folder.view', 'folder', 'view')",
    );
    make::allow(&mut c, "viewer", "folder.view", None);
    let mut put = |name: &str, inside: Option<&str>| {
        let inside = inside.map(id);
        c.execute(
            "INSERT INTO public.folder VALUES ($1, $2, $3)",
            &[&id("acme"), &id(name), &inside],
        )
        .unwrap();
    };
    put("top", None);
    put("middle", Some("top"));
    put("leaf", Some("middle"));
    put("a", Some("b"));
    put("b", Some("a"));
    put("self", Some("self"));
    assert!(can(&mut c, id("alice"), "folder.view", id("leaf")));
    for circle in ["a", "self"] {
        // A limit must not answer: neither allow nor deny would be true. (PITFALLS 8)
        refused_with_hint(
            &mut c,
            &format!(
                "SELECT authz_can('{}'::uuid, 'folder.view', '{}'::uuid)",
                id("alice"),
                id(circle)
            ),
            "54001",
            &["parent"],
        );
    }
    assert!(can(&mut c, id("alice"), "folder.view", id("leaf")));
}
