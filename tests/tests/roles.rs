//! Roles and permissions are data: which permissions there are (R11), what a role gives with what it inherits and what
//! that implies (R13, R14). Cycles are in `bad_rows`, decisions in `oracle`.

use authz_tests::make::{self, can, id};
use authz_tests::{Db, execute, refused};
use postgres::Client;

#[test]
fn r11_a_permission_is_its_type_and_action_and_is_there_once() {
    let db = Db::new();
    let mut c = db.connect();
    let define = |code: &str, of: &str, action: &str| {
        format!(
            "INSERT INTO authz.permission_definition (permission_code, resource_type, action_code)
             VALUES ('{code}', '{of}', '{action}')"
        )
    };
    execute(&mut c, &define("invoice.pay", "invoice", "pay"));
    refused(
        &mut c,
        &define("invoice.pay", "invoice", "pay"),
        "23505",
        &["invoice.pay"],
    );
    for (code, of, action) in [
        ("invoice.settle", "invoice", "pay"),
        ("Invoice.pay", "invoice", "pay"),
        ("invoice.", "invoice", ""),
        (".pay", "", "pay"),
        (" invoice.pay", " invoice", "pay"),
    ] {
        refused(&mut c, &define(code, of, action), "23514", &["permission_definition"]);
    }
    // Byte by byte: another case is another permission (PITFALLS 5).
    execute(&mut c, &define("invoice.Pay", "invoice", "Pay"));
}

fn content(c: &mut Client, role: &str) -> Vec<String> {
    c.query(
        "SELECT permission_code || CASE WHEN conditional THEN ' if' ELSE '' END
           FROM authz.role_content WHERE role_code = $1 ORDER BY permission_code",
        &[&role],
    )
    .unwrap()
    .iter()
    .map(|row| row.get(0))
    .collect()
}

#[test]
fn r13_r14_what_a_role_gives_is_listed_with_what_it_inherits_and_implies() {
    let db = Db::new();
    let mut c = db.connect();
    let acme = make::tenant(&mut c, "acme");
    let alice = make::member(&mut c, acme, "alice");
    make::case(&mut c, acme, "affair");
    make::role(&mut c, "guest", &["team.view"]);
    make::role(&mut c, "clerk", &["case.edit"]);
    make::allow(&mut c, "clerk", "document.view", Some("context.mfa == true"));
    make::role(&mut c, "chief", &["tenant.view"]);
    make::inherit(&mut c, "chief", "clerk");
    make::inherit(&mut c, "clerk", "guest");
    make::assign(&mut c, acme, alice, "chief", "tenant", acme);
    let clerk = [
        "case.comment",
        "case.edit",
        "case.view",
        "document.view if",
        "team.view",
    ];
    assert_eq!(content(&mut c, "guest"), ["team.view"]);
    assert_eq!(content(&mut c, "clerk"), clerk);
    assert_eq!(content(&mut c, "chief"), [clerk.as_slice(), &["tenant.view"]].concat());
    assert!(can(&mut c, alice, "case.view", id("affair")));
    // A way without a condition makes that with one moot.
    make::allow(&mut c, "guest", "document.view", None);
    assert_eq!(content(&mut c, "chief")[3], "document.view");
    execute(
        &mut c,
        "UPDATE authz.role_inheritance SET valid_until = now() WHERE role_code = 'chief'",
    );
    assert_eq!(content(&mut c, "chief"), ["tenant.view"]);
    assert!(!can(&mut c, alice, "case.view", id("affair")));
}
