//! What is written down of a decision: deciding binding, obligations, steps (R12).

use crate::common::{Policy, id};
use crate::{common, reader};
use authz_engine::Reason::Allowed;
use authz_engine::explain::{Origin, STEPS, grantee};
use authz_engine::resource::Confidentiality;
use serde_json::json;

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
