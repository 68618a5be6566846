//! The order of the steps, and parents, which are asked after their child (R25).

use crate::common::{Policy, id};
use crate::reader;
use authz_engine::Reason::{
    Allowed, ConditionFailed, ExplicitDeny, MfaRequired, NoGrant, OutsideTenant, PrincipalInactive, ResourceDeleted,
    ResourceNotFound,
};
use authz_engine::resource::{Confidentiality, Parent};
use authz_engine::{Interval, Reason};
use serde_json::json;

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
