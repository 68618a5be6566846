//! Parents (R25), the select permission, the past (R18), NULL.

use crate::{Ask, ask, world};
use authz_tests::execute;
use authz_tests::make::{self, id};

#[test]
fn parents_are_asked_after_the_child() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::document(c, acme, "letter", Some(id("affair")));
    make::page(c, acme, "page 1", Some(id("letter")));
    make::role(c, "reader", &["page.view"]);
    let reads = make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    // The page would do, its document does not: the reason is the document's.
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::allow(c, "reader", "document.view", None);
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::allow(c, "reader", "case.view", None);
    ask("alice", "page.view", "page 1").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "page.view", "page 1").is(c, "resource_deleted");
    // The child's own reason comes first.
    ask("alice", "page.edit", "page 1").is(c, "no_grant");
    execute(c, "UPDATE public.case_record SET deleted_at = NULL");
    execute(
        c,
        "UPDATE public.case_document SET confidentiality_level = 'restricted'",
    );
    ask("alice", "page.view", "page 1").is(c, "confidentiality");
    execute(c, "UPDATE public.case_document SET confidentiality_level = 'normal'");
    // Given at the case, it covers what the case contains.
    make::revoke(c, reads);
    ask("alice", "page.view", "page 1").is(c, "no_grant");
    make::assign(c, acme, id("alice"), "reader", "case", id("affair"));
    ask("alice", "page.view", "page 1").is(c, "allowed");
    ask("alice", "document.view", "letter").is(c, "allowed");
    // A rule for every resource whose chain holds a document.
    make::rule(c, acme, "deny", 0, ("document", None), ("any", None), Some("page.view"));
    ask("alice", "page.view", "page 1").is(c, "explicit_deny");
    ask("alice", "document.view", "letter").is(c, "allowed");
}

#[test]
fn parents_that_are_missing_or_not_named() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "reader", &["page.view", "document.view", "case.view"]);
    make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    make::document(c, acme, "loose", None);
    make::document(c, acme, "orphan", Some(id("nothing")));
    make::case(c, id("globex"), "theirs");
    make::document(c, acme, "strayed", Some(id("theirs")));
    ask("alice", "document.view", "loose").is(c, "allowed");
    ask("alice", "document.view", "orphan").is(c, "resource_not_found");
    // A parent is looked for in the child's tenant only.
    ask("alice", "document.view", "strayed").is(c, "resource_not_found");
}

#[test]
fn a_select_permission_takes_the_place_of_view() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "reader", &["document.view", "case.comment"]);
    make::document(c, acme, "letter", Some(id("affair")));
    make::assign(c, acme, id("alice"), "reader", "tenant", acme);
    ask("alice", "document.view", "letter").is(c, "allowed");
    execute(
        c,
        "UPDATE authz.resource_type SET select_permission = 'case.edit' WHERE resource_type = 'case'",
    );
    ask("alice", "document.view", "letter").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.resource_type SET select_permission = 'case.comment' WHERE resource_type = 'case'",
    );
    ask("alice", "document.view", "letter").is(c, "allowed");
}

#[test]
fn the_past_is_answered_by_history() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    let held = make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    let mut now = || -> String {
        // Apart from each other and from every change, so that the order of events is plain.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let text: String = c.query_one("SELECT clock_timestamp()::text", &[]).unwrap().get(0);
        std::thread::sleep(std::time::Duration::from_millis(5));
        format!("'{text}'")
    };
    let allowed = now();
    let mut other = _db.connect();
    execute(&mut other, "UPDATE authz.principal SET status = 'suspended'");
    let suspended = now();
    execute(&mut other, "UPDATE authz.principal SET status = 'active'");
    execute(&mut other, "UPDATE authz.tenant_membership SET status = 'suspended'");
    let outside = now();
    execute(&mut other, "UPDATE authz.tenant_membership SET status = 'active'");
    make::revoke(&mut other, held);
    let revoked = now();
    make::assign(&mut other, acme, id("alice"), "viewer", "tenant", acme);

    let at = |at| Ask {
        at,
        ..ask("alice", "case.view", "affair")
    };
    at("NULL").is(c, "allowed");
    at(&allowed).is(c, "allowed");
    at(&suspended).is(c, "principal_inactive");
    at(&outside).is(c, "outside_tenant");
    at(&revoked).is(c, "no_grant");
    at("'2001-01-01'").is(c, "principal_inactive");
}

#[test]
fn null_is_a_deny() {
    let (_db, mut client) = world();
    let c = &mut client;
    for arguments in [
        "NULL::uuid, 'case.view', $1::uuid",
        "$1::uuid, NULL::text, $1::uuid",
        "$1::uuid, 'case.view', NULL::uuid",
        "NULL::uuid, NULL::text, NULL::uuid",
    ] {
        let row = c
            .query_one(&format!("SELECT authz_can({arguments}), $1::uuid"), &[&id("affair")])
            .unwrap();
        assert_eq!(row.get::<_, Option<bool>>(0), Some(false), "authz_can({arguments})");
    }
    let allowed: Vec<Option<bool>> = c
        .query(
            "SELECT (oracle.decide(NULL, 'case.view', $1::uuid::text)).allowed
             UNION ALL SELECT (oracle.decide($1, 'case.view', NULL)).allowed
             UNION ALL SELECT (oracle.decide($1, NULL, $1::uuid::text)).allowed",
            &[&id("affair")],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(allowed, [Some(false); 3]);
}
