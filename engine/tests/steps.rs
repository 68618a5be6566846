//! Each of the nine steps, and each line of the small print of `docs/decision-rule.md` (R6, R10, R12 to R18, R25, R26).

mod common;

use authz_engine::Reason::{
    Allowed, ConditionFailed, ExplicitDeny, MfaRequired, NoGrant, OutsideTenant, PrincipalInactive, ResourceDeleted,
    ResourceNotFound,
};
use authz_engine::explain::{Origin, STEPS, grantee};
use authz_engine::name::{Permission, Role};
use authz_engine::resource::{Confidentiality, Parent};
use authz_engine::role::Gives;
use authz_engine::subject::Grantee;
use authz_engine::{Composition, Interval, Model, Reason};
use common::{Policy, id, node, nodes};
use serde_json::json;

/// A member whose team has `case.view` and `case.edit` at `case:1`.
fn reader() -> Policy {
    let mut p = Policy::new();
    p.role("reader", &["case.view", "case.edit"]);
    p.assign("reader", "team:1");
    p
}

/// The note of a step of the part at hand.
fn note(p: &Policy, permission: &str, part: usize, step: usize) -> String {
    p.explain(permission).parts[part].steps[step - 1].note.clone()
}

// Step 1

#[test]
fn an_unknown_principal_is_inactive() {
    let mut p = reader();
    p.principal = None;
    assert_eq!(p.ask("case.view"), PrincipalInactive);
    assert_eq!(note(&p, "case.view", 0, 1), "no such principal");
}

#[test]
fn a_principal_is_active_in_its_intervals() {
    let mut p = reader();
    p.who().active = vec![Interval::new(0, 50), Interval::new(100, 200)];
    for (at, reason) in [
        (-1, PrincipalInactive),
        (0, Allowed),
        (49, Allowed),
        (50, PrincipalInactive),
        (99, PrincipalInactive),
        (100, Allowed),
        (199, Allowed),
        (200, PrincipalInactive),
    ] {
        p.at = at;
        assert_eq!(p.ask("case.view"), reason, "at {at}");
    }
}

#[test]
fn a_lock_ends() {
    let mut p = reader();
    p.who().locked_until = Some(p.at + 1);
    assert_eq!(p.ask("case.view"), PrincipalInactive);
    p.who().locked_until = Some(p.at);
    assert_eq!(p.ask("case.view"), Allowed);
}

#[test]
fn nothing_helps_the_suspended() {
    let mut p = reader();
    p.assign("reader", "platform");
    p.session(true).includes_sensitive = true;
    p.allow("principal", "*", "tenant:1", 100);
    p.who().active.clear();
    assert_eq!(p.ask("case.view"), PrincipalInactive);
}

// Step 2

#[test]
fn what_is_not_there_is_not_found() {
    let mut p = reader();
    p.resource = Err("found in two tenants: pass the tenant");
    assert_eq!(p.ask("case.view"), ResourceNotFound);
    assert_eq!(p.remedy("case.view").unwrap(), "found in two tenants: pass the tenant");
}

#[test]
fn the_chain_is_shown_from_the_platform_inwards() {
    let shown = note(&reader(), "case.view", 0, 2);
    assert!(shown.starts_with("scope chain: platform > tenant:"), "{shown}");
    assert!(shown.contains(" > case:"), "{shown}");
}

// Step 3

#[test]
fn outside_without_membership() {
    let mut p = reader();
    p.who().memberships.clear();
    assert_eq!(p.ask("case.view"), OutsideTenant);
    p.who().memberships = vec![(id("tenant:2"), Interval::ALWAYS)];
    assert_eq!(p.ask("case.view"), OutsideTenant);
    p.who().memberships = vec![(id("tenant:1"), Interval::new(0, p.at))];
    assert_eq!(p.ask("case.view"), OutsideTenant);
}

#[test]
fn members_of_many_tenants_are_members() {
    let mut p = reader();
    p.who().memberships = (1..40)
        .map(|n| (id(&format!("tenant:{n}")), Interval::ALWAYS))
        .collect();
    p.who().memberships.push((id("tenant:1"), Interval::new(0, 10)));
    assert_eq!(p.ask("case.view"), Allowed);
    p.who().memberships.retain(|(tenant, _)| *tenant != id("tenant:1"));
    assert_eq!(p.ask("case.view"), OutsideTenant);
}

#[test]
fn a_platform_role_enters_with_its_permission_only() {
    let mut p = Policy::new();
    p.role("auditor", &["case.view"]);
    p.permission("case.edit");
    p.who().memberships.clear();
    p.assign("auditor", "platform");
    assert_eq!(p.ask("case.view"), Allowed);
    assert_eq!(p.ask("case.edit"), OutsideTenant);
}

