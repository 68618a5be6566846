//! Wrong questions, wrong rows, wrong registrations: each is refused or denied as the documents say, tells what to do,
//! and leaves nothing half written.

use std::time::{Duration, Instant};

use authz_tests::make::{self, can, id, reason};
use authz_tests::{Db, execute, refused, refused_with_hint, report, value};
use postgres::Client;
use serde_json::Value;

/// Tenants acme (organization firm, team crew, project apollo, case affair) and globex; Alice views affair as `viewer`.
fn world() -> (Db, Client) {
    let db = Db::new();
    let mut client = db.connect();
    let c = &mut client;
    let acme = make::tenant(c, "acme");
    make::tenant(c, "globex");
    make::organization(c, acme, "firm", None);
    make::team(c, acme, "crew", None, Some(id("firm")));
    make::project(c, acme, "apollo", None);
    make::case(c, acme, "affair");
    make::role(c, "viewer", &["case.view"]);
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    assert!(can(c, id("alice"), "case.view", id("affair")));
    (db, client)
}

// == Questions ===========================================================================================

#[test]
fn an_unknown_permission_is_an_error_with_the_nearest_code() {
    let (_db, mut c) = world();
    let (alice, affair) = (id("alice"), id("affair"));
    for (wrong, near) in [
        ("case.veiw", "case.view"),
        ("case.vie", "case.view"),
        ("Case.View", "case.view"),
        ("document.edti", "document.edit"),
    ] {
        for call in [
            format!("SELECT authz_can('{alice}'::uuid, '{wrong}', '{affair}'::uuid)"),
            format!("SELECT authz_can('{alice}'::uuid, '{wrong}', '{affair}'::text)"),
            format!("SELECT * FROM authz_can_many('{alice}'::uuid, '{wrong}', ARRAY['{affair}']::uuid[])"),
            format!("SELECT authz_explain('{alice}'::uuid, '{wrong}', '{affair}'::uuid)"),
            // Neither who asks nor what about makes a difference.
            format!("SELECT authz_can('{affair}'::uuid, '{wrong}', '{alice}'::uuid)"),
        ] {
            let text = refused(&mut c, &call, "42704", &[wrong, near]);
            let hint = text.split("HINT: ").nth(1).unwrap_or_default();
            assert!(hint.contains(near), "{text}");
        }
    }
    for wrong in [
        "",
        "view",
        "case",
        "case.",
        ".view",
        "case.view ",
        "%",
        "case.view\u{0301}",
        "zzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        refused_with_hint(
            &mut c,
            &format!("SELECT authz_can('{alice}'::uuid, '{wrong}', '{affair}'::uuid)"),
            "42704",
            &[],
        );
    }
    refused_with_hint(
        &mut c,
        &format!("SELECT authz_can('{alice}'::uuid, repeat('x', 100000), '{affair}'::uuid)"),
        "42704",
        &[],
    );
    // The session goes on.
    assert!(can(&mut c, alice, "case.view", affair));
}

