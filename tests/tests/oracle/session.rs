//! Step 6: privileged sessions (R31).

use crate::{ask, text, world};
use authz_tests::execute;
use authz_tests::make::{self, id};
use postgres::Client;

fn session(c: &mut Client, kind: &str, principal: &str, scope: &str, more: &str) {
    execute(
        c,
        &format!(
            "INSERT INTO authz.privileged_access_session (session_kind, principal_id, access_reason, ticket_reference,
                    started_at, expires_at, tenant_id, scope_type, scope_id, approved_by, approved_at, includes_sensitive)
             VALUES ('{kind}', '{}', 'fire', 'T-1', now() - interval '1 minute', now() + interval '1 hour', {scope}, {more})",
            text(principal)
        ),
    );
}

#[test]
fn step_6_break_glass() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    make::principal(c, "boss");
    session(
        c,
        "break_glass",
        "alice",
        &format!("'{}', NULL, NULL", id("acme")),
        "NULL, NULL, false",
    );
    ask("alice", "case.admin", "affair").is(c, "allowed");
    ask("alice", "tenant.view", "globex").is(c, "outside_tenant");
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.admin", "affair").is(c, "allowed");
    execute(
        c,
        "UPDATE public.case_record SET deleted_at = NULL, confidentiality_level = 'sealed'",
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(c, "UPDATE authz.privileged_access_session SET ended_at = now()");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    session(
        c,
        "break_glass",
        "alice",
        &format!("'{}', NULL, NULL", id("acme")),
        &format!("'{}', now(), true", text("boss")),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_6_support_reads_within_its_scope() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    make::case(c, id("acme"), "other");
    session(
        c,
        "support",
        "alice",
        &format!("'{}', 'organization', '{}'", id("acme"), text("firm")),
        "NULL, NULL, false",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    ask("alice", "case.view", "other").is(c, "outside_tenant");
    execute(
        c,
        "UPDATE authz.permission_definition SET access_mode = 'read' WHERE permission_code = 'case.comment'",
    );
    ask("alice", "case.comment", "affair").is(c, "allowed");
    // No view_deleted: `auto` reads view, read and list only.
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
    execute(
        c,
        "UPDATE public.case_record SET deleted_at = NULL, confidentiality_level = 'restricted'",
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
}

#[test]
fn step_6_a_session_without_tenant_and_scope_is_for_the_platform() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    session(c, "support", "alice", "NULL, NULL, NULL", "NULL, NULL, false");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "tenant.view", "globex").is(c, "allowed");
}