#[test]
fn entering_by_a_platform_role_revives_nothing_of_the_tenant() {
    let mut p = reader();
    p.role("auditor", &["case.view"]);
    p.role_if("auditor", "case.edit", "false");
    p.role("owner", &["case.edit"]);
    p.assign("auditor", "platform");
    p.resource_type().owner_role = Some(Role(p.names.roles.get("owner").unwrap()));
    p.it().owner = Some(common::principal());
    p.grant("principal", "case.edit", "case:1");
    p.allow("principal", "case.edit", "case:1", 5);
    assert_eq!(p.ask("case.edit"), Allowed, "while the membership lasts");
    p.who().memberships.clear();
    assert_eq!(p.ask("case.view"), Allowed, "by the platform role");
    assert_eq!(
        p.ask("case.edit"),
        ConditionFailed,
        "the platform role gives it conditionally, the rest is gone"
    );
}

#[test]
fn denies_hold_for_those_who_enter_from_outside() {
    let mut p = Policy::new();
    p.role("auditor", &["case.view"]);
    p.assign("auditor", "platform");
    p.who().memberships.clear();
    let rule = p.deny("role:auditor", "case.view", "tenant:1", 0);
    assert_eq!(p.ask("case.view"), ExplicitDeny);
    p.allow("principal", "case.view", "tenant:1", 9);
    assert_eq!(
        p.ask("case.view"),
        ExplicitDeny,
        "an allow rule of the tenant does not count, so it outbids nothing"
    );
    assert_eq!(p.explain("case.view").binding().unwrap().id, Some(rule));
}

#[test]
fn what_belongs_to_the_platform_is_reached_from_the_platform_only() {
    let mut p = reader();
    p.it().tenant = None;
    p.it().chain = nodes("case:1").into();
    p.grant("principal", "case.view", "case:1");
    assert_eq!(p.ask("case.view"), OutsideTenant);
    p.assign("reader", "platform");
    assert_eq!(p.ask("case.view"), Allowed);
}

// Step 4

#[test]
fn the_deleted_asks_for_view_deleted() {
    let mut p = reader();
    p.it().deleted = true;
    assert_eq!(p.ask("case.view"), ResourceDeleted, "the privilege is not even defined");
    p.permission("case.view_deleted");
    assert_eq!(p.ask("case.view"), ResourceDeleted);
    p.grant("principal", "case.view_deleted", "organization:2");
    assert_eq!(p.ask("case.view"), Allowed);
    p.deny("principal", "case.view_deleted", "case:1", 0);
    assert_eq!(p.ask("case.view"), ResourceDeleted);
    assert_eq!(
        p.remedy("case.view").unwrap(),
        "case.view_deleted on the resource, or its restoration"
    );
}

// Step 5

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

// Step 6

#[test]
fn nothing_bound_is_no_grant() {
    let p = Policy::new();
    assert_eq!(p.ask("case.view"), NoGrant);
    let remedy = p.remedy("case.view").unwrap();
    assert!(
        remedy.starts_with("a role with case.view, or a grant of it, at one of: case:"),
        "{remedy}"
    );
    assert!(remedy.ends_with(", platform"), "{remedy}");
}

#[test]
fn roles_and_grants_reach_down_the_chain() {
    for (at, reason) in [
        ("case:1", Allowed),
        ("team:1", Allowed),
        ("team:2", Allowed),
        ("project:1", Allowed),
        ("organization:2", Allowed),
        ("tenant:1", Allowed),
        ("case:2", NoGrant),
        ("project:2", NoGrant),
    ] {
        let mut p = Policy::new();
        p.role("reader", &["case.view"]);
        p.assign("reader", at);
        assert_eq!(p.ask("case.view"), reason, "role at {at}");
        let mut p = Policy::new();
        p.grant("principal", "case.view", at);
        assert_eq!(p.ask("case.view"), reason, "grant at {at}");
    }
}

#[test]
fn bindings_of_another_tenant_do_not_count() {
    let mut p = Policy::new();
    p.role("reader", &["case.view"]);
    p.who().memberships.push((id("tenant:2"), Interval::ALWAYS));
    // The same key may exist in two tenants.
    p.in_tenant("tenant:2").assign("reader", "case:1");
    p.in_tenant("tenant:2").grant("principal", "case.view", "case:1");
    p.in_tenant("tenant:2").allow("principal", "case.view", "case:1", 1);
    assert_eq!(p.ask("case.view"), NoGrant);
    p.it().tenant = Some(id("tenant:2"));
    assert_eq!(p.ask("case.view"), Allowed);
}

#[test]
fn implication_is_transitive_and_goes_one_way() {
    let mut p = Policy::new();
    p.implies("case.manage", "case.edit");
    p.implies("case.edit", "case.view");
    p.grant("principal", "case.edit", "case:1");
    assert_eq!(
        (p.ask("case.view"), p.ask("case.edit"), p.ask("case.manage")),
        (Allowed, Allowed, NoGrant)
    );
    let mut p = Policy::new();
    p.implies("case.manage", "case.edit");
    p.implies("case.edit", "case.view");
    p.role("manager", &["case.manage"]);
    p.assign("manager", "team:2");
    assert_eq!(p.ask("case.view"), Allowed);
}