#[test]
fn unknown_principals_and_resources_and_null_are_denied() {
    let (_db, mut c) = world();
    assert_eq!(
        reason(&mut c, id("nobody"), "case.view", id("affair")).as_deref(),
        Some("principal_inactive")
    );
    assert_eq!(
        reason(&mut c, id("alice"), "case.view", id("nothing")).as_deref(),
        Some("resource_not_found")
    );
    let (alice, affair) = (format!("'{}'::uuid", id("alice")), format!("'{}'::uuid", id("affair")));
    for (principal, permission, resource) in [
        ("NULL::uuid", "'case.view'", affair.as_str()),
        (&alice, "NULL::text", &affair),
        (&alice, "'case.view'", "NULL::uuid"),
        (&alice, "'case.view'", "NULL::text"),
        (&alice, "'case.view'", "NULL::bigint"),
        (&alice, "NULL::text", "NULL::uuid"),
        ("NULL::uuid", "NULL::text", "NULL::uuid"),
    ] {
        let sql = format!("SELECT authz_can({principal}, {permission}, {resource})");
        assert_eq!(
            c.query_one(&sql, &[]).unwrap().get::<_, Option<bool>>(0),
            Some(false),
            "{sql}"
        );
        let sql = format!("SELECT authz_explain({principal}, {permission}, {resource}) ->> 'decision'");
        assert_eq!(
            c.query_one(&sql, &[]).unwrap().get::<_, Option<String>>(0).as_deref(),
            Some("deny"),
            "{sql}"
        );
    }
    for sql in [
        "SELECT authz_can(NULL::text, NULL::uuid)",
        &format!("SELECT authz_can('case.view', {affair})"),
    ] {
        // Without a session there is nobody who could be allowed.
        assert_eq!(
            c.query_one(sql, &[]).unwrap().get::<_, Option<bool>>(0),
            Some(false),
            "{sql}"
        );
    }
    // NULL in a list, an empty list, a NULL list.
    let many = |c: &mut Client, list: &str| -> Vec<Option<bool>> {
        let sql = format!(
            "SELECT allowed FROM authz_can_many({alice}, 'case.view', {list}) WITH ORDINALITY AS m(resource, allowed, n) ORDER BY n"
        );
        c.query(&sql, &[])
            .unwrap_or_else(|e| panic!("{}", report(&e)))
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    assert_eq!(
        many(&mut c, &format!("ARRAY[{affair}, NULL, {affair}]")),
        [Some(true), Some(false), Some(true)]
    );
    assert_eq!(many(&mut c, "'{}'::uuid[]"), []);
    assert_eq!(many(&mut c, "NULL::uuid[]"), []);
    // NULL for what may be left out is the same as leaving it out.
    assert!(value::<bool>(
        &mut c,
        &format!("SELECT authz_can({alice}, 'case.view', {affair}, NULL, NULL)"),
        &[]
    ));
}

#[test]
fn contexts_of_every_shape() {
    let (_db, mut c) = world();
    make::role(&mut c, "guest", &[]);
    make::allow(&mut c, "guest", "case.edit", Some("context.region == 'eu'"));
    make::assign(&mut c, id("acme"), id("alice"), "guest", "tenant", id("acme"));
    let ask = |c: &mut Client, context: &str| -> bool {
        let sql = format!(
            "SELECT authz_can('{}'::uuid, 'case.edit', '{}'::uuid, NULL, '{context}'::jsonb)",
            id("alice"),
            id("affair")
        );
        value(c, &sql, &[])
    };
    for context in [
        "null",
        "[]",
        "1",
        "\"eu\"",
        "true",
        "{}",
        "{\"region\": null}",
        "{\"region\": [\"eu\"]}",
        "[{\"region\": \"eu\"}]",
        "{\"Region\": \"eu\"}",
        "{\"x\": {\"region\": \"eu\"}}",
    ] {
        assert!(!ask(&mut c, context), "{context}");
    }
    assert!(ask(
        &mut c,
        "{\"region\": \"eu\", \"big\": 123456789012345678901234567890, \"deep\": [[[[{}]]]]}"
    ));
    let deep = format!(
        "{{\"region\": \"eu\", \"deep\": {}{}}}",
        "[".repeat(900),
        "]".repeat(900)
    );
    // Whatever becomes of it, the answer is an answer or an error, and the session goes on.
    match c.batch_execute(&format!(
        "SELECT authz_can('{}'::uuid, 'case.edit', '{}'::uuid, NULL, '{deep}'::jsonb)",
        id("alice"),
        id("affair")
    )) {
        Ok(()) => {}
        Err(e) => assert!(e.as_db_error().is_some(), "the connection is gone: {e}"),
    }
    assert!(can(&mut c, id("alice"), "case.view", id("affair")));
}

#[test]
fn an_ambiguous_key_says_to_pass_the_tenant() {
    let (_db, mut c) = world();
    make::case(&mut c, id("globex"), "affair");
    assert!(!can(&mut c, id("alice"), "case.view", id("affair")));
    let explanation: Value = value(
        &mut c,
        "SELECT authz_explain($1::uuid, 'case.view', $2::uuid)",
        &[&id("alice"), &id("affair")],
    );
    assert_eq!(explanation["reason"], "resource_not_found");
    assert!(explanation.to_string().contains("pass the tenant"), "{explanation:#}");
    let with: bool = value(
        &mut c,
        "SELECT authz_can($1::uuid, 'case.view', $2::uuid, $3::uuid)",
        &[&id("alice"), &id("affair"), &id("acme")],
    );
    assert!(with);
    // Two rows of one tenant under one key: nobody can say which is meant.
    execute(
        &mut c,
        "ALTER TABLE public.case_record DROP CONSTRAINT case_record_tenant_id_case_id_key",
    );
    make::case(&mut c, id("acme"), "affair");
    let twice: bool = value(
        &mut c,
        "SELECT authz_can($1::uuid, 'case.view', $2::uuid, $3::uuid)",
        &[&id("alice"), &id("affair"), &id("acme")],
    );
    assert!(!twice);
}

/// A guest may edit where the context's region is eu, and comment where the row's title is affair.
fn guest(c: &mut Client) {
    make::role(c, "guest", &[]);
    make::allow(c, "guest", "case.edit", Some("context.region == 'eu'"));
    make::allow(c, "guest", "case.comment", Some("resource.title == 'affair'"));
    make::assign(c, id("acme"), id("alice"), "guest", "tenant", id("acme"));
}

fn ask_in_context(c: &mut Client, permission: &str, context: &str) -> Result<bool, String> {
    let sql = format!(
        "SELECT authz_can('{}'::uuid, '{permission}', '{}'::uuid, NULL, '{context}')",
        id("alice"),
        id("affair")
    );
    c.query_one(&sql, &[])
        .map(|row| row.get::<_, bool>(0))
        .map_err(|e| report(&e))
}

#[test]
fn a_context_with_numbers_that_no_double_holds() {
    let (_db, mut c) = world();
    guest(&mut c);
    for number in [
        "1e400",
        "-1e400",
        "1e-400",
        "123456789012345678901234567890.123456789",
        "18446744073709551616",
    ] {
        for (context, expected) in [
            (format!("{{\"region\": \"eu\", \"n\": {number}}}"), true),
            (format!("{{\"region\": {number}}}"), false),
        ] {
            match ask_in_context(&mut c, "case.edit", &context) {
                Ok(answer) => assert_eq!(answer, expected, "{context}"),
                // It may be refused as bad data, but it is no internal error.
                Err(e) => assert!(e.starts_with("22"), "{context}: {e}"),
            }
        }
    }
    assert!(can(&mut c, id("alice"), "case.view", id("affair")));
}

#[test]
fn a_row_with_numbers_that_no_double_holds() {
    // A condition about the title must not fail because of another column: nobody could repair the row's answer.
    let (_db, mut c) = world();
    guest(&mut c);
    execute(
        &mut c,
        "ALTER TABLE public.case_record ADD amount numeric, ADD rate double precision, ADD made timestamptz",
    );
    for (amount, rate, made) in [
        ("1e400", "1", "now()"),
        ("'NaN'", "'NaN'", "'infinity'"),
        ("'infinity'", "'infinity'", "'-infinity'"),
        ("-1e400", "'-infinity'", "'4713-01-01 BC'"),
    ] {
        execute(
            &mut c,
            &format!("UPDATE public.case_record SET amount = {amount}, rate = {rate}, made = {made}"),
        );
        assert_eq!(
            ask_in_context(&mut c, "case.comment", "{}"),
            Ok(true),
            "amount {amount}, rate {rate}, made {made}"
        );
    }
}

// == Conditions ==========================================================================================

#[test]
fn a_malformed_condition_is_refused_with_its_position() {
    let (_db, mut c) = world();
    make::role(&mut c, "guest", &[]);
    for (condition, position) in [
        ("context.level >", "line 1"),
        ("context.level > 3 &&", "line 1"),
        ("(context.level > 3", "line 1"),
        ("true ||\n  contxt.level > 3", "line 2, column 3"),
        ("principl.id == ''x''", "line 1, column 1"),
        ("context.level = 3", "line 1"),
        ("#", "line 1"),
        ("''open", "line 1"),
    ] {
        let sql = format!(
            "INSERT INTO authz.role_permission (role_code, permission_code, condition) VALUES ('guest', 'case.view', '{condition}')"
        );
        refused_with_hint(&mut c, &sql, "22023", &["condition", position]);
    }
    for hopeless in [
        "repeat('(', 3000) || 'true' || repeat(')', 3000)",
        "repeat('!', 3000) || 'true'",
        "repeat('a', 100000)",
    ] {
        refused(
            &mut c,
            &format!(
                "INSERT INTO authz.role_permission (role_code, permission_code, condition) SELECT 'guest', 'case.view', {hopeless}"
            ),
            "22023",
            &["condition"],
        );
    }
    // Nothing is no condition: leave it NULL.
    refused(
        &mut c,
        "INSERT INTO authz.role_permission (role_code, permission_code, condition) VALUES ('guest', 'case.view', ' ')",
        "22023",
        &["empty"],
    );
    // One bad row takes the good ones of its statement with it.
    refused(
        &mut c,
        "INSERT INTO authz.role_permission (role_code, permission_code, condition)
         VALUES ('guest', 'case.edit', 'true'), ('guest', 'case.view', 'context.level >')",
        "22023",
        &[],
    );
    assert_eq!(
        value::<i64>(
            &mut c,
            "SELECT count(*) FROM authz.role_permission WHERE role_code = 'guest'",
            &[]
        ),
        0
    );
    // As a replica too: what is stored is compiled here.
    execute(&mut c, "SET session_replication_role = replica");
    refused(
        &mut c,
        "INSERT INTO authz.role_permission (role_code, permission_code, condition) VALUES ('guest', 'case.view', 'context.level >')",
        "22023",
        &[],
    );
}

/// PITFALLS 7
#[test]
fn an_error_in_a_condition_is_false_and_is_told() {
    let (_db, mut c) = world();
    for (n, condition) in [
        "context.missing == 1",
        "1 / 0 == 1",
        "context",
        "'a' > 1",
        "resource.nothing == 'x'",
    ]
    .iter()
    .enumerate()
    {
        let role = format!("guest{n}");
        make::role(&mut c, &role, &[]);
        make::allow(&mut c, &role, "case.edit", Some(condition));
        let held = make::assign(&mut c, id("acme"), id("alice"), &role, "tenant", id("acme"));
        assert_eq!(
            reason(&mut c, id("alice"), "case.edit", id("affair")).as_deref(),
            Some("condition_failed"),
            "{condition}"
        );
        let explanation: Value = value(
            &mut c,
            "SELECT authz_explain($1::uuid, 'case.edit', $2::uuid)",
            &[&id("alice"), &id("affair")],
        );
        let text = explanation.to_string();
        assert!(
            text.contains("\"error\"") && text.contains(&Value::from(*condition).to_string()),
            "{condition}: {explanation:#}"
        );
        make::revoke(&mut c, held);
    }
}

// == Resource types ======================================================================================

#[test]
fn a_resource_type_that_does_not_fit_is_refused() {
    let (_db, mut c) = world();
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
    let (db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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

// == Rows ================================================================================================

/// R13
#[test]
fn cycles_are_refused_with_their_path() {
    let (_db, mut c) = world();
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
        let (db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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
    let (_db, mut c) = world();
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
