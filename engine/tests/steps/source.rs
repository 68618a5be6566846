//! Step 6: what gives a permission (R10, R14, R15, R17, R31).

use crate::common;
use crate::common::{Policy, id, node};
use authz_engine::Reason::{Allowed, NoGrant, OutsideTenant};
use authz_engine::resource::Confidentiality;
use authz_engine::{Composition, Interval, Model, Reason};

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