#[test]
fn roles_inherit_while_the_composition_is_valid() {
    let mut p = Policy::new();
    p.role("reader", &["case.view"]);
    p.during(0, 200).inherits("editor", "reader");
    p.inherits("chief", "editor");
    p.assign("chief", "team:1");
    for (at, reason) in [(-1, NoGrant), (0, Allowed), (199, Allowed), (200, NoGrant)] {
        p.at = at;
        assert_eq!(p.ask("case.view"), reason, "at {at}");
    }
}

#[test]
fn a_composition_says_how_long_it_is_right() {
    let mut p = Policy::new();
    p.during(10, 200).role("reader", &["case.view"]);
    p.during(50, 120).inherits("editor", "reader");
    let model = Model::compile(p.names.clone(), p.facts.clone());
    for (at, slice) in [
        (9, Interval::new(i64::MIN, 10)),
        (10, Interval::new(10, 50)),
        (50, Interval::new(50, 120)),
        (119, Interval::new(50, 120)),
        (120, Interval::new(120, 200)),
        (200, Interval::new(200, i64::MAX)),
    ] {
        assert_eq!(Composition::compile(&model, at).valid, slice, "at {at}");
    }
}

#[test]
fn every_binding_is_half_open_in_time() {
    type Bind = fn(&mut Policy);
    let binds: [(&str, Bind); 8] = [
        ("assignment", |p| _ = p.during(100, 200).assign("reader", "team:1")),
        ("platform", |p| _ = p.during(100, 200).assign("reader", "platform")),
        ("grant", |p| {
            _ = p.during(100, 200).grant("principal", "case.view", "case:1")
        }),
        ("rule", |p| {
            _ = p.during(100, 200).allow("principal", "case.view", "case:1", 1)
        }),
        ("any rule", |p| {
            _ = p.during(100, 200).allow("any", "case.view", "case:1", 1)
        }),
        ("wide rule", |p| {
            _ = p.during(100, 200).allow("principal", "case.view", "case:*", 1)
        }),
        ("session", |p| _ = p.during(100, 200).session(true)),
        ("role permission", |p| {
            p.during(100, 200).role("late", &["case.view"]);
            p.assign("late", "team:1");
        }),
    ];
    for (name, bind) in binds {
        let mut p = Policy::new();
        p.role("reader", &["case.view"]);
        bind(&mut p);
        for (at, reason) in [(99, NoGrant), (100, Allowed), (199, Allowed), (200, NoGrant)] {
            p.at = at;
            assert_eq!(p.ask("case.view"), reason, "{name} at {at}");
        }
    }
}

#[test]
fn owners_may_do_what_the_owner_role_says() {
    for (owner, owns) in [
        (Some(common::principal()), true),
        (Some(id("team:1")), true),
        (Some(id("team:2")), true),
        (Some(id("organization:2")), true),
        (Some(id("team:9")), false),
        (None, false),
    ] {
        let mut p = Policy::new();
        p.role("owner", &["case.view"]);
        p.permission("case.edit");
        p.team("team:1 team:2 organization:1 organization:2");
        p.it().owner = owner;
        assert_eq!(p.ask("case.view"), NoGrant, "the type names no owner role");
        p.resource_type().owner_role = Some(p.names.role("owner"));
        assert_eq!(p.ask("case.view"), if owns { Allowed } else { NoGrant }, "{owner:?}");
        assert_eq!(p.ask("case.edit"), NoGrant);
        p.who().memberships.clear();
        assert_eq!(p.ask("case.view"), OutsideTenant, "ownership lives inside the tenant");
    }
}

#[test]
fn ownership_through_a_team_ends_with_it_and_stays_in_its_tenant() {
    let mut p = Policy::new();
    p.role("owner", &["case.view"]);
    p.resource_type().owner_role = Some(p.names.role("owner"));
    p.it().owner = Some(id("team:1"));
    p.during(0, 100).team("team:1");
    assert_eq!(p.ask("case.view"), NoGrant);
    p.in_tenant("tenant:2").team("team:1");
    assert_eq!(p.ask("case.view"), NoGrant);
    p.team("team:1");
    assert_eq!(p.ask("case.view"), Allowed);
}

// Privileged sessions

/// Nobody inside the tenant, with a session.
fn visitor(break_glass: bool) -> Policy {
    let mut p = Policy::new();
    ["case.edit", "case.view_restricted", "case.view_sealed"]
        .into_iter()
        .for_each(|code| {
            p.permission(code);
        });
    p.who().memberships.clear();
    p.session(break_glass);
    p
}

#[test]
fn support_reads_and_break_glass_does_all() {
    assert_eq!(
        (visitor(false).ask("case.view"), visitor(false).ask("case.edit")),
        (Allowed, NoGrant)
    );
    assert_eq!(
        (visitor(true).ask("case.view"), visitor(true).ask("case.edit")),
        (Allowed, Allowed)
    );
}

