//! Steps 7 to 9: confidentiality, clearance, conditions, the second factor (R6, R12).

use crate::{ask, text, world};
use authz_tests::execute;
use authz_tests::make::{self, id};
use serde_json::json;

#[test]
fn step_7_confidentiality() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    execute(
        c,
        &format!("UPDATE public.case_record SET owner_id = '{}'", text("alice")),
    );
    execute(
        c,
        "UPDATE authz.resource_type SET owner_role = 'editor' WHERE resource_type = 'case'",
    );
    make::role(c, "insider", &["case.view_restricted"]);
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    for level in ["'restricted'", "'sealed'", "'secret'", "NULL"] {
        execute(
            c,
            &format!("UPDATE public.case_record SET confidentiality_level = {level}"),
        );
        // Neither the role nor ownership reaches in.
        ask("alice", "case.view", "affair").is(c, "confidentiality");
        ask("alice", "case.admin", "affair").is(c, "no_grant");
    }
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    make::assign(c, acme, id("alice"), "insider", "team", id("squad"));
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'sealed'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    // By a winning allow rule, then by none: a deny of the privilege takes it away.
    make::rule(
        c,
        acme,
        "allow",
        1,
        ("case", None),
        ("any", None),
        Some("case.view_sealed"),
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    make::rule(
        c,
        acme,
        "deny",
        1,
        ("case", None),
        ("any", None),
        Some("case.view_sealed"),
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
}

#[test]
fn step_7_clearance() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "insider", &["case.view", "case.view_restricted", "case.view_sealed"]);
    make::assign(c, acme, id("alice"), "insider", "tenant", acme);
    execute(
        c,
        r#"UPDATE authz.resource_type SET clearance = '{"restricted": "L2"}' WHERE resource_type = 'case'"#,
    );
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(
        c,
        &format!(
            "INSERT INTO authz.operator_profile (principal_id, operator_role, clearance_level) VALUES ('{}', 'SOC Analyst', 'L1')",
            text("alice")
        ),
    );
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    execute(c, "UPDATE authz.operator_profile SET clearance_level = 'L3'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'sealed'");
    execute(c, "UPDATE authz.operator_profile SET clearance_level = 'L1'");
    ask("alice", "case.view", "affair").is(c, "allowed");
}

#[test]
fn step_8_conditions() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "guest", &[]);
    make::allow(c, "guest", "case.edit", Some("context.region == 'eu'"));
    make::assign(c, acme, id("alice"), "guest", "tenant", acme);
    // A missing attribute is an error, and an error is false.
    ask("alice", "case.view", "affair").is(c, "condition_failed");
    ask("alice", "case.view", "affair")
        .context(json!({"region": "us"}))
        .is(c, "condition_failed");
    ask("alice", "case.view", "affair")
        .context(json!({"region": "eu"}))
        .is(c, "allowed");
    ask("alice", "case.admin", "affair").is(c, "no_grant");
    // Another way without condition is enough.
    make::role(c, "other", &[]);
    make::inherit(c, "guest", "other");
    make::allow(c, "other", "case.view", Some("resource.title == 'alpha'"));
    ask("alice", "case.view", "affair").is(c, "condition_failed");
    execute(c, "UPDATE public.case_record SET title = 'alpha'");
    ask("alice", "case.view", "affair").is(c, "allowed");
    ask("alice", "case.comment", "affair").is(c, "condition_failed");
    make::allow(c, "other", "case.comment", None);
    ask("alice", "case.comment", "affair").is(c, "allowed");
}

#[test]
fn step_8_conditions_of_what_steps_4_and_7_ask_for() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::assign(c, acme, id("alice"), "viewer", "tenant", acme);
    make::allow(c, "viewer", "case.view_restricted", Some("has(context.ticket)"));
    execute(c, "UPDATE public.case_record SET confidentiality_level = 'restricted'");
    ask("alice", "case.view", "affair").is(c, "confidentiality");
    ask("alice", "case.view", "affair")
        .context(json!({"ticket": "T-1"}))
        .is(c, "allowed");
}

#[test]
fn step_9_mfa() {
    let (_db, mut client) = world();
    let c = &mut client;
    let acme = id("acme");
    make::member(c, acme, "alice");
    make::role(c, "judge", &["case.approve"]);
    make::assign(c, acme, id("alice"), "judge", "tenant", acme);
    let used = json!({"mfa": true});
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "mfa_required");
    execute(
        c,
        &format!(
            "INSERT INTO authz.account_security (principal_id, mfa_enabled) VALUES ('{}', true)",
            text("alice")
        ),
    );
    ask("alice", "case.approve", "affair").is(c, "mfa_required");
    ask("alice", "case.approve", "affair")
        .context(json!({"mfa": "true"}))
        .is(c, "mfa_required");
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "allowed");
    execute(c, "UPDATE authz.account_security SET mfa_enabled = false");
    ask("alice", "case.approve", "affair")
        .context(used.clone())
        .is(c, "mfa_required");
    execute(
        c,
        &format!(
            "INSERT INTO authz.operator_profile (principal_id, operator_role, mfa_enabled) VALUES ('{}', 'MDR Lead', true)",
            text("alice")
        ),
    );
    ask("alice", "case.approve", "affair").context(used).is(c, "allowed");
}
