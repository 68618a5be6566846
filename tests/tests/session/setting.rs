//! Who may set a session, with what, and what a tenant in it means (R24).

use authz_tests::make::id;
use authz_tests::session::{is, is_nobody, may_view, principal, set, world};
use authz_tests::{execute, refused, refused_with_hint, value};
use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

#[test]
fn set_a_session_without_the_right_to() {
    let w = world();
    let mut c = w.role();
    refused(&mut c, &set("alice", true), "42501", &["authz_set_session"]);
    refused(&mut c, &set("alice", false), "42501", &["authz_set_session"]);
    is_nobody(&mut c);
}

#[test]
fn set_a_session_with_malformed_arguments() {
    let w = world();
    let mut c = w.app();
    refused_with_hint(&mut c, "SELECT authz_set_session(NULL)", "22023", &["principal"]);
    for context in ["[]", "1", "\"x\"", "null"] {
        let sql = format!("SELECT authz_set_session('{}', context => '{context}')", id("alice"));
        refused_with_hint(&mut c, &sql, "22023", &["context"]);
    }
    refused(&mut c, "SELECT authz_set_session('alice')", "22P02", &[]);
    is_nobody(&mut c);
    // NULL stands for the default.
    execute(&mut c, "BEGIN");
    execute(
        &mut c,
        &format!("SELECT authz_set_session('{}', NULL, NULL, NULL)", id("alice")),
    );
    is(&mut c, "alice");
    execute(&mut c, "COMMIT");
    is_nobody(&mut c);
}

#[test]
fn the_session_of_somebody_who_does_not_exist_may_do_nothing() {
    let w = world();
    let mut c = w.app();
    execute(&mut c, &set("nobody", false));
    assert_eq!(principal(&mut c), Some(id("nobody")));
    assert!(!may_view(&mut c, "affair"));
}

#[test]
fn context_survives_quotes_backslashes_nul_escapes_and_big_numbers() {
    let w = world();
    let mut c = w.app();
    let context = json!({"a": "'\"\\\n\u{1}\u{10ffff}", "b": {"c": [1, 2.5, -3, true, null]}, "": ""});
    c.execute(
        "SELECT authz_set_session($1, context => $2, is_local => false)",
        &[&id("alice"), &context],
    )
    .unwrap();
    let seen: Value = value(&mut c, "SELECT authz_context()", &[]);
    assert_eq!(seen, context);
    is(&mut c, "alice");
}

#[test]
fn a_session_that_names_a_tenant_sees_that_tenant_only() {
    let w = world();
    let mut c = w.app();
    let seen = |c: &mut Client, tenant: &str| -> (bool, bool) {
        execute(
            c,
            &format!("BEGIN; SELECT authz_set_session('{}', {tenant})", id("carol")),
        );
        let seen = (may_view(c, "affair"), may_view(c, "deal"));
        let named: Option<Uuid> = value(c, "SELECT authz_tenant()", &[]);
        assert_eq!(named.map_or("NULL".to_owned(), |t| format!("'{t}'")), tenant);
        // The same by keys as text.
        let text: bool = value(c, "SELECT authz_can('case.view', $1::uuid::text)", &[&id("deal")]);
        assert_eq!(text, seen.1);
        execute(c, "COMMIT");
        seen
    };
    assert_eq!(seen(&mut c, "NULL"), (true, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("acme"))), (true, false));
    assert_eq!(seen(&mut c, &format!("'{}'", id("globex"))), (false, true));
    assert_eq!(seen(&mut c, &format!("'{}'", id("elsewhere"))), (false, false));
}

#[test]
fn a_tenant_gives_nothing_to_those_who_are_no_members() {
    let w = world();
    let mut c = w.app();
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("globex")
        ),
    );
    assert!(!may_view(&mut c, "deal") && !may_view(&mut c, "affair"));
    execute(
        &mut c,
        &format!(
            "SELECT authz_set_session('{}', '{}', is_local => false)",
            id("alice"),
            id("acme")
        ),
    );
    assert!(!may_view(&mut c, "deal") && may_view(&mut c, "affair"));
}