#[test]
fn a_session_covers_its_tenant_and_scope() {
    for (tenant, scope, reason) in [
        (None, None, Allowed),
        (Some("tenant:1"), None, Allowed),
        (Some("tenant:2"), None, OutsideTenant),
        (Some("tenant:1"), Some("team:2"), Allowed),
        (Some("tenant:1"), Some("tenant:1"), Allowed),
        (Some("tenant:1"), Some("case:1"), Allowed),
        (Some("tenant:1"), Some("case:2"), OutsideTenant),
        (Some("tenant:2"), Some("team:2"), OutsideTenant),
        (None, Some("team:2"), Allowed),
        (None, Some("platform:0"), Allowed),
    ] {
        let mut p = visitor(true);
        p.who().sessions[0].tenant = tenant.map(id);
        p.who().sessions[0].scope = scope.map(node);
        assert_eq!(p.ask("case.view"), reason, "{tenant:?} {scope:?}");
    }
}

#[test]
fn confidential_data_needs_a_session_that_was_approved_for_it() {
    for break_glass in [false, true] {
        for level in [Confidentiality::Restricted, Confidentiality::Sealed] {
            let mut p = visitor(break_glass);
            p.it().confidentiality = level;
            assert_eq!(p.ask("case.view"), Reason::Confidentiality);
            p.who().sessions[0].includes_sensitive = true;
            assert_eq!(p.ask("case.view"), Allowed, "{level:?}, break glass {break_glass}");
            p.who().clearance = 1;
            p.resource_type().clearance_restricted = 2;
            p.resource_type().clearance_sealed = 2;
            assert_eq!(
                p.ask("case.view"),
                Reason::Confidentiality,
                "clearance is asked for in addition"
            );
        }
    }
}

// Step 7

#[test]
fn confidentiality_needs_its_privilege() {
    for (level, privilege, other) in [
        (Confidentiality::Restricted, "case.view_restricted", "case.view_sealed"),
        (Confidentiality::Sealed, "case.view_sealed", "case.view_restricted"),
    ] {
        let mut p = reader();
        p.it().confidentiality = level;
        assert_eq!(
            p.ask("case.view"),
            Reason::Confidentiality,
            "not defined, held by nobody"
        );
        p.role("other", &[other]);
        p.assign("other", "tenant:1");
        p.permission(privilege);
        assert_eq!(
            p.ask("case.view"),
            Reason::Confidentiality,
            "the other privilege is another"
        );
        assert!(p.remedy("case.view").unwrap().contains("is not held"));
        p.role_if("cleared", privilege, "context.level > 3");
        p.assign("cleared", "organization:2");
        p.context = json!({"level": 3});
        assert_eq!(p.ask("case.view"), Reason::Confidentiality, "its condition is false");
        p.context = json!({"level": 4});
        assert_eq!(p.ask("case.view"), Allowed);
        p.deny("principal", privilege, "case:1", 1);
        assert_eq!(p.ask("case.view"), Reason::Confidentiality, "denied");
    }
}

#[test]
fn an_unknown_level_is_a_deny() {
    let mut p = reader();
    p.role("all", &["case.view_restricted", "case.view_sealed"]);
    p.assign("all", "tenant:1");
    p.session(true).includes_sensitive = true;
    p.it().confidentiality = Confidentiality::from_text(Some("secret"));
    assert_eq!(p.ask("case.view"), Reason::Confidentiality);
    p.it().confidentiality = Confidentiality::from_text(None);
    assert_eq!(p.ask("case.view"), Reason::Confidentiality);
    assert_eq!(
        note(&p, "case.view", 0, 7),
        "the row's confidentiality is none of normal, restricted, sealed"
    );
    p.it().confidentiality = Confidentiality::from_text(Some("normal"));
    assert_eq!(p.ask("case.view"), Allowed);
}

#[test]
fn clearance_is_asked_for_by_level() {
    let mut p = reader();
    p.role("all", &["case.view_restricted", "case.view_sealed"]);
    p.assign("all", "tenant:1");
    p.resource_type().clearance_restricted = 2;
    p.resource_type().clearance_sealed = 3;
    for (level, needed) in [
        (Confidentiality::Normal, 0),
        (Confidentiality::Restricted, 2),
        (Confidentiality::Sealed, 3),
    ] {
        for clearance in 0..=3 {
            p.it().confidentiality = level;
            p.who().clearance = clearance;
            let expected = if clearance >= needed {
                Allowed
            } else {
                Reason::Confidentiality
            };
            assert_eq!(p.ask("case.view"), expected, "{level:?} with L{clearance}");
        }
    }
    p.who().clearance = 0;
    assert_eq!(
        p.remedy("case.view").unwrap(),
        "sealed: clearance L3 is asked for, the principal has none"
    );
    p.who().clearance = 1;
    assert_eq!(
        p.remedy("case.view").unwrap(),
        "sealed: clearance L3 is asked for, the principal has L1"
    );
}

// Step 8

