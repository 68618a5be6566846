//! Step 5: rules, what they address, and which of them wins (R16).

use crate::common::{Policy, id};
use crate::{common, reader};
use authz_engine::Reason::{Allowed, ExplicitDeny, NoGrant};
use authz_engine::name::{Permission, Role};
use authz_engine::role::Gives;
use authz_engine::subject::Grantee;
use authz_engine::{Composition, Model};

#[test]
fn a_deny_overrides_role_owner_grant_and_break_glass() {
    let mut p = reader();
    p.resource_type().owner_role = Some(p.names.role("reader"));
    p.it().owner = Some(common::principal());
    p.grant("principal", "case.view", "case:1");
    p.assign("reader", "platform");
    p.session(true).includes_sensitive = true;
    assert_eq!(p.ask("case.view"), Allowed);
    p.deny("any", "case.view", "case:1", i32::MIN);
    assert_eq!(p.ask("case.view"), ExplicitDeny);
}

#[test]
fn the_highest_priority_wins_and_a_tie_is_a_deny() {
    for (allow, deny, reason) in [
        (2, 1, Allowed),
        (1, 2, ExplicitDeny),
        (1, 1, ExplicitDeny),
        (-1, -2, Allowed),
    ] {
        for allow_first in [true, false] {
            let mut p = Policy::new();
            for is_allow in [allow_first, !allow_first] {
                match is_allow {
                    // The distance of a rule is nothing, its priority everything.
                    true => p.allow("principal", "case.view", "tenant:1", allow),
                    false => p.deny("principal", "case.view", "case:1", deny),
                };
            }
            assert_eq!(p.ask("case.view"), reason, "allow {allow}, deny {deny}");
        }
    }
}

#[test]
fn a_winning_allow_gives_and_a_losing_one_does_not_decide() {
    let mut p = Policy::new();
    p.allow("principal", "case.view", "case:1", 1);
    p.deny("principal", "case.view", "case:1", 5);
    assert_eq!(p.ask("case.view"), ExplicitDeny);
    let winner = p.allow("principal", "case.view", "tenant:1", 9);
    assert_eq!(p.ask("case.view"), Allowed);
    let e = p.explain("case.view");
    assert_eq!(
        e.binding().unwrap().id,
        Some(winner),
        "not the nearer rule, which lost to the deny"
    );
}

#[test]
fn a_rule_without_permission_is_about_every_permission() {
    let mut p = reader();
    let rule = p.deny("principal", "*", "team:2", 1);
    assert_eq!((p.ask("case.view"), p.ask("case.edit")), (ExplicitDeny, ExplicitDeny));
    p.rows.retain(|r| r.id != rule);
    p.allow("principal", "*", "team:2", 1);
    p.permission("case.close");
    assert_eq!(p.ask("case.close"), Allowed);
}

#[test]
fn implication_does_not_widen_rules() {
    let mut p = Policy::new();
    p.implies("case.edit", "case.view");
    p.allow("principal", "case.edit", "case:1", 1);
    assert_eq!((p.ask("case.edit"), p.ask("case.view")), (Allowed, NoGrant));
    let mut p = reader();
    p.implies("case.edit", "case.view");
    p.deny("principal", "case.edit", "case:1", 1);
    assert_eq!((p.ask("case.edit"), p.ask("case.view")), (ExplicitDeny, Allowed));
    p.deny("principal", "case.view", "case:1", 1);
    assert_eq!(p.ask("case.view"), ExplicitDeny);
}

#[test]
fn a_rule_may_be_about_every_resource_whose_chain_has_a_type() {
    for (at, reason) in [
        ("case:*", ExplicitDeny),
        ("project:*", ExplicitDeny),
        ("tenant:*", ExplicitDeny),
        ("document:*", Allowed),
    ] {
        let mut p = reader();
        p.deny("principal", "case.view", at, 1);
        assert_eq!(p.ask("case.view"), reason, "{at}");
    }
}

