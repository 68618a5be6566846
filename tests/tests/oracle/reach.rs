//! Steps 1 to 4: the principal, the resource, the tenant, soft deletion (R20, R26).

use crate::{ask, text, world};
use authz_tests::execute;
use authz_tests::make::{self, id};

#[test]
fn step_1_the_principal() {
    let (_db, mut client) = world();
    let c = &mut client;
    ask("nobody", "case.view", "affair").is(c, "principal_inactive");
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    for status in ["suspended", "locked", "disabled"] {
        execute(c, &format!("UPDATE authz.principal SET status = '{status}'"));
        // It comes first: nothing is told of what does not exist.
        ask("alice", "case.view", "nothing").is(c, "principal_inactive");
        ask("alice", "case.view", "affair").is(c, "principal_inactive");
    }
    execute(
        c,
        "UPDATE authz.principal SET status = 'active', locked_until = now() + interval '1 hour'",
    );
    ask("alice", "case.view", "affair").is(c, "principal_inactive");
    execute(c, "UPDATE authz.principal SET locked_until = now() - interval '1 hour'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(
        c,
        "INSERT INTO authz.account_security (principal_id, locked_until)
         SELECT principal_id, now() + interval '1 hour' FROM authz.principal",
    );
    ask("alice", "case.view", "affair").is(c, "principal_inactive");
}

#[test]
fn step_2_the_resource() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "nothing").is(c, "resource_not_found");
    ask("alice", "case.view", "affair").tenant("acme").is(c, "allowed");
    ask("alice", "case.view", "affair")
        .tenant("globex")
        .is(c, "resource_not_found");
    // The permission says where to look: no document has this key.
    ask("alice", "document.view", "affair").is(c, "resource_not_found");
    make::case(c, id("globex"), "affair");
    ask("alice", "case.view", "affair").is(c, "resource_not_found");
    ask("alice", "case.view", "affair").tenant("acme").is(c, "allowed");
    ask("alice", "case.view", "affair")
        .tenant("globex")
        .is(c, "outside_tenant");
}

#[test]
fn step_2_a_row_without_tenant_belongs_to_the_platform() {
    let (_db, mut client) = world();
    let c = &mut client;
    execute(
        c,
        &format!(
            "INSERT INTO public.case_record (tenant_id, case_id, owning_team_id) VALUES (NULL, '{}', '{}')",
            text("stray"),
            text("squad")
        ),
    );
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "team", id("squad"));
    ask("alice", "case.view", "stray").is(c, "outside_tenant");
    make::principal(c, "root");
    make::assign_platform(c, id("root"), "viewer");
    ask("root", "case.view", "stray").is(c, "allowed");
    ask("root", "case.view", "stray")
        .tenant("acme")
        .is(c, "resource_not_found");
}

#[test]
fn step_3_the_tenant() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::principal(c, "alice");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    make::join(c, id("acme"), id("alice"));
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    execute(c, "UPDATE authz.tenant_membership SET status = 'active'");
    execute(c, "UPDATE authz.tenant SET status = 'suspended' WHERE slug = 'acme'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
    // A platform role opens any tenant, but only for the permissions that it has, those that it implies included.
    make::principal(c, "root");
    make::assign_platform(c, id("root"), "editor");
    ask("root", "case.comment", "affair").is(c, "allowed");
    ask("root", "case.admin", "affair").is(c, "outside_tenant");
}

#[test]
fn step_3_what_a_suspended_membership_left_behind_gives_nothing() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "editor", "tenant", acme);
    make::grant(c, acme, ("case", affair), ("principal", &text("alice")), "case.admin");
    make::rule(
        c,
        acme,
        "deny",
        1,
        ("case", Some(affair)),
        ("any", None),
        Some("case.view"),
    );
    make::rule(
        c,
        acme,
        "allow",
        2,
        ("case", Some(affair)),
        ("principal", Some(&text("alice"))),
        Some("case.view"),
    );
    make::assign_platform(c, id("alice"), "viewer");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "allowed");
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    // The platform role still brings it in, but the allow rule no longer outweighs the deny.
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    ask("alice", "case.edit", "affair").is(c, "outside_tenant");
    execute(
        c,
        "UPDATE authz.resource_access_rule SET valid_until = now() WHERE effect = 'deny'",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_4_soft_deletion() {
    let (_db, mut client) = world();
    let c = &mut client;
    make::member(c, id("acme"), "alice");
    make::assign(c, id("acme"), id("alice"), "viewer", "tenant", id("acme"));
    execute(c, "UPDATE public.case_record SET deleted_at = now()");
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
    // It comes before rules and grants.
    ask("alice", "case.edit", "affair").is(c, "resource_deleted");
    make::allow(c, "viewer", "case.view_deleted", None);
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    make::rule(
        c,
        id("acme"),
        "deny",
        0,
        ("tenant", None),
        ("any", None),
        Some("case.view_deleted"),
    );
    ask("alice", "case.view", "affair").is(c, "resource_deleted");
}