#[test]
fn one_true_condition_is_enough_and_an_error_is_false() {
    for (conditions, context, reason) in [
        (&["context.level > 3"][..], json!({"level": 4}), Allowed),
        (&["context.level > 3"], json!({"level": 3}), ConditionFailed),
        (&["context.level > 3"], json!({}), ConditionFailed),
        (&["context.level"], json!({"level": 4}), ConditionFailed),
        (
            &["context.missing == 1", "context.level > 3"],
            json!({"level": 4}),
            Allowed,
        ),
        (
            &["context.level > 9", "context.level > 3"],
            json!({"level": 4}),
            Allowed,
        ),
        (&["principal.type == 'human'"], json!({}), Allowed),
        (&["resource.confidentiality == 'normal'"], json!({}), Allowed),
        (&["now < timestamp('2000-01-01T00:00:01Z')"], json!({}), Allowed),
        (&["now > timestamp('2000-01-01T00:00:01Z')"], json!({}), ConditionFailed),
    ] {
        let mut p = Policy::new();
        for (i, condition) in conditions.iter().enumerate() {
            p.role_if(&format!("role{i}"), "case.view", condition);
            p.assign(&format!("role{i}"), "team:1");
        }
        p.context = context;
        assert_eq!(p.ask("case.view"), reason, "{conditions:?} {}", p.context);
    }
}

#[test]
fn the_explanation_names_the_error() {
    let mut p = Policy::new();
    p.role_if("reader", "case.view", "context.missing == 1");
    p.assign("reader", "team:1");
    let e = p.explain("case.view");
    let looked = &e.steps_json(&p.names)[0]["looked_at"][0];
    assert_eq!(looked["conditions"][0]["value"], false);
    assert!(
        looked["conditions"][0]["error"].as_str().unwrap().contains("missing"),
        "{looked}"
    );
    assert_eq!(p.remedy("case.view").unwrap(), "one of the conditions must be true");
}

#[test]
fn an_unconditional_way_makes_the_condition_moot() {
    let mut p = Policy::new();
    p.role_if("reader", "case.view", "false");
    p.inherits("reader", "plain");
    p.assign("reader", "team:1");
    assert_eq!(p.ask("case.view"), ConditionFailed);
    p.role("plain", &["case.view"]);
    assert_eq!(p.ask("case.view"), Allowed);
    let mut p = Policy::new();
    p.role_if("reader", "case.view", "false");
    p.assign("reader", "team:1");
    p.grant("principal", "case.view", "case:1");
    assert_eq!(p.ask("case.view"), Allowed, "by another binding");
}

#[test]
fn conditions_reach_through_implication_inheritance_and_ownership() {
    let mut p = Policy::new();
    p.implies("case.edit", "case.view");
    p.role_if("editor", "case.edit", "context.on");
    p.inherits("owner", "editor");
    p.resource_type().owner_role = Some(p.names.role("owner"));
    p.it().owner = Some(common::principal());
    p.context = json!({"on": false});
    assert_eq!(p.ask("case.view"), ConditionFailed);
    p.context = json!({"on": true});
    assert_eq!(p.ask("case.view"), Allowed);
    assert_eq!(p.explain("case.view").binding().unwrap().origin, Origin::Ownership);
}

// Step 9

#[test]
fn mfa_is_enrolled_and_used() {
    let mut p = reader();
    p.requires_mfa("case.edit");
    for (enrolled, context, reason) in [
        (false, json!({}), MfaRequired),
        (true, json!({}), MfaRequired),
        (true, json!({"mfa": false}), MfaRequired),
        (false, json!({"mfa": true}), MfaRequired),
        (true, json!({"mfa": true}), Allowed),
    ] {
        p.who().mfa_enrolled = enrolled;
        p.context = context;
        assert_eq!(p.ask("case.edit"), reason, "enrolled {enrolled}, {}", p.context);
        assert_eq!(p.ask("case.view"), Allowed);
    }
    p.context = json!({});
    assert_eq!(
        p.remedy("case.edit").unwrap(),
        "MFA must be enrolled, and the context must say \"mfa\": true"
    );
    assert!(note(&p, "case.edit", 0, 9).contains("does not say that it was used"));
    p.who().mfa_enrolled = false;
    assert!(note(&p, "case.edit", 0, 9).contains("has not enrolled"));
}

// The order of the steps

