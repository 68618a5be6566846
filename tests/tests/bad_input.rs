//! Wrong questions and conditions: each is refused or denied as the documents say, and tells what to do. Wrong
//! registrations are in `bad_registration.rs`, wrong rows in `bad_rows`.

use authz_tests::make::{self, can, id, reason};
use authz_tests::{execute, refused, refused_with_hint, report, value};
use postgres::Client;
use serde_json::Value;

// == Questions ===========================================================================================

#[test]
fn an_unknown_permission_is_an_error_with_the_nearest_code() {
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
    let (_db, mut c) = make::acme();
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
