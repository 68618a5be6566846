//! Steps 7 to 9: confidentiality, clearance, conditions, the second factor (R6, R12).

use crate::common::Policy;
use crate::{common, note, reader};
use authz_engine::Reason;
use authz_engine::Reason::{Allowed, ConditionFailed, MfaRequired};
use authz_engine::explain::Origin;
use authz_engine::resource::Confidentiality;
use serde_json::json;

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