#[test]
fn the_first_step_that_fails_gives_the_reason() {
    // Everything is wrong at once; then one thing after the other is put right.
    let mut p = Policy::new();
    p.requires_mfa("case.view");
    p.role("privileged", &["case.view_deleted", "case.view_restricted"]);
    p.who().active.clear();
    p.who().memberships.clear();
    p.who().mfa_enrolled = true;
    p.resource = Err("no such case");
    let deny = p.deny("any", "case.view", "case:1", 1);
    let sane = Policy::new().resource;

    assert_eq!(p.ask("case.view"), PrincipalInactive);
    p.who().active = vec![Interval::ALWAYS];
    assert_eq!(p.ask("case.view"), ResourceNotFound);
    p.resource = sane;
    p.it().deleted = true;
    p.it().confidentiality = Confidentiality::Restricted;
    assert_eq!(p.ask("case.view"), OutsideTenant);
    p.who().memberships = vec![(id("tenant:1"), Interval::ALWAYS)];
    assert_eq!(p.ask("case.view"), ResourceDeleted);
    p.grant("principal", "case.view_deleted", "case:1");
    assert_eq!(p.ask("case.view"), ExplicitDeny);
    p.rows.retain(|r| r.id != deny);
    assert_eq!(p.ask("case.view"), NoGrant);
    p.role_if("reader", "case.view", "has(context.ok)");
    p.assign("reader", "team:1");
    assert_eq!(p.ask("case.view"), Reason::Confidentiality);
    p.grant("principal", "case.view_restricted", "case:1");
    assert_eq!(p.ask("case.view"), ConditionFailed);
    p.context = json!({"ok": 1});
    assert_eq!(p.ask("case.view"), MfaRequired);
    p.context = json!({"ok": 1, "mfa": true});
    assert_eq!(p.ask("case.view"), Allowed);
    assert_eq!(p.remedy("case.view"), None);
}

#[test]
fn each_reason_has_its_code_and_all_but_one_a_remedy() {
    let codes = [
        (Allowed, "allowed"),
        (PrincipalInactive, "principal_inactive"),
        (ResourceNotFound, "resource_not_found"),
        (OutsideTenant, "outside_tenant"),
        (ResourceDeleted, "resource_deleted"),
        (ExplicitDeny, "explicit_deny"),
        (NoGrant, "no_grant"),
        (Reason::Confidentiality, "confidentiality"),
        (ConditionFailed, "condition_failed"),
        (MfaRequired, "mfa_required"),
    ];
    let p = reader();
    for (reason, code) in codes {
        assert_eq!(reason.code(), code);
        let mut e = p.explain("case.view");
        e.reason = reason;
        assert_eq!(
            e.remedy(&p.names, p.resource.as_ref().ok()).is_none(),
            reason == Allowed,
            "{code}"
        );
    }
    let mut outside = reader();
    outside.who().memberships.clear();
    assert!(
        outside
            .remedy("case.view")
            .unwrap()
            .contains("a platform role with case.view")
    );
    outside.principal = None;
    assert!(outside.remedy("case.view").unwrap().contains("status active"));
}

// Parents

/// `document:1` in `case:1`, with a role at the team that reads both.
fn document() -> Policy {
    let mut p = Policy::new();
    p.role("clerk", &["document.view"]);
    p.role("reader", &["case.view"]);
    p.child("document:1");
    p.assign("clerk", "team:1");
    p
}

#[test]
fn a_child_is_never_more_visible_than_its_parent() {
    let mut p = document();
    assert_eq!(p.ask("document.view"), NoGrant, "the parent's");
    let remedy = p.remedy("document.view").unwrap();
    assert!(remedy.starts_with("a role with case.view"), "{remedy}");
    assert!(
        !remedy.contains("document:"),
        "what is given at the child does not reach the parent: {remedy}"
    );
    p.assign("reader", "team:1");
    assert_eq!(p.ask("document.view"), Allowed);
    let e = p.explain("document.view");
    assert_eq!(e.parts.len(), 2);
    assert_eq!(e.deciding.unwrap().0, 0, "the child's binding decides");
}

#[test]
fn the_parents_reason_is_the_reason() {
    let mut p = document();
    p.assign("reader", "team:1");
    let Parent::Resource(case) = &mut p.it().parent else {
        panic!("a parent")
    };
    std::rc::Rc::make_mut(case).confidentiality = Confidentiality::Sealed;
    assert_eq!(p.ask("document.view"), Reason::Confidentiality);
    let Parent::Resource(case) = &mut p.it().parent else {
        panic!("a parent")
    };
    let case = std::rc::Rc::make_mut(case);
    case.confidentiality = Confidentiality::Normal;
    case.deleted = true;
    assert_eq!(p.ask("document.view"), ResourceDeleted);
}

#[test]
fn a_deny_of_the_parents_view_is_found_there() {
    let mut p = document();
    p.assign("reader", "team:1");
    let rule = p.deny("principal", "case.view", "case:1", 1);
    assert_eq!(p.ask("document.view"), ExplicitDeny);
    let e = p.explain("document.view");
    assert_eq!((e.deciding.unwrap().0, e.binding().unwrap().id), (1, Some(rule)));
}

#[test]
fn the_childs_steps_come_first() {
    let mut p = document();
    p.who().assignments.clear();
    assert_eq!(p.ask("document.view"), NoGrant);
    let e = p.explain("document.view");
    assert_eq!(e.parts.len(), 1, "the parent was not asked for");
}

#[test]
fn a_parent_that_is_not_there() {
    let mut p = document();
    p.it().parent = Parent::Missing;
    assert_eq!(p.ask("document.view"), ResourceNotFound);
    assert_eq!(p.remedy("document.view").unwrap(), "its parent is not there");
}

