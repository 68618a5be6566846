//! Step 6: what gives a permission (R10, R13 to R15, R17).

use crate::{ask, text, world};
use authz_tests::execute;
use authz_tests::make::{self, id};

#[test]
fn step_6_assignments_on_every_scope_of_the_chain() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::case(c, acme, "mission");
    execute(
        c,
        &format!(
            "UPDATE public.case_record SET project_id = '{}' WHERE case_id = '{}'",
            text("apollo"),
            text("mission")
        ),
    );
    make::organization(c, acme, "elsewhere", None);
    for (kind, node, affair, mission) in [
        ("tenant", "acme", "allowed", "allowed"),
        ("organization", "firm", "allowed", "allowed"),
        ("organization", "branch", "allowed", "allowed"),
        ("organization", "elsewhere", "no_grant", "no_grant"),
        ("team", "crew", "allowed", "no_grant"),
        ("team", "squad", "allowed", "no_grant"),
        ("project", "apollo", "no_grant", "allowed"),
        ("case", "affair", "allowed", "no_grant"),
    ] {
        let held = make::assign(c, acme, id("alice"), "viewer", kind, id(node));
        ask("alice", "case.view", "affair").is(c, affair);
        ask("alice", "case.view", "mission").is(c, mission);
        make::revoke(c, held);
        ask("alice", "case.view", "affair").is(c, "no_grant");
    }
}

#[test]
fn step_6_scopes_are_resources() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(
        c,
        "officer",
        &["team.view", "organization.view", "project.view", "tenant.view"],
    );
    make::assign(c, acme, id("alice"), "officer", "organization", id("branch"));
    ask("alice", "organization.view", "branch").is(c, "allowed");
    ask("alice", "organization.view", "firm").is(c, "no_grant");
    ask("alice", "team.view", "squad").is(c, "allowed");
    ask("alice", "project.view", "apollo").is(c, "allowed");
    ask("alice", "tenant.view", "acme").is(c, "no_grant");
    ask("alice", "tenant.view", "globex").is(c, "outside_tenant");
    ask("alice", "tenant.view", "acme")
        .tenant("globex")
        .is(c, "resource_not_found");
}

#[test]
fn step_6_role_inheritance_and_implication_have_their_times() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "lead", &[]);
    make::role(c, "chief", &[]);
    make::inherit(c, "chief", "lead");
    make::assign(c, acme, id("alice"), "chief", "tenant", acme);
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::inherit(c, "lead", "editor");
    // edit implies comment, comment implies view; nothing implies admin.
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.role_inheritance SET valid_until = now() WHERE inherited_role_code = 'editor'",
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
    make::allow(c, "chief", "case.view", None);
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(
        c,
        "UPDATE authz.role_permission SET valid_until = now() WHERE role_code = 'chief'",
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
}

#[test]
fn step_6_grants_reach_down_and_imply() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    let grant = make::grant(
        c,
        acme,
        ("organization", id("firm")),
        ("principal", &text("alice")),
        "case.edit",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    make::revoke_grant(c, grant);
    ask("alice", "case.view", "affair").is(c, "no_grant");
    execute(
        c,
        &format!(
            "INSERT INTO authz.resource_access_grant (tenant_id, resource_type, resource_id, grantee_type, grantee_id,
                    permission_code, granted_at, expires_at)
             VALUES ('{acme}', 'case', '{}', 'principal', '{}', 'case.view', now() - interval '2 days',
                     now() - interval '1 day')",
            text("affair"),
            text("alice")
        ),
    );
    // Nobody has to clean up for an expired grant to end.
    ask("alice", "case.view", "affair").is(c, "no_grant");
}

#[test]
fn step_6_ownership() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    ask("alice", "case.view", "affair").is(c, "no_grant");
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'viewer' WHERE resource_type = 'case'",
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    // What the owner role says, no more.
    ask("alice", "case.edit", "affair").is(c, "no_grant");
    for owner in ["squad", "crew", "branch", "firm"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET owner_id = '{}'", text(owner)),
        );
        ask("alice", "case.view", "affair").is(c, "no_grant");
    }
    make::join_team(c, acme, id("squad"), id("alice"));
    for owner in ["squad", "crew", "branch", "firm"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET owner_id = '{}'", text(owner)),
        );
        ask("alice", "case.view", "affair").is(c, "allowed");
    }
    execute(c, "UPDATE authz.tenant_membership SET status = 'suspended'");
    ask("alice", "case.view", "affair").is(c, "outside_tenant");
}

#[test]
fn step_6_the_owner_role_counts_as_assigned_at_the_resource() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "holder", &["case.view", "document.view"]);
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'holder' WHERE resource_type = 'case'",
    );
    make::document(c, acme, "letter", Some(id("affair")));
    // An assignment at a case covers the documents in it; so does one that ownership of the case stands for.
    ask("alice", "document.view", "letter").is(c, "allowed");
    ask("alice", "document.edit", "letter").is(c, "no_grant");
}
