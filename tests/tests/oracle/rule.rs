//! Step 5: rules, whom they address, and which of them wins (R16).

use crate::{ask, text, world};
use authz_tests::execute;
use authz_tests::make::{self, id};

#[test]
fn step_5_priorities_and_ties() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "editor", "tenant", acme);
    let alice = text("alice");
    make::rule(
        c,
        acme,
        "deny",
        5,
        ("team", Some(id("crew"))),
        ("principal", Some(&alice)),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    // Implication does not widen rules.
    ask("alice", "case.comment", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "allow",
        5,
        ("case", Some(affair)),
        ("principal", Some(&alice)),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    make::rule(
        c,
        acme,
        "allow",
        6,
        ("organization", None),
        ("any", None),
        Some("case.view"),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    make::rule(c, acme, "deny", 7, ("case", None), ("any", None), None);
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
    ask("alice", "case.comment", "affair").is(c, "explicit_deny");
    // The chain of a team holds no case.
    make::allow(c, "editor", "team.view", None);
    ask("alice", "team.view", "squad").is(c, "allowed");
}

#[test]
fn step_5_a_deny_is_absolute() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::assign_platform(c, id("alice"), "viewer");
    execute(
        c,
        &format!(
            "INSERT INTO authz.privileged_access_session
                    (session_kind, principal_id, access_reason, ticket_reference, started_at, expires_at)
             VALUES ('break_glass', '{}', 'fire', 'T-1', now() - interval '1 minute', now() + interval '1 hour')",
            text("alice")
        ),
    );
    make::rule(c, acme, "deny", 0, ("case", Some(affair)), ("any", None), None);
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
}

#[test]
fn subjects_nest() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::join_team(c, acme, id("squad"), id("alice"));
    // squad is in crew, crew is branch's, branch is in firm: what is given to any of them is given to alice.
    for (kind, name) in [
        ("team", "squad"),
        ("team", "crew"),
        ("organization", "branch"),
        ("organization", "firm"),
    ] {
        ask("alice", "case.view", "affair").is(c, "no_grant");
        let grant = make::grant(c, acme, ("case", affair), (kind, &text(name)), "case.view");
        ask("alice", "case.view", "affair").is(c, "allowed");
        make::revoke_grant(c, grant);
    }
    // What is denied to the whole is denied to its parts.
    make::grant(c, acme, ("case", affair), ("principal", &text("alice")), "case.view");
    make::rule(
        c,
        acme,
        "deny",
        0,
        ("case", Some(affair)),
        ("organization", Some(&text("firm"))),
        None,
    );
    ask("alice", "case.view", "affair").is(c, "explicit_deny");
}

#[test]
fn subjects_by_role() {
    let (_db, mut client) = world();
    let c = &mut client;
    let (acme, affair) = (id("acme"), id("affair"));
    make::member(c, acme, "alice");
    make::role(c, "lead", &[]);
    make::inherit(c, "lead", "viewer");
    make::grant(c, acme, ("case", affair), ("role", "viewer"), "case.admin");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // Held anywhere in the tenant, even where the case is not.
    let held = make::assign(c, acme, id("alice"), "lead", "project", id("apollo"));
    ask("alice", "case.admin", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "deny",
        0,
        ("case", Some(affair)),
        ("role", Some("viewer")),
        Some("case.admin"),
    );
    ask("alice", "case.admin", "affair").is(c, "explicit_deny");
    // The one exception to monotony: closing an assignment lifts what was denied to the role.
    make::revoke(c, held);
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // A role in another tenant counts there only; one at platform scope counts everywhere.
    make::join(c, id("globex"), id("alice"));
    make::assign(c, id("globex"), id("alice"), "lead", "tenant", id("globex"));
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    make::assign_platform(c, id("alice"), "lead");
    ask("alice", "case.admin", "affair").is(c, "explicit_deny");
    ask("alice", "case.edit", "affair").is(c, "allowed");
}