#[test]
fn grandparents_count() {
    let mut p = document();
    p.assign("reader", "team:1");
    p.role("pager", &["page.view"]);
    p.assign("pager", "team:1");
    p.child("page:1");
    assert_eq!(p.ask("page.view"), Allowed);
    p.deny("principal", "case.view", "case:1", 1);
    assert_eq!(p.ask("page.view"), ExplicitDeny);
    assert_eq!(p.explain("page.view").parts.len(), 3);
}

#[test]
fn a_parent_is_shown_by_select_permission_else_view_else_read() {
    // Neither defined: not asked for.
    let mut p = document();
    p.facts
        .permissions
        .retain(|d| p.names.permissions.name(d.permission.0) != "case.view");
    p.facts
        .role_permissions
        .retain(|rp| p.names.permissions.name(rp.permission.0) != "case.view");
    assert_eq!(p.ask("document.view"), Allowed);
    // Only `read`.
    p.permission("case.read");
    assert_eq!(p.ask("document.view"), NoGrant);
    p.grant("principal", "case.read", "case:1");
    assert_eq!(p.ask("document.view"), Allowed);
    // `view` comes before `read`.
    p.permission("case.view");
    assert_eq!(p.ask("document.view"), NoGrant);
    // And what is chosen comes before both.
    let read = p.permission("case.read");
    p.facts.types[0].select_permission = Some(read);
    assert_eq!(p.ask("document.view"), Allowed);
}

// Explanations

#[test]
fn the_deciding_binding_asks_for_least() {
    let mut p = Policy::new();
    p.role_if("conditional", "case.view", "true");
    let conditional = p.assign("conditional", "case:1");
    let decides = |p: &Policy| p.explain("case.view").binding().and_then(|b| b.id);
    assert_eq!(decides(&p), Some(conditional));

    let session = p.session(false).id;
    assert_eq!(decides(&p), Some(session), "unconditional before conditional");
    let rule = p.allow("principal", "case.view", "tenant:1", 1);
    assert_eq!(decides(&p), Some(rule), "a rule before a session");
    let grant = p.grant("principal", "case.view", "tenant:1");
    assert_eq!(decides(&p), Some(grant), "a grant before a rule");

    p.role("owner", &["case.view"]);
    p.resource_type().owner_role = Some(p.names.role("owner"));
    p.it().owner = Some(common::principal());
    assert_eq!(
        p.explain("case.view").binding().unwrap().origin,
        Origin::Ownership,
        "ownership before a grant"
    );

    p.role_has("masked", "case.view", None, Some(json!({"max_records": 5})));
    p.assign("masked", "case:1");
    assert_eq!(
        p.explain("case.view").binding().unwrap().origin,
        Origin::Ownership,
        "obligations come later"
    );
    let far = p.assign("owner", "platform");
    assert_eq!(decides(&p), Some(far), "an assignment before ownership");
    let near = p.assign("owner", "organization:2");
    assert_eq!(decides(&p), Some(near), "from the resource outwards");
    let nearest = p.assign("owner", "team:1");
    assert_eq!(decides(&p), Some(nearest));
}

#[test]
fn the_nearest_grant_decides_wherever_it_is_kept() {
    let mut p = Policy::new();
    p.team("team:1 organization:1");
    p.grant("principal", "case.view", "tenant:1");
    let near = p.grant("team:1", "case.view", "case:1");
    assert_eq!(p.explain("case.view").binding().unwrap().id, Some(near));
    let team = p.grantee("team:1");
    p.left_out.push(team);
    assert_eq!(p.explain("case.view").binding().unwrap().id, Some(near));
}

#[test]
fn obligations_are_those_of_the_way_that_asks_for_least() {
    let mut p = Policy::new();
    let masked = json!({"allowed_fields": ["title"]});
    p.role_has("reader", "case.view", None, Some(masked.clone()));
    p.assign("reader", "team:1");
    let obligations = |p: &Policy| p.explain("case.view").binding().unwrap().obligations.clone();
    assert_eq!(obligations(&p), Some(masked));
    p.role_if("reader", "case.view", "true");
    assert_ne!(obligations(&p), None, "a way with a condition does not lift it");
    p.inherits("reader", "plain");
    p.role("plain", &["case.view"]);
    assert_eq!(obligations(&p), None);
}

#[test]
fn a_false_condition_lifts_no_obligation() {
    let mut p = Policy::new();
    let masked = json!({"masking": "names"});
    p.role_has("reader", "case.view", Some("context.level > 9"), None);
    p.role_has("reader", "case.view", Some("context.level > 3"), Some(masked.clone()));
    p.assign("reader", "team:1");
    p.context = json!({"level": 5});
    assert_eq!(p.explain("case.view").binding().unwrap().obligations, Some(masked));
    p.context = json!({"level": 10});
    assert_eq!(p.explain("case.view").binding().unwrap().obligations, None);
}