#[test]
fn rules_reach_along_the_chain_and_no_further() {
    for at in [
        "case:1",
        "team:1",
        "team:2",
        "project:1",
        "organization:1",
        "organization:2",
        "tenant:1",
    ] {
        let mut p = reader();
        p.deny("principal", "case.view", at, 1);
        assert_eq!(p.ask("case.view"), ExplicitDeny, "{at}");
    }
    for at in ["case:2", "team:3", "tenant:2"] {
        let mut p = reader();
        p.deny("principal", "case.view", at, 1);
        assert_eq!(p.ask("case.view"), Allowed, "{at}");
    }
}

#[test]
fn legal_hold_addresses_everybody() {
    let mut p = reader();
    p.assign("reader", "platform");
    let hold = p.deny("any", "case.edit", "case:1", 1_000);
    assert_eq!((p.ask("case.edit"), p.ask("case.view")), (ExplicitDeny, Allowed));
    let e = p.explain("case.edit");
    let binding = e.binding().unwrap();
    assert_eq!((binding.id, binding.grantee), (Some(hold), Some(Grantee::Any)));
    assert_eq!(
        p.remedy("case.edit").unwrap(),
        format!("rule {hold} must be closed, or an allow of a higher priority than 1000 added")
    );
    p.rows[0].tenant = id("tenant:2");
    assert_eq!(p.ask("case.edit"), Allowed, "another tenant's hold is not ours");
}

#[test]
fn rules_address_what_a_principal_is_part_of() {
    for (grantee, part) in [
        ("principal", true),
        ("team:1", true),
        ("team:2", true),
        ("organization:1", true),
        ("organization:2", true),
        ("role:reader", true),
        ("role:junior", true),
        ("team:3", false),
        ("organization:3", false),
        ("role:other", false),
    ] {
        let mut p = reader();
        p.inherits("reader", "junior");
        p.team("team:1 team:2 organization:1 organization:2");
        let rule = p.deny(grantee, "case.view", "case:1", 1);
        assert_eq!(
            p.ask("case.view"),
            if part { ExplicitDeny } else { Allowed },
            "{grantee}"
        );
        p.rows.retain(|r| r.id != rule);
        p.permission("case.close");
        p.grant(grantee, "case.close", "case:1");
        assert_eq!(p.ask("case.close"), if part { Allowed } else { NoGrant }, "{grantee}");
    }
}

#[test]
fn a_role_counts_as_subject_in_its_own_tenant_or_from_the_platform() {
    let mut p = reader();
    p.deny("role:visitor", "case.view", "case:1", 1);
    p.names.role("visitor");
    p.in_tenant("tenant:2").assign("visitor", "tenant:2");
    assert_eq!(p.ask("case.view"), Allowed);
    p.assign("visitor", "platform");
    assert_eq!(p.ask("case.view"), ExplicitDeny);
}

#[test]
fn a_role_is_a_subject_wherever_in_the_tenant_it_is_held() {
    let mut p = reader();
    p.deny("role:visitor", "case.view", "case:1", 1);
    p.assign("visitor", "case:77");
    assert_eq!(p.ask("case.view"), ExplicitDeny);
}

#[test]
fn a_role_that_the_model_has_never_heard_of_can_be_denied() {
    let p = reader();
    let model = Model::compile(p.names.clone(), p.facts.clone());
    let composition = Composition::compile(&model, p.at);
    let newcomer = Role(4_000);
    assert_eq!(composition.roles_of(newcomer).collect::<Vec<_>>(), [newcomer]);
    assert_eq!(composition.gives(newcomer, Permission(0)), Gives::No);
}

#[test]
fn a_row_counts_only_while_its_subject_does() {
    let mut p = Policy::new();
    p.during(50, 150).team("team:1 organization:1");
    p.during(100, 300).grant("team:1", "case.view", "case:1");
    for (at, reason) in [(99, NoGrant), (100, Allowed), (149, Allowed), (150, NoGrant)] {
        p.at = at;
        assert_eq!(p.ask("case.view"), reason, "at {at}");
    }
    p.during(200, 250).team("team:1 organization:1");
    p.at = 220;
    assert_eq!(p.ask("case.view"), Allowed, "a second membership");
}
