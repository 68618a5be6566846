//! Steps 1 to 4: the principal, the resource, the tenant, soft deletion (R6, R26).

use crate::common::{Policy, id, nodes};
use crate::{common, note, reader};
use authz_engine::Interval;
use authz_engine::Reason::{
    Allowed, ConditionFailed, ExplicitDeny, OutsideTenant, PrincipalInactive, ResourceDeleted, ResourceNotFound,
};
use authz_engine::name::Role;

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