#[test]
fn steps_are_written_down_reached_or_not() {
    let mut p = Policy::new();
    p.deny("any", "case.view", "team:2", 7);
    let e = p.explain("case.view");
    let parts = e.steps_json(&p.names);
    assert_eq!(parts.as_array().unwrap().len(), 1);
    assert_eq!(parts[0]["permission"], "case.view");
    assert_eq!(parts[0]["resource"], format!("case:{}", id("case:1")));
    let steps = parts[0]["steps"].as_array().unwrap();
    let outcomes: Vec<_> = steps.iter().map(|s| s["outcome"].as_str().unwrap()).collect();
    let expected = [&["pass"; 4][..], &["fail"], &["not reached"; 4]].concat();
    assert_eq!(outcomes, expected);
    for (i, step) in steps.iter().enumerate() {
        assert_eq!((&step["step"], &step["asks"]), (&json!(i + 1), &json!(STEPS[i])));
        assert_eq!(step["note"].is_null(), i > 4, "{step}");
    }
    let looked = &parts[0]["looked_at"][0];
    assert_eq!(looked["type"], "access_rule");
    assert_eq!(looked["effect"], "deny");
    assert_eq!(looked["priority"], 7);
    assert_eq!(looked["grantee"], "any");
    assert_eq!(looked["at"], format!("team:{}", id("team:2")));
}

#[test]
fn every_kind_of_source_is_written_down_once() {
    let mut p = reader();
    p.assign("reader", "platform");
    // Asked for in step 5 and again in step 7, and reached through two memberships: still one row.
    p.it().confidentiality = Confidentiality::Restricted;
    p.team("team:1");
    p.during(0, 200).team("team:1");
    p.grant("team:1", "case.view_restricted", "case:1");
    p.session(true);
    let e = p.explain("case.view_restricted");
    assert_eq!(e.reason, Allowed);
    let parts = e.steps_json(&p.names);
    let looked = parts[0]["looked_at"].as_array().unwrap();
    assert_eq!(looked.len(), 1, "{looked:?}");
    assert_eq!(looked[0]["grantee"], format!("team:{}", id("team:1")));

    let parts = p.explain("case.view").steps_json(&p.names);
    let looked = parts[0]["looked_at"].as_array().unwrap();
    let types: Vec<_> = looked.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "role_assignment",
            "role_assignment",
            "privileged_session",
            "access_grant"
        ]
    );
    assert_eq!(looked[0]["role"], "reader");
    assert_eq!(looked[1]["at"], "platform");
}

#[test]
fn grantees_have_names() {
    let mut p = reader();
    for text in ["team:1", "organization:2"] {
        let g = p.grantee(text);
        assert_eq!(
            grantee(g, &p.names),
            format!("{}:{}", text.split(':').next().unwrap(), id(text))
        );
    }
    let g = p.grantee("role:reader");
    assert_eq!(grantee(g, &p.names), "role:reader");
    let g = p.grantee("principal");
    assert_eq!(grantee(g, &p.names), format!("principal:{}", common::principal()));
}

// Sizes

#[test]
fn a_crowded_chain_is_looked_at_to_its_end() {
    // More nodes with bindings than a decision keeps at hand, the one that counts being the outermost.
    for length in [5_u32, 8, 9, 30, 200] {
        let mut p = Policy::new();
        p.role("other", &["case.edit"]);
        p.role("reader", &["case.view"]);
        let chain: Vec<_> = (1..=length).map(|n| format!("case:{n}")).collect();
        p.it().chain = chain.iter().map(|n| node(n)).collect();
        chain.iter().for_each(|n| {
            p.assign("other", n);
            p.deny("any", "case.edit", n, 1);
        });
        assert_eq!((p.ask("case.view"), p.ask("case.edit")), (NoGrant, ExplicitDeny));
        let last = p.assign("reader", chain.last().unwrap());
        assert_eq!(
            p.explain("case.view").binding().unwrap().id,
            Some(last),
            "{length} nodes"
        );
        p.deny("any", "case.view", chain.last().unwrap(), 1);
        assert_eq!(p.ask("case.view"), ExplicitDeny);
    }
}

#[test]
fn keys_of_every_type_are_found() {
    use authz_engine::{Key, Node};
    for key in [
        "17",
        "-3",
        "",
        "A",
        "case-2024-000017",
        "ÄÖÜ straße",
        "0f0e0d0c-0b0a-0908-0706-050403020100",
    ] {
        let mut p = Policy::new();
        for n in 0..100 {
            p.grant("principal", "case.view", &format!("case:{n}"));
        }
        let mine = Node::new(common::CASE, Key::from_text(key));
        p.it().key = mine.key.clone();
        p.it().chain = vec![mine.clone(), node("tenant:1")].into();
        assert_eq!(p.ask("case.view"), NoGrant, "{key:?}");
        p.rows[57].place = authz_engine::subject::Place::Node(mine);
        assert_eq!(p.ask("case.view"), Allowed, "{key:?}");
        // The same key of another type is another node.
        p.rows[57].place = authz_engine::subject::Place::Node(Node::new(common::DOCUMENT, Key::from_text(key)));
        assert_eq!(p.ask("case.view"), NoGrant, "{key:?}");
    }
}
